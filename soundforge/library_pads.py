"""Which clip is on which pad, in memory and in one small file.

Threading: thread-safe. What is marked *disk* blocks and belongs on a worker thread.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from soundforge.errors import LibraryError
from soundforge.wav_file import write_atomically

PADS = range(1, 17)


class Pads:
    """Clip ids by pad number.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._clips: dict[int, str] = {}

    def clips(self) -> dict[int, str]:
        """A copy: clip id by pad number; free pads are absent."""
        with self._lock:
            return dict(self._clips)

    def read(self, known: Collection[str]) -> list[str]:
        """*Disk.* Take the file's pads whose clip is known; gives a line for what could not be used."""
        try:
            stored: Any = json.loads(self._file.read_bytes())
            pads = {int(pad): str(name) for pad, name in stored.items()}
        except FileNotFoundError:
            return []
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            return [f"{self._file.name} is left out, the pads are empty: {error}"]
        with self._lock:
            self._clips = {pad: name for pad, name in pads.items() if pad in PADS and name in known}
        return []

    def put(self, pad: int, name: str) -> None:
        """*Disk.* A clip on a pad, "" frees it; raises LibraryError."""
        if pad not in PADS:
            raise LibraryError(f"pad came as {pad}, expected {PADS[0]} to {PADS[-1]}")
        with self._lock:
            if name:
                self._clips[pad] = name
            else:
                self._clips.pop(pad, None)
        self._write()

    def fill(self, name: str) -> int:
        """*Disk.* A clip on the first free pad; gives its number, 0 when all are taken. Raises LibraryError."""
        with self._lock:
            pad = next((pad for pad in PADS if pad not in self._clips), 0)
            if pad:
                self._clips[pad] = name
        if pad:
            self._write()
        return pad

    def forget(self, name: str) -> None:
        """*Disk.* Free every pad that holds a clip; raises LibraryError."""
        with self._lock:
            held = [pad for pad, clip in self._clips.items() if clip == name]
            for pad in held:
                del self._clips[pad]
        if held:
            self._write()

    def _write(self) -> None:
        # Read under the writers' lock, so that of two writers the later one carries both changes.
        with self._writing:
            text = json.dumps({str(pad): name for pad, name in sorted(self.clips().items())}, indent=1)
            write_atomically(self._file, [text.encode()])
