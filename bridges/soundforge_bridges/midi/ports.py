"""The system's MIDI through mido and python-rtmidi: listing, opening, and one-line errors instead of theirs.

The system's own API comes first (ALSA, CoreMIDI, Windows), JACK's where that one is absent; `MIDO_BACKEND` chooses
otherwise. Threading: every function may block on the driver for a moment and is called on one worker thread; the
callback of an input runs on a thread of the driver.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from soundforge import DeviceError

Callback = Callable[[Any], None]
JACK_BACKEND = "mido.backends.rtmidi/UNIX_JACK"
_TROUBLE = (OSError, RuntimeError, ImportError, ValueError)
"""What mido and python-rtmidi raise when there is no MIDI, no such port, or no library."""


class MidiSystem:
    """MIDI as this machine has it.

    Raises:
        DeviceError: there is no MIDI system; says what to do.
    """

    def __init__(self) -> None:
        import mido

        named = os.environ.get("MIDO_BACKEND")
        trouble: Exception | None = None
        for name in [named] if named else ["mido.backends.rtmidi", JACK_BACKEND]:
            try:
                backend = mido.Backend(name)
                backend.get_input_names()
            except _TROUBLE as error:
                trouble = trouble or error
                continue
            self._backend = backend
            return
        raise DeviceError(f"there is no MIDI on this machine ({trouble}); on Linux start JACK or load the module "
                          "snd-seq; everything else goes on without it") from trouble

    def inputs(self) -> list[str]:
        """Names of the inputs that could be opened now; raises DeviceError."""
        return list(self._asked(lambda: sorted(set(self._backend.get_input_names())), "list the MIDI inputs"))

    def outputs(self) -> list[str]:
        """Names of the outputs that could be opened now; raises DeviceError."""
        return list(self._asked(lambda: sorted(set(self._backend.get_output_names())), "list the MIDI outputs"))

    def open_input(self, name: str, callback: Callback) -> Any:
        """An input by its full name; raises DeviceError."""
        return self._asked(lambda: self._backend.open_input(name, callback=callback), f"open the MIDI input {name!r}")

    def open_virtual_input(self, name: str, callback: Callback) -> Any:
        """An input of our own that other programs see; raises DeviceError where the system has none (Windows)."""
        return self._asked(lambda: self._backend.open_input(name, virtual=True, callback=callback),
                           f"make the virtual MIDI input {name!r}")

    def open_output(self, name: str) -> Any:
        """An output by its full name; raises DeviceError."""
        return self._asked(lambda: self._backend.open_output(name), f"open the MIDI output {name!r}")

    def _asked(self, call: Callable[[], Any], what: str) -> Any:
        try:
            return call()
        except (*_TROUBLE, NotImplementedError) as error:
            raise DeviceError(f"cannot {what} ({error}); close programs that hold it, or choose another "
                              "(soundforge devices lists them)") from error


def match(wanted: str, names: list[str]) -> str | None:
    """The port that is meant: the full name, else the first that contains it, upper and lower case alike."""
    if wanted in names:
        return wanted
    return next((name for name in names if wanted.lower() in name.lower()), None)
