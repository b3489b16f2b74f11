"""Which clip is on which pad and how the pad plays it, in memory and in one small file.

    {"1": {"clip": "clip-0001", "loop": true, "gain": 0.8, "mode": "toggle"}, "2": "clip-0002"}

How a pad plays belongs to the pad: another clip on it plays the same way. Threading: thread-safe. What is marked
*disk* blocks and belongs on a worker thread.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from soundforge.errors import LibraryError
from soundforge.wav_file import write_atomically

PADS = range(1, 17)
MODES: Mapping[str, str] = {
    "retrigger": "each press starts the clip anew",
    "toggle": "a press starts it, the next one stops it",
    "gate": "it plays while the pad is held",
}
MAX_PAD_GAIN = 4.0


@dataclass(frozen=True, slots=True)
class Pad:
    """What is on a pad, and how it plays.

    Args:
        clip: id, "" = the pad is free.
        loop: again and again.
        gain: 0 to 4, on top of a velocity.
        mode: one of `MODES`.

    Raises:
        LibraryError: gain or mode out of range.
    """

    clip: str = ""
    loop: bool = False
    gain: float = 1.0
    mode: str = "retrigger"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and 0.0 <= self.gain <= MAX_PAD_GAIN):
            raise LibraryError(f"a pad's gain came as {self.gain:g}, expected 0 to {MAX_PAD_GAIN:g}")
        if self.mode not in MODES:
            raise LibraryError(f"a pad's mode came as {self.mode[:80]!r}, expected one of {', '.join(MODES)}")


class Pads:
    """Pads by number.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pads: dict[int, Pad] = {}

    def clips(self) -> dict[int, str]:
        """A copy: clip id by pad number; free pads are absent."""
        with self._lock:
            return {number: pad.clip for number, pad in self._pads.items() if pad.clip}

    def get(self, number: int) -> Pad:
        """One pad; raises LibraryError for a number that none has."""
        check_pad(number)
        with self._lock:
            return self._pads.get(number, Pad())

    def read(self, known: Collection[str]) -> list[str]:
        """*Disk.* Take the file's pads, without clips that are not known; gives a line for what could not be used."""
        try:
            stored: Any = json.loads(self._file.read_bytes())
            pads = {int(number): _pad(value) for number, value in stored.items()}
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, LibraryError) as error:
            return [f"{self._file.name} is left out, the pads are empty: {error}"]
        with self._lock:
            self._pads = {number: pad if pad.clip in known else replace(pad, clip="")
                          for number, pad in pads.items() if number in PADS}
        return []

    def put(self, number: int, clip: str) -> None:
        """*Disk.* A clip on a pad, "" frees it; raises LibraryError."""
        self.change(number, clip=clip)

    def change(self, number: int, **changes: Any) -> Pad:
        """*Disk.* Change fields of a pad; gives it as it is now. Raises LibraryError."""
        with self._lock:
            check_pad(number)
            changed = self._pads[number] = replace(self._pads.get(number, Pad()), **changes)
        self._write()
        return changed

    def fill(self, clip: str) -> int:
        """*Disk.* A clip on the first free pad; gives its number, 0 when all are taken. Raises LibraryError."""
        with self._lock:
            number = next((n for n in PADS if not self._pads.get(n, Pad()).clip), 0)
            if number:
                self._pads[number] = replace(self._pads.get(number, Pad()), clip=clip)
        if number:
            self._write()
        return number

    def forget(self, clip: str) -> None:
        """*Disk.* Free every pad that holds a clip; raises LibraryError."""
        with self._lock:
            held = [number for number, pad in self._pads.items() if pad.clip == clip]
            for number in held:
                self._pads[number] = replace(self._pads[number], clip="")
        if held:
            self._write()

    def _write(self) -> None:
        # Read under the writers' lock, so that of two writers the later one carries both changes.
        with self._writing:
            with self._lock:
                stored = {str(number): asdict(pad) for number, pad in sorted(self._pads.items()) if pad != Pad()}
            write_atomically(self._file, [json.dumps(stored, indent=1).encode()])


def check_pad(number: int) -> None:
    """Raises LibraryError for a number that no pad has."""
    if number not in PADS:
        raise LibraryError(f"pad came as {number}, expected {PADS[0]} to {PADS[-1]}")


def _pad(value: Any) -> Pad:
    """One pad of the file; a bare text is its clip."""
    if isinstance(value, str):
        return Pad(value)
    return Pad(str(value.get("clip", "")), bool(value.get("loop", False)), float(value.get("gain", 1.0)),
               str(value.get("mode", "retrigger")))
