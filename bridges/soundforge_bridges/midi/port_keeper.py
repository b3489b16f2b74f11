"""MIDI ports that come and go: opened when they are there, let go when they are not, each trouble told once.

The driver may block or hang, so it is asked on one worker thread, and nobody waits for it longer than a second.
Threading: the event loop; `on_midi` is called on threads of the driver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from soundforge import DeviceError
from soundforge_bridges.midi.apart import MidiApart
from soundforge_bridges.midi.ports import MidiSystem, match

VIRTUAL_NAME = "SoundForge"
DRIVER_SECONDS = 1.0
LOOK_SECONDS, LOOK_FOR_SYSTEM_SECONDS = 2.0, 30.0

log = logging.getLogger(__name__)

Port = tuple[str, Any]
System = MidiSystem | MidiApart


class PortKeeper:
    """See the module.

    Args:
        system: makes the access to the machine's MIDI.
        inputs: (parts of) names of inputs; none = a virtual input that other programs can connect to.
        outputs: (part of) the name of each output by what it is for, such as "lights"; None = not wanted.
        on_midi: gets every message.
        changed: awaited with what an output is for after it came, and before it is closed.
        input_gone: called when an input has gone.
        report: hears of each trouble, one line.
    """

    def __init__(self, system: Callable[[], System], inputs: Sequence[str], outputs: Mapping[str, str | None],
                 on_midi: Callable[[Any], None], changed: Callable[[str, Any], Any], input_gone: Callable[[], None],
                 report: Callable[[str], None]) -> None:
        self._make_system, self._inputs = system, tuple(inputs)
        self._wanted = {use: name for use, name in outputs.items() if name is not None}
        self._on_midi, self._changed, self._input_gone, self._report = on_midi, changed, input_gone, report
        self._worker: ThreadPoolExecutor | None = None
        self._told: set[str] = set()
        self._was_there = False
        self.system: System | None = None
        self.open_inputs: dict[str, Port] = {}
        """By the name that was asked for: the full name and the port."""
        self.outputs: dict[str, Port] = {}
        """By what they are for: the full name and the port."""

    @property
    def pause_seconds(self) -> float:
        """Until the next look. Asking for a system that is not there makes some drivers print a line each time."""
        if self.system or self._was_there:
            return LOOK_SECONDS
        return LOOK_FOR_SYSTEM_SECONDS

    def start(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="soundforge-midi")

    async def stop(self) -> None:
        """Close all ports; safe to call twice."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        for use in list(self.outputs):
            await self._changed(use, None)
        ports = [port for _, port in [*self.open_inputs.values(), *self.outputs.values()]]
        self.open_inputs, self.outputs = {}, {}
        system, self.system = self.system, None
        if system is not None:
            closing = asyncio.get_running_loop().run_in_executor(worker, _close_all, system, ports)
            done, _ = await asyncio.wait({closing}, timeout=DRIVER_SECONDS)
            if not done:
                log.warning("the MIDI driver does not answer; its ports are left open")
                await asyncio.to_thread(system.abandon)
        worker.shutdown(wait=False)

    async def look(self) -> None:
        """Open what has come, let go what has gone. Each trouble is reported once, until it is over."""
        try:
            if self.system is not None and self.system.gone:
                await self._forget_system(self.system)
            if self.system is None:
                self.system = await self.ask(self._make_system)
                self._was_there = True
                self.over("gone")
            await self._look_at_inputs(self.system)
            if self._wanted:
                names = await self.ask(self.system.outputs)
                for use, wanted in self._wanted.items():
                    await self._look_at_output(self.system, use, wanted, names)
        except DeviceError as error:
            if self._inputs or self._wanted:
                self.tell("system", str(error))
            else:
                log.info("%s", error)  # nobody asked for MIDI
        else:
            self.over("system")

    async def _forget_system(self, system: System) -> None:
        """Its process has ended, and all ports with it; they are opened again by a new one."""
        self.system = None
        if self.open_inputs or self.outputs:
            self.tell("gone", "the MIDI ports have gone with their sound server; they are opened when it is back")
        if self.open_inputs:
            self.open_inputs = {}
            self._input_gone()
        for use in list(self.outputs):
            del self.outputs[use]
            await self._changed(use, None)
        await self.ask(system.abandon)

    async def ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something that may block, on the one worker thread that talks to the driver; raises what it raises."""
        if self._worker is None:
            raise DeviceError("the MIDI bridge is stopped")
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)

    async def let_go(self, use: str) -> None:
        """Close an output that does not work any more; the next look opens it again."""
        held = self.outputs.pop(use, None)
        if held is not None and self.system is not None:
            await self._changed(use, None)
            await self.ask(self.system.close, held[1])
            self.tell(f"out {use}", f"the MIDI output {held[0]!r} has gone; it is opened when it comes back")

    def tell(self, what: str, line: str) -> None:
        """A trouble, unless it was told of and is not over."""
        if what not in self._told:
            self._told.add(what)
            self._report(line)

    def over(self, what: str) -> None:
        self._told.discard(what)

    async def _look_at_inputs(self, system: System) -> None:
        if not self._inputs:
            if VIRTUAL_NAME not in self.open_inputs:
                port = await self.ask(system.open_virtual_input, VIRTUAL_NAME, self._on_midi)
                self.open_inputs[VIRTUAL_NAME] = (VIRTUAL_NAME, port)
            return
        names = await self.ask(system.inputs)
        for wanted in self._inputs:
            what, held = f"in {wanted}", self.open_inputs.get(wanted)
            if held is not None and held[0] not in names:
                del self.open_inputs[wanted]
                self._input_gone()
                await self.ask(system.close, held[1])
                self.tell(what, f"the MIDI input {held[0]!r} has gone; it is opened when it comes back")
            if wanted in self.open_inputs:
                continue
            # Two names that fit one port would hear everything twice.
            taken = {full for full, _ in self.open_inputs.values()}
            name = match(wanted, [name for name in names if name not in taken])
            if name is None:
                self.tell(what, f"there is no {'other ' if match(wanted, names) else ''}MIDI input {wanted!r} now, "
                                f"there are: {_listed(names)}; it is opened when it comes")
                continue
            try:
                port = await self.ask(system.open_input, name, self._on_midi)
            except DeviceError as error:
                self.tell(what, str(error))  # the other ports are opened all the same
            else:
                self.open_inputs[wanted] = (name, port)
                self.over(what)

    async def _look_at_output(self, system: System, use: str, wanted: str, names: list[str]) -> None:
        held = self.outputs.get(use)
        if held is not None and held[0] not in names:
            await self.let_go(use)
        if use in self.outputs:
            return
        name = match(wanted, names)
        if name is None:
            self.tell(f"out {use}", f"there is no MIDI output {wanted!r} now, there are: {_listed(names)}; "
                                    "it is opened when it comes")
            return
        try:
            port = await self.ask(system.open_output, name)
        except DeviceError as error:
            self.tell(f"out {use}", str(error))
            return
        self.outputs[use] = (name, port)
        self.over(f"out {use}")
        await self._changed(use, port)


def _close_all(system: System, ports: list[Any]) -> None:
    for port in ports:
        system.close(port)
    system.shut_down()


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
