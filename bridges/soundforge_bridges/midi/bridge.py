"""The MIDI bridge: controllers and hosts in, lights out; ports may come and go at any time.

    driver's thread -> inboxes -> event loop: Dispatcher or MidiClock -> session
    session's events -> Lights -> output

A machine without MIDI, or a port that is not there, is told as one line and waited for: the server lives on.
Threading: everything here runs on the event loop, except what is marked. Ports are the `PortKeeper`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from soundforge import SoundForgeError
from soundforge.requests import Event
from soundforge.tasks import end_task
from soundforge.wav_file import write_atomically
from soundforge_bridges.midi.apart import MidiApart, midi_system
from soundforge_bridges.midi.clock_follow import SOURCE, ClockFollower
from soundforge_bridges.midi.clock_out import ClockOut
from soundforge_bridges.midi.dispatch import ORIGIN, Dispatcher
from soundforge_bridges.midi.inbox import Inbox
from soundforge_bridges.midi.learning import Learning
from soundforge_bridges.midi.lights import Lights
from soundforge_bridges.midi.map import DEFAULT, MidiMap
from soundforge_bridges.midi.map_file import read_map, write_map
from soundforge_bridges.midi.port_keeper import DRIVER_SECONDS, PortKeeper
from soundforge_bridges.midi.ports import MidiSystem
from soundforge_bridges.port import SessionPort
from soundforge_bridges.watched_file import WatchedFile

LIGHTS, CLOCK = "lights", "clock"

log = logging.getLogger(__name__)


class MidiBridge:
    """MIDI for one session.

    Args:
        session: what is driven.
        inputs: (parts of) names of inputs; none = a virtual input that other programs can connect to.
        output: (part of) the name of an output for lights, or None.
        map_file: TOML file that changes the map, read again when it changes; or None.
        presets: texts for Program Change.
        learn_to: learn the map from what is played, and write it to this file; None = do not learn.
        system: makes the access to the machine's MIDI; another one in tests.
        report: hears of everything a user should know, one line each; by default the session's notices.
        clock_output: (part of) the name of an output for our MIDI clock, or None.

    Raises:
        SettingsError: the map file is wrong.
    """

    def __init__(self, session: SessionPort, inputs: Sequence[str] = (), output: str | None = None,
                 map_file: Path | None = None, presets: Sequence[str] = (), learn_to: Path | None = None,
                 system: Callable[[], MidiSystem | MidiApart] = midi_system,
                 report: Callable[[str], None] | None = None,
                 clock_output: str | None = None) -> None:
        self._map_file = None if map_file is None else WatchedFile(map_file, read_map)
        self.map = DEFAULT if self._map_file is None else self._map_file.read()
        self._session, self._report = session, report or self._notice
        self._presets = tuple(presets)
        self._dispatcher = Dispatcher(session, self.map, self._presets, self._report)
        self._learn_to, self._learning = learn_to, Learning(self.map, self._report, self._learnt) if learn_to else None
        self._lights = Lights(self.map)
        self._inbox = Inbox(self._wake)
        self._clock = ClockFollower(session, self._report, self._wake)
        self._clock_out = ClockOut(session.timeline, self._clock_advance)
        self._ports = PortKeeper(system, inputs, {LIGHTS: output, CLOCK: clock_output},
                                 lambda message: self._on_midi(message), self._output_changed,
                                 lambda: self._dispatcher.release_held(), self._report)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._undo: list[Callable[[], None]] = []
        self._looked = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Messages that found no room, since the start."""
        return self._inbox.dropped + self._clock.dropped

    @property
    def open_inputs(self) -> list[str]:
        """Full names of the inputs that are open."""
        return [name for name, _ in self._ports.open_inputs.values()]

    @property
    def open_outputs(self) -> list[str]:
        """Full names of the outputs that are open."""
        return [name for name, _ in self._ports.outputs.values()]

    async def start(self) -> None:
        """Open what is there and watch for the rest. Does not raise for absent ports: they are reported."""
        self._loop = asyncio.get_running_loop()
        self._ports.start()
        for (kind, number), who in self._session.claims.midi_wanted.items():
            if number in (self.map.notes if kind == "note" else self.map.controls):
                section = "notes" if kind == "note" else "controls"
                self._session.notice("warning", f"MIDI {kind} {number} is wanted by {who}, but the MIDI map uses it; "
                                     f'the map keeps it. To give it away: [{section}] {number} = "none"')
        self._undo = [self._session.add_listener(self._on_event), self._session.add_drop_counter(lambda: self.dropped)]
        self._session.add_transport_source(SOURCE, self._clock)
        self._watcher = asyncio.create_task(self._watch())
        clock_watcher = asyncio.create_task(self._clock.watch())

        def end_clock() -> None:
            clock_watcher.cancel()

        self._undo.append(end_clock)
        # A driver that hangs must not keep the other bridges from starting.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), DRIVER_SECONDS)
        if self._learning is not None:
            self._learning.start()

    async def stop(self) -> None:
        """Close all ports; safe to call twice."""
        while self._undo:
            self._undo.pop()()
        if self._learning is not None:
            self._learning.stop()
        watcher, self._watcher = self._watcher, None
        await end_task(watcher)
        await self._ports.stop()

    # --- ports come and go ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._look()
            self._looked.set()
            await asyncio.sleep(self._ports.pause_seconds)

    async def _look(self) -> None:
        """Ports and the map's file: what has changed since the last look."""
        if CLOCK in self._ports.outputs and not self._clock_out.running:
            await self._ports.let_go(CLOCK)
        await self._ports.look()
        if self._ports.system is not None:
            self._clock.graph_time = self._ports.system.graph_time
        if LIGHTS in self._ports.outputs:
            self._send(self._lights.pads(self._session.library.pads))  # pads may have been filled without an event
        if self._map_file is not None and self._learning is None:
            try:
                changed = await self._ports.ask(self._map_file.read_if_changed)
            except SoundForgeError as error:
                self._report(f"{error}; the map stays as it was")
            else:
                if changed is not None:
                    self._use(changed)
                    self._session.notice("info", f"the MIDI map {str(self._map_file.path)!r} was read again", ORIGIN)

    async def _output_changed(self, use: str, port: Any) -> None:
        """An output has come, or (None) is about to be closed."""
        if use == LIGHTS and port is not None:
            self._send(self._lights.start(self._session))
        elif use == CLOCK and port is not None:
            self._clock_out.open(port.send)
        elif use == CLOCK:
            await asyncio.to_thread(self._clock_out.close)

    def _clock_advance(self) -> float:
        """On the clock's thread: in JACK's graph a tick belongs to the sound that is heard an output latency later."""
        return self._session.output_delay_seconds if self._clock.graph_time else 0.0

    def _notice(self, line: str) -> None:
        self._session.notice("warning", line, ORIGIN)

    # --- in ------------------------------------------------------------------------------------------------

    def _on_midi(self, message: Any) -> None:
        """On the driver's thread: hand over, nothing else."""
        if not self._clock.put(message) and message.type in ("note_on", "note_off", "control_change", "program_change"):
            self._inbox.put(message)

    def _wake(self) -> None:
        """On the driver's thread: the inbox was empty and holds a message."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._carry_out)
            except RuntimeError:
                log.debug("a MIDI message came while the event loop closed")

    def _carry_out(self) -> None:
        self._clock.carry_out()
        for message in self._inbox.take_all():
            if self._learning is not None:
                self._learning.hear(message)
            else:
                if message.type == "control_change" and message.channel == self._lights.channel:
                    self._lights.heard(message.control, message.value)
                self._dispatcher.on_message(message)

    # --- learning ------------------------------------------------------------------------------------------

    def _learnt(self, learnt: MidiMap) -> None:
        """Play by the new map at once; the file is written on the worker."""
        self._learning = None
        self._use(learnt)
        if self._learn_to is not None:
            self._writer = asyncio.ensure_future(self._write_map(self._learn_to, write_map(learnt)))

    def _use(self, new: MidiMap) -> None:
        """Play by another map; what is held by the old one is let go."""
        self._dispatcher.release_held()
        self.map = new
        self._dispatcher = Dispatcher(self._session, new, self._presets, self._report)
        self._lights = Lights(new)
        self._send(self._lights.start(self._session))

    async def _write_map(self, path: Path, text: str) -> None:
        try:
            await self._ports.ask(write_atomically, path, [text.encode()])
        except SoundForgeError as error:
            self._report(f"MIDI learn: {error}")
        else:
            self._report(f"MIDI learn: done, the map is {str(path)!r}; use it with --midi-map {path}")

    # --- out -----------------------------------------------------------------------------------------------

    def _on_event(self, event: Event, origin: Any) -> None:
        self._dispatcher.on_event(event)
        if LIGHTS in self._ports.outputs:
            self._send([*self._lights.on_event(event), *self._lights.pads(self._session.library.pads)])

    def _send(self, messages: list[Any]) -> None:
        held = self._ports.outputs.get(LIGHTS)
        if held is None:
            return
        try:
            for message in messages:
                held[1].send(message)
        except (OSError, RuntimeError, ValueError) as error:
            self._ports.tell(f"out {LIGHTS}", f"the MIDI output {held[0]!r} took nothing more ({error}); it is opened "
                                              "again when it comes back")
