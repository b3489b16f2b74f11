"""The MIDI bridge: controllers and hosts in, lights out; ports may come and go at any time.

    driver's thread -> inboxes -> event loop: Dispatcher or MidiClock -> session
    session's events -> Lights -> output

A machine without MIDI, or a port that is not there, is told as one line and waited for: the server lives on.
Threading: everything here runs on the event loop, except what is marked; drivers are asked on one worker thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from soundforge import DeviceError, SoundForgeError
from soundforge.requests import Event
from soundforge.wav_file import write_atomically
from soundforge_bridges.midi.clock_follow import SOURCE, ClockFollower
from soundforge_bridges.midi.clock_out import ClockOut
from soundforge_bridges.midi.dispatch import ORIGIN, Dispatcher
from soundforge_bridges.midi.inbox import Inbox
from soundforge_bridges.midi.learning import Learning
from soundforge_bridges.midi.lights import Lights
from soundforge_bridges.midi.map import DEFAULT, MidiMap
from soundforge_bridges.midi.map_file import read_map, write_map
from soundforge_bridges.midi.ports import MidiSystem, match
from soundforge_bridges.port import SessionPort

VIRTUAL_NAME = "SoundForge"
DRIVER_SECONDS = 1.0
LOOK_SECONDS, LOOK_FOR_SYSTEM_SECONDS = 2.0, 30.0

log = logging.getLogger(__name__)


class MidiBridge:
    """MIDI for one session.

    Args:
        session: what is driven.
        inputs: (parts of) names of inputs; none = a virtual input that other programs can connect to.
        output: (part of) the name of an output for lights, or None.
        map_file: TOML file that changes the map, or None.
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
                 system: Callable[[], MidiSystem] = MidiSystem, report: Callable[[str], None] | None = None,
                 clock_output: str | None = None) -> None:
        self.map = read_map(map_file) if map_file else DEFAULT
        self._session, self._wanted, self._wanted_output = session, tuple(inputs), output
        self._report = report or self._notice
        self._dispatcher = Dispatcher(session, self.map, presets, self._report)
        self._presets = tuple(presets)
        self._learn_to, self._learning = learn_to, Learning(self.map, self._report, self._learnt) if learn_to else None
        self._lights = Lights(self.map)
        self._inbox = Inbox(self._wake)
        self._clock = ClockFollower(session, self._report, self._wake)
        self._clock_out, self._wanted_clock_output = ClockOut(session.timeline, self._clock_advance), clock_output
        self._clock_port: tuple[str, Any] | None = None
        self._make_system = system
        self._system: MidiSystem | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._undo: list[Callable[[], None]] = []
        self._open: dict[str, tuple[str, Any]] = {}
        self._output: tuple[str, Any] | None = None
        self._told: set[str] = set()
        self._looked = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Messages that found no room, since the start."""
        return self._inbox.dropped + self._clock.dropped

    @property
    def open_inputs(self) -> list[str]:
        """Full names of the inputs that are open."""
        return [name for name, _ in self._open.values()]

    async def start(self) -> None:
        """Open what is there and watch for the rest. Does not raise for absent ports: they are reported."""
        self._loop = asyncio.get_running_loop()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="soundforge-midi")
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
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(self._clock_out.close)
            held = [self._output, self._clock_port]
            ports = [port for _, port in [*self._open.values(), *(one for one in held if one is not None)]]
            self._open, self._output, self._clock_port = {}, None, None
            system, self._system = self._system, None
            if system is not None:
                closing = asyncio.get_running_loop().run_in_executor(worker, _close_all, system, ports)
                done, _ = await asyncio.wait({closing}, timeout=DRIVER_SECONDS)
                if not done:
                    log.warning("the MIDI driver does not answer; its ports are left open")
            worker.shutdown(wait=False)

    # --- ports come and go ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._look()
            self._looked.set()
            # Asking for a system that is not there makes some drivers print a line each time.
            await asyncio.sleep(LOOK_SECONDS if self._system else LOOK_FOR_SYSTEM_SECONDS)

    async def _look(self) -> None:
        """Open what has come, let go what has gone. Each trouble is reported once, until it is over."""
        try:
            if self._system is None:
                self._system = await self._ask(self._make_system)
                self._clock.graph_time = self._system.graph_time
            await self._look_at_inputs(self._system)
            await self._look_at_output(self._system)
            await self._look_at_clock_output(self._system)
        except DeviceError as error:
            if self._wanted or self._wanted_output or self._wanted_clock_output:
                self._tell("system", str(error))
            else:
                log.info("%s", error)  # nobody asked for MIDI
        else:
            self._told.discard("system")

    async def _look_at_inputs(self, system: MidiSystem) -> None:
        if not self._wanted:
            if VIRTUAL_NAME not in self._open:
                port = await self._ask(system.open_virtual_input, VIRTUAL_NAME, self._on_midi)
                self._open[VIRTUAL_NAME] = (VIRTUAL_NAME, port)
            return
        names = await self._ask(system.inputs)
        for wanted in self._wanted:
            held = self._open.get(wanted)
            if held is not None and held[0] not in names:
                del self._open[wanted]
                self._dispatcher.release_held()
                await self._ask(system.close, held[1])
                self._tell(f"in {wanted}", f"the MIDI input {held[0]!r} has gone; it is opened when it comes back")
            name = match(wanted, names)
            if wanted in self._open:
                continue
            if name is None:
                self._tell(f"in {wanted}", f"there is no MIDI input {wanted!r} now, there are: {_listed(names)}; "
                                           "it is opened when it comes")
            else:
                self._open[wanted] = (name, await self._ask(system.open_input, name, self._on_midi))
                self._told.discard(f"in {wanted}")

    async def _look_at_output(self, system: MidiSystem) -> None:
        if self._wanted_output is None:
            return
        names = await self._ask(system.outputs)
        if self._output is not None and self._output[0] not in names:
            gone, self._output = self._output, None
            await self._ask(system.close, gone[1])
        if self._output is not None:
            self._send(self._lights.pads(self._session.library.pads))  # a clip put on a pad is no event
        else:
            name = match(self._wanted_output, names)
            if name is None:
                self._tell("out", f"there is no MIDI output {self._wanted_output!r} now, there are: {_listed(names)}; "
                                  "it is opened when it comes")
                return
            self._output = (name, await self._ask(system.open_output, name))
            self._told.discard("out")
            self._send(self._lights.start(self._session))

    async def _look_at_clock_output(self, system: MidiSystem) -> None:
        """Our clock goes to a port of its own, which may be the lights' as well."""
        wanted = self._wanted_clock_output
        if wanted is None:
            return
        names = await self._ask(system.outputs)
        if self._clock_port is not None and (self._clock_port[0] not in names or not self._clock_out.running):
            gone, self._clock_port = self._clock_port, None
            await asyncio.to_thread(self._clock_out.close)
            await self._ask(system.close, gone[1])
            self._tell("clock out", f"the MIDI clock's output {gone[0]!r} has gone; it is opened when it comes back")
        if self._clock_port is None:
            name = match(wanted, names)
            if name is None:
                self._tell("clock out", f"there is no MIDI output {wanted!r} for the clock now, there are: "
                                        f"{_listed(names)}; it is opened when it comes")
                return
            self._clock_port = (name, await self._ask(system.open_output, name))
            self._told.discard("clock out")
            self._clock_out.open(self._clock_port[1].send)

    def _clock_advance(self) -> float:
        """On the clock's thread: in JACK's graph a tick belongs to the sound that is heard an output latency later."""
        return self._session.output_delay_seconds if self._clock.graph_time else 0.0

    async def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something that may block, on the one worker thread that talks to the driver."""
        if self._worker is None or self._loop is None:
            raise DeviceError("the MIDI bridge is stopped")
        return await self._loop.run_in_executor(self._worker, call, *arguments)

    def _notice(self, line: str) -> None:
        self._session.notice("warning", line, ORIGIN)

    def _tell(self, what: str, line: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._report(line)

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
        self._learning, self.map = None, learnt
        self._dispatcher = Dispatcher(self._session, learnt, self._presets, self._report)
        self._lights = Lights(learnt)
        self._send(self._lights.start(self._session))
        if self._learn_to is not None:
            self._writer = asyncio.ensure_future(self._write_map(self._learn_to, write_map(learnt)))

    async def _write_map(self, path: Path, text: str) -> None:
        try:
            await self._ask(write_atomically, path, [text.encode()])
        except SoundForgeError as error:
            self._report(f"MIDI learn: {error}")
        else:
            self._report(f"MIDI learn: done, the map is {str(path)!r}; use it with --midi-map {path}")

    # --- out -----------------------------------------------------------------------------------------------

    def _on_event(self, event: Event, origin: Any) -> None:
        self._dispatcher.on_event(event)
        if self._output is not None:
            self._send([*self._lights.on_event(event), *self._lights.pads(self._session.library.pads)])

    def _send(self, messages: list[Any]) -> None:
        if self._output is None:
            return
        try:
            for message in messages:
                self._output[1].send(message)
        except (OSError, RuntimeError, ValueError) as error:
            self._tell("out", f"the MIDI output {self._output[0]!r} took nothing more ({error}); it is opened again "
                              "when it comes back")


def _close_all(system: MidiSystem, ports: list[Any]) -> None:
    for port in ports:
        system.close(port)
    system.shut_down()


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
