"""The system's MIDI through mido and python-rtmidi: listing, opening, and one-line errors instead of theirs.

The system's own API comes first (ALSA, CoreMIDI, Windows), JACK's where that one is absent; `MIDO_BACKEND` chooses
otherwise. Threading: every function may block on the driver for a moment and is called on one worker thread; the
callback of an input runs on a thread of the driver.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from soundforge import DeviceError
from soundforge_bridges.midi.byte_reader import ByteReader

log = logging.getLogger(__name__)

Callback = Callable[[Any], None]
JACK_BACKEND = "mido.backends.rtmidi/UNIX_JACK"
TROUBLE = (OSError, RuntimeError, ImportError, ValueError)
"""What mido and python-rtmidi raise when there is no MIDI, no such port, or no library."""


class MidiSystem:
    """MIDI as this machine has it.

    Args:
        backend: of mido; "" = `MIDO_BACKEND`, else what is there.

    Attributes:
        name: of the back end that is used.

    Raises:
        DeviceError: there is no MIDI system; says what to do.
    """

    gone = False

    def __init__(self, backend: str = "") -> None:
        import mido

        self._inputs: list[Any] = []
        named = backend or os.environ.get("MIDO_BACKEND")
        trouble: Exception | None = None
        for name in [named] if named else ["mido.backends.rtmidi", JACK_BACKEND]:
            try:
                with _hushed():
                    self._backend = mido.Backend(name, load=True)
                    self._listers = _listers(self._backend)
                self._list_inputs, self._list_outputs = self._listing()
            except TROUBLE as error:
                trouble = trouble or error
                continue
            self.name = name
            return
        raise DeviceError(f"there is no MIDI on this machine ({trouble}); on Linux start JACK or load the module "
                          "snd-seq; everything else goes on without it") from trouble

    @property
    def graph_time(self) -> bool:
        """Messages come and go in the time of JACK's graph, with its sound."""
        return getattr(self._backend, "api", None) == "UNIX_JACK"

    def inputs(self) -> list[str]:
        """Names of the inputs that could be opened now; raises DeviceError."""
        return self._names(self._list_inputs, "list the MIDI inputs")

    def outputs(self) -> list[str]:
        """Names of the outputs that could be opened now; raises DeviceError."""
        return self._names(self._list_outputs, "list the MIDI outputs")

    def open_input(self, name: str, callback: Callback) -> Any:
        """An input by its full name; raises DeviceError."""
        return self._open_input(f"open the MIDI input {name!r}", name, callback)

    def open_virtual_input(self, name: str, callback: Callback) -> Any:
        """An input of our own that other programs see; raises DeviceError where the system has none (Windows)."""
        return self._open_input(f"make the virtual MIDI input {name!r}", name, callback, virtual=True)

    def open_output(self, name: str) -> Any:
        """An output by its full name; raises DeviceError."""
        with self._quiet():
            return self._asked(lambda: self._backend.open_output(name), f"open the MIDI output {name!r}")

    def close(self, port: Any) -> None:
        """Close an input or output; a port whose device is gone may complain, and nobody needs to know."""
        with self._quiet():
            self._inputs = [held for held in self._inputs if held is not port]
            try:
                if hasattr(port, "_rt"):
                    # Not by mido's own close: that sets a callback again before it closes.
                    port._rt.close_port()
                    port._rt.delete()
                    port.closed = True
                else:
                    port.close()
            except TROUBLE as error:
                log.debug("closing a MIDI port failed: %s", error)

    def shut_down(self) -> None:
        """Give back what listing needs; call it last. A JACK server may wait for a client that just vanished."""
        listers, self._listers = self._listers, ()
        for lister in listers:
            lister.delete()

    def abandon(self) -> None:
        """It does not answer: its ports are left open."""

    def _listing(self) -> tuple[Callable[[], list[str]], Callable[[], list[str]]]:
        if self._listers:
            return self._listers[0].get_ports, self._listers[1].get_ports
        return self._backend.get_input_names, self._backend.get_output_names

    def _open_input(self, what: str, name: str, callback: Callback, **options: Any) -> Any:
        with self._quiet():
            if self._listers:
                port = self._asked(lambda: self._backend.open_input(name, **options), what)
                _read_bytes(port, callback)
            else:
                port = self._asked(lambda: self._backend.open_input(name, callback=callback, **options), what)
            self._inputs.append(port)
            return port

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """While ports are opened or closed, messages wait in the driver's own queue.

        python-rtmidi keeps the interpreter's lock while it opens or closes; a message that comes meanwhile waits for
        that lock on the driver's thread, and a JACK server in synchronous mode waits for that thread: everything
        stands for seconds. A callback that runs already gets the lock in the short sleep.
        """
        held = [port for port in self._inputs if hasattr(port, "_rt")]
        for port in held:
            port._rt.cancel_callback()
        if held:
            time.sleep(0.003)
        try:
            yield
        finally:
            for port in held:
                if any(port is still for still in self._inputs):
                    while (waiting := port._rt.get_message()) is not None:
                        port._callback_wrapper(waiting, None)
                    port._rt.set_callback(port._callback_wrapper)

    def _names(self, lister: Callable[[], list[str]], what: str) -> list[str]:
        return sorted(set(self._asked(lister, what)))

    def _asked(self, call: Callable[[], Any], what: str) -> Any:
        try:
            return call()
        except (*TROUBLE, NotImplementedError) as error:
            raise DeviceError(f"cannot {what} ({error}); close programs that hold it, or choose another "
                              "(soundforge devices lists them)") from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """ALSA's and JACK's libraries write several lines to standard error where there is no MIDI; we say it in one.

    They write to the file descriptor itself, so that is what is turned away, for the few milliseconds of the look.
    """
    try:
        kept = os.dup(2)
    except OSError:  # started without standard error
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _listers(backend: Any) -> tuple[Any, ...]:
    """An input and an output of python-rtmidi that are never opened, for listing; () with other back ends.

    mido makes and closes two clients for every list, and we look every two seconds (see `MidiSystem._quiet` for what
    that can do). So two clients are made once and asked again and again.
    """
    module = backend.module
    if not hasattr(module, "rtmidi"):
        return ()
    api = getattr(module.rtmidi, f"API_{backend.api}") if backend.api else module.rtmidi.API_UNSPECIFIED
    return (module.rtmidi.MidiIn(rtapi=api, name="SoundForge-list"),
            module.rtmidi.MidiOut(rtapi=api, name="SoundForge-list"))


def _read_bytes(port: Any, callback: Callback) -> None:
    """Take python-rtmidi's packets as they are: mido drops those that are not exactly one whole message."""
    reader = ByteReader()

    def on_packet(packet: tuple[list[int], float], data: Any) -> None:
        for message in reader.feed(packet[0]):
            callback(message)

    port._callback_wrapper = on_packet
    port._rt.set_callback(on_packet)


def match(wanted: str, names: list[str]) -> str | None:
    """The port that is meant: the full name, else the first that contains it, upper and lower case alike."""
    if wanted in names:
        return wanted
    return next((name for name in names if wanted.lower() in name.lower()), None)
