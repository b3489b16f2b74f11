"""The composition root of `soundforge serve`: settings in, a running server out.

It alone knows all rooms: it builds the plugin host, library, engine, session and bridges, starts them in an order in
which OSC answers while the model still loads, and ends them in the reverse order. Imports no torch.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from soundforge.calibrations import calibration_file, find_calibration, read_calibrations
from soundforge.errors import PluginError, SoundForgeError
from soundforge.event_worker import EventWorker
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import Bridge
from soundforge.library import Library
from soundforge.live.audio_protocol import AudioSetup, DeviceOpened
from soundforge.live.engine_client import LocalEngine
from soundforge.live.engine_protocol import EngineSetup
from soundforge.live.latency import Latency, LatencyOf, calibrated, reported
from soundforge.live.session import Session
from soundforge.requests import Event, NoticeEvent
from soundforge.settings import KNOWN, Settings, channel_numbers

log = logging.getLogger(__name__)


class Application:
    """The live server: `start`, use `session`, `stop`. Belongs to one event loop.

    Args:
        settings: everything it can be told.

    Raises:
        LibraryError: the library's folder cannot be used.
        SettingsError: the plugins' folder cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.host: PluginHost = create_host(disabled=settings.no_plugin, plugins_dir=settings.plugins_dir)
        self.library = Library(settings.library, settings.library_limit_bytes, settings.bits)
        conditioners = self.host.registries.conditioners
        conditions = {*conditioners, *(slot for c in conditioners.values() for slot in c.feeds)}
        self.session = Session(audio_setup(settings), LocalEngine(engine_setup(settings)), self.library,
                               model=settings.model, models=settings.models, bpm=settings.bpm,
                               beats_per_bar=settings.beats_per_bar,
                               tempo_known=settings.bpm != KNOWN["bpm"].default, queue_size=settings.queue_size,
                               condition_names=sorted(conditions),
                               processor_names=sorted(self.host.registries.clip_processors),
                               latency_of=latencies(settings))
        self.bridges: dict[str, Bridge] = {}
        self._events = EventWorker(self.host.manager, self._plugin_trouble)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start everything; returns when a device (or its stand-in) runs. The model still loads then.

        Raises:
            DeviceError: the OSC port is busy.
            RequestError: the clock that the settings ask for is not there.
        """
        self._loop = asyncio.get_running_loop()
        self.session.add_listener(_log_event)
        self.session.add_listener(self._events.put)
        self._events.start()
        # Bridges first: a port that is taken ends the start before any process runs, and a ping is answered
        # while device and model are still on their way.
        bridges = self.host.registries.bridges
        for name, descriptor in bridges.items():
            if descriptor.default:
                self.session.claims.want_midi(f"bridge {name!r} of {bridges.origin(name)}", descriptor.midi_notes,
                                              descriptor.midi_controls)
        for name, descriptor in bridges.items():
            if descriptor.default:
                await self._start_bridge(name)
        if self.settings.clock != "internal":
            self.session.transport_source(self.settings.clock)
        await self.session.start()
        for info in self.host.manager.report():
            if info.error:
                self.session.notice("warning", f"plugin {info.name} {info.version}: {info.error}")
        for problem in self.library.problems:
            self.session.notice("warning", problem)

    async def _start_bridge(self, name: str) -> None:
        registry = self.host.registries.bridges
        origin = registry.origin(name)
        try:
            descriptor = registry[name]
            bridge = descriptor.factory(self.session, self.settings)
            await bridge.start()
            self.session.claims.bind(bridge, descriptor.osc_addresses, descriptor.midi_notes, descriptor.midi_controls)
        except SoundForgeError as error:
            # Ours is needed: without its port nobody could drive the server. A third party's must not stop the gig.
            if origin.distribution == "soundforge":
                raise
            log.exception("bridge %s", name)
            self.session.notice("error", f"bridge {name!r} of plugin {origin} could not start: {error}")
            return
        except Exception as error:
            log.exception("bridge %s", name)
            failed = PluginError(f"bridge {name!r} raised {type(error).__name__}: {error}", origin.plugin,
                                 origin.version)
            self.session.notice("error", str(failed))
            return
        self.bridges[name] = bridge

    async def stop(self) -> None:
        """End everything, the sound faded out. Safe to call twice, and after a start that failed half-way."""
        for name, bridge in reversed(list(self.bridges.items())):
            try:
                await bridge.stop()
            except Exception:
                log.exception("bridge %s could not stop; going on", name)
        self.bridges.clear()
        await self.session.stop()
        await asyncio.to_thread(self._events.stop)

    def _plugin_trouble(self, line: str) -> None:
        """On the event worker's thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.session.notice, "error", line)


def audio_setup(settings: Settings) -> AudioSetup:
    """The device that the settings ask for."""
    heard = channel_numbers("input_channels", settings.input_channels)
    played = channel_numbers("output_channels", settings.output_channels)
    return AudioSetup(
        input=settings.input, output=settings.output, rate=settings.rate, block=settings.block, drift=settings.drift,
        input_channels=len(heard) or 2, output_channels=min(len(played) or 2, 2), input_map=heard, output_map=played,
        offline=settings.offline_device,
        offline_input=str(settings.offline_input) if settings.offline_input else "",
        offline_output=str(settings.offline_output) if settings.offline_output else "")


def latencies(settings: Settings) -> LatencyOf:
    """The latencies of a device: what the settings say, else what was measured, else what its driver reports."""
    measured = read_calibrations(calibration_file())

    def latency_of(opened: DeviceOpened, block: int) -> Latency:
        found = find_calibration(measured, opened.input_name or opened.name, opened.name, opened.rate, block)
        latency = reported(opened, block) if found is None else \
            calibrated(opened, found.round_trip_samples / opened.rate)
        own_in, own_out = settings.input_latency_ms, settings.output_latency_ms
        if own_in is None and own_out is None:
            return latency
        return Latency(latency.input_seconds if own_in is None else own_in / 1000,
                       latency.output_seconds if own_out is None else own_out / 1000, "settings")

    return latency_of


def engine_setup(settings: Settings) -> EngineSetup:
    """The engine that the settings ask for."""
    return EngineSetup(
        model=settings.model, device=settings.device, quantize=settings.quantize,
        codec_precision=settings.codec_precision, threads=settings.threads,
        plugins_dir=str(settings.plugins_dir) if settings.plugins_dir else None, no_plugin=settings.no_plugin,
        plugin_seconds=settings.plugin_seconds)


def _log_event(event: Event, origin: Any) -> None:
    if isinstance(event, NoticeEvent):
        level = {"info": logging.INFO, "warning": logging.WARNING}.get(event.level, logging.ERROR)
        log.log(level, "%s", event.what)
    else:
        log.debug("%s", event)
