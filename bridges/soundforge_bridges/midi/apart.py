"""JACK's MIDI in a process of its own: whoever is killed there cannot take leave, and a JACK server may wait for it.

A synchronous server stands still (a minute was measured) for a client that ended without a word. So the clients live in
a process that does nothing else: when the control process ends, however it ends, that one closes its ports and leaves.
A driver that hangs while it holds the interpreter's lock holds nobody else up either. Other systems' MIDI needs none of
this, and stays where it was.

Threading: as `MidiSystem`: every function may block on the driver and is called on one worker thread; callbacks run on
a thread of ours, `ApartPort.send` may be called on any and never waits.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Callable
from typing import Any

from soundforge import DeviceError
from soundforge_bridges.midi.apart_child import MOST_WAITING, serve_midi
from soundforge_bridges.midi.ports import Callback, MidiSystem

END_SECONDS = 1.0
GONE = "the MIDI process has ended; it is started again"


class ApartPort:
    """An open port of the other process."""

    def __init__(self, number: int, post: Callable[..., None]) -> None:
        self.number, self._post, self.failure = number, post, ""

    def send(self, message: Any) -> None:
        """Send a `mido.Message`. Raises OSError: an earlier one was refused, or nothing is taken any more."""
        if self.failure:
            raise OSError(self.failure)
        self._post("send", self.number, message.bytes())


class MidiApart:
    """See the module; to be used as a `MidiSystem`.

    Args:
        backend: of mido.

    Raises:
        DeviceError: there is no such MIDI system.
    """

    graph_time = True

    def __init__(self, backend: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve_midi, args=(theirs, backend), name="soundforge MIDI", daemon=True)
        self._process.start()
        theirs.close()
        self.gone = False
        self._ports: dict[int, tuple[ApartPort, Callback | None]] = {}
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._out: queue.Queue[tuple[Any, ...] | None] = queue.Queue(MOST_WAITING)
        self._last = 0
        for work in (self._read, self._write):
            threading.Thread(target=work, name="soundforge MIDI pipe", daemon=True).start()
        self._answer()

    def inputs(self) -> list[str]:
        """Names of the inputs that could be opened now; raises DeviceError."""
        return list(self._ask("inputs"))

    def outputs(self) -> list[str]:
        """Names of the outputs that could be opened now; raises DeviceError."""
        return list(self._ask("outputs"))

    def open_input(self, name: str, callback: Callback) -> ApartPort:
        """An input by its full name; raises DeviceError."""
        return self._open("open_input", name, callback)

    def open_virtual_input(self, name: str, callback: Callback) -> ApartPort:
        """An input of our own that other programs see; raises DeviceError."""
        return self._open("open_virtual_input", name, callback)

    def open_output(self, name: str) -> ApartPort:
        """An output by its full name; raises DeviceError."""
        return self._open("open_output", name, None)

    def close(self, port: ApartPort) -> None:
        """Close an input or output; one whose process is gone is closed."""
        self._ports.pop(port.number, None)
        if not self.gone:
            self._ask("close", port.number)

    def shut_down(self) -> None:
        """Close everything and end the process."""
        if not self.gone:
            self._ask("shut_down")
        self._process.join(END_SECONDS)
        self.abandon()

    def abandon(self) -> None:
        """End the process, whatever it does. Safe to call twice; thread-safe."""
        self.gone = True
        self._process.kill()
        self._process.join(END_SECONDS)

    # --- to and fro ---

    def _open(self, what: str, name: str, callback: Callback | None) -> ApartPort:
        self._last += 1
        port = ApartPort(self._last, self._post)
        self._ports[port.number] = port, callback
        try:
            self._ask(what, name, port.number)
        except DeviceError:
            self._ports.pop(port.number, None)
            raise
        return port

    def _ask(self, *request: Any) -> Any:
        try:
            self._post(*request)
        except OSError as error:
            raise DeviceError(str(error)) from error
        return self._answer()

    def _answer(self) -> Any:
        kind, value = self._answers.get()
        if kind == "error":
            raise DeviceError(value)
        return value

    def _post(self, *request: Any) -> None:
        """Raises OSError: nothing is taken any more."""
        if self.gone:
            raise OSError(GONE)
        try:
            self._out.put_nowait(request)
        except queue.Full:
            raise OSError("the MIDI driver takes nothing any more") from None

    def _write(self) -> None:
        try:
            while (request := self._out.get()) is not None:
                self._pipe.send(request)
        except OSError:
            return  # its end is seen by whoever reads

    def _read(self) -> None:
        import mido

        try:
            while True:
                kind, *rest = self._pipe.recv()
                if kind == "midi":
                    number, seconds, data = rest
                    _, callback = self._ports.get(number, (None, None))
                    if callback is not None:
                        callback(mido.Message.from_bytes(data, time=seconds))
                elif kind == "failed":
                    number, what = rest
                    if number in self._ports:
                        self._ports[number][0].failure = what
                else:
                    self._answers.put((kind, *rest))
        except (EOFError, OSError):
            self.gone = True
            self._out.put(None)
            self._answers.put(("error", GONE))


def midi_system() -> MidiSystem | MidiApart:
    """MIDI as this machine has it; raises DeviceError."""
    here = MidiSystem()
    if not here.graph_time:
        return here
    here.shut_down()
    return MidiApart(here.name)
