"""The process in which JACK's MIDI lives; its other side is `apart`.

Threading: the main thread obeys, the driver's threads only put what comes into a queue, one thread sends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from soundforge import DeviceError
from soundforge_bridges.midi.ports import TROUBLE, MidiSystem

MOST_WAITING = 4096
SERVER_GONE = 3
LEAVE_SECONDS = 3.0  # then it ends without a word: whoever would wait for it stands still anyhow


class _Child:
    """Ports, and what is said of them."""

    def __init__(self, pipe: Connection, system: MidiSystem) -> None:
        self._system = system
        self._ports: dict[int, Any] = {}
        self._said: queue.Queue[tuple[Any, ...] | None] = queue.Queue(MOST_WAITING)
        self._sender = threading.Thread(target=self._send_all, args=(pipe,), daemon=True)
        self._sender.start()
        self._said.put(("answer", None))

    def obey(self, what: str, *rest: Any) -> None:
        """One request; all but `send` are answered."""
        if what == "send":
            self._play(*rest)
            return
        try:
            answer = getattr(self, f"_{what}")(*rest)
        except DeviceError as error:
            self._said.put(("error", str(error)))
        else:
            self._said.put(("answer", answer))

    def leave(self) -> None:
        """Close what is open, take leave of the driver, and say so."""
        for number in list(self._ports):
            self._close(number)
        self._system.shut_down()
        self._said.put(("answer", None))
        self._said.put(None)
        self._sender.join()

    def _inputs(self) -> list[str]:
        return self._system.inputs()

    def _outputs(self) -> list[str]:
        return self._system.outputs()

    def _open_input(self, name: str, number: int) -> None:
        self._ports[number] = self._system.open_input(name, lambda message: self._heard(number, message))

    def _open_virtual_input(self, name: str, number: int) -> None:
        self._ports[number] = self._system.open_virtual_input(name, lambda message: self._heard(number, message))

    def _open_output(self, name: str, number: int) -> None:
        self._ports[number] = self._system.open_output(name)

    def _close(self, number: int) -> None:
        port = self._ports.pop(number, None)
        if port is not None:
            self._system.close(port)

    def _play(self, number: int, data: list[int]) -> None:
        import mido

        if number not in self._ports:
            return
        try:
            self._ports[number].send(mido.Message.from_bytes(data))
        except TROUBLE as error:
            self._said.put(("failed", number, " ".join(str(error).split()) or type(error).__name__))

    def _heard(self, number: int, message: Any) -> None:
        """On the driver's thread, which the sound server may wait for: nothing waits here."""
        try:
            self._said.put_nowait(("midi", number, time.perf_counter(), message.bytes()))
        except queue.Full:
            return  # the control process stands still; what it would have dropped later is dropped now

    def _send_all(self, pipe: Connection) -> None:
        try:
            while (said := self._said.get()) is not None:
                pipe.send(said)
        except OSError:
            return  # the control process is gone; the main thread hears of it too


def end_with_server() -> Any:
    """A client that ends this process when its JACK server goes: python-rtmidi notices nothing, and goes on listing the
    ports of a server that is no more. None without the JACK-Client package, then nobody notices."""
    try:
        import jack
    except (ImportError, OSError):  # OSError: the package without JACK's library
        return None
    try:
        client = jack.Client("SoundForge-watch", no_start_server=True)
    except jack.JackError:
        return None
    client.set_shutdown_callback(lambda status, reason: os._exit(SERVER_GONE))
    return client


def serve_midi(pipe: Connection, backend: str) -> None:
    """The process: obey until the other side is gone, then take leave."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # told to end with all others, it ends after them, as audio does
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        system = MidiSystem(backend)
    except DeviceError as error:
        pipe.send(("error", str(error)))
        return
    watch = end_with_server()
    child = _Child(pipe, system)
    with contextlib.suppress(EOFError, OSError):  # the control process is gone
        while (request := pipe.recv())[0] != "shut_down":
            child.obey(*request)
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(LEAVE_SECONDS, exit=True, file=nowhere)
        if watch is not None:
            watch.close()
        child.leave()
        faulthandler.cancel_dump_traceback_later()
