"""The library: takes and clips as WAV files in one folder, found again by short ids.

    FOLDER/takes/take-0001.wav    FOLDER/clips/clip-0001.wav    FOLDER/pads.json

The files are the truth: the index is rebuilt from their headers at every start, so a process that was killed in the
middle of a write leaves a consistent library (the half-written file has a temporary name and is removed).

Threading: thread-safe. Methods marked *disk* block and belong on a worker thread; the others only look at the index
in memory and may be called on the event loop: their lock is never held while the disk works.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soundforge.clip import Clip
from soundforge.errors import AudioError, LibraryError
from soundforge.library_ids import check_id, number_of
from soundforge.library_pads import PADS, Pads
from soundforge.take import Take
from soundforge.wav import read_clip, read_take, write_clip, write_take
from soundforge.wav_file import remove_leftovers
from soundforge.wav_info import read_info

__all__ = ["DEFAULT_LIMIT_BYTES", "PADS", "Entry", "Kind", "Library"]

Kind = Literal["take", "clip"]
GIB = 1024**3
DEFAULT_LIMIT_BYTES = 10 * GIB
_HEADERS_BYTES = 4096
"""Room for the chunks beside samples and record, for the estimate before a write."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A take or clip in the library. `bpm` 0 = not known; `created` = seconds since 1970 of the file."""

    kind: Kind
    id: str
    path: Path
    seconds: float
    sample_rate: int
    channels: int
    bpm: float
    file_bytes: int
    created: float


class Library:
    """Takes and clips on disk. Opening it is *disk*.

    Args:
        folder: made when it is missing.
        limit_bytes: most that takes and clips may take up together.
        bits: of the WAV files written, 32 (float) or 24.

    Attributes:
        problems: a line for each file that was found and could not be used; they are left where they are.

    Raises:
        LibraryError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES, bits: int = 32) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.bits = bits
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self._reserved_bytes = 0
        self._last: dict[Kind, int] = {"take": 0, "clip": 0}
        self._pads = Pads(folder / "pads.json")
        self._rebuild()

    # --- in memory: any thread, never blocks ---------------------------------------------------------------

    def next_id(self, kind: Kind) -> str:
        """A new id such as `take-0001`; never given twice, not even after a deletion."""
        with self._lock:
            self._last[kind] += 1
            return f"{kind}-{self._last[kind]:04d}"

    def list(self, kind: Kind) -> list[Entry]:
        """All of a kind, oldest first."""
        with self._lock:
            found = [entry for entry in self._entries.values() if entry.kind == kind]
        return sorted(found, key=lambda entry: (entry.created, entry.id))

    def info(self, kind: Kind, name: str) -> Entry:
        """One entry.

        Raises:
            LibraryError: no such take or clip; names the latest ones.
        """
        with self._lock:
            entry = self._entries.get((kind, name))
        if entry is None:
            raise self._unknown(kind, name)
        return entry

    def latest(self, kind: Kind) -> Entry | None:
        """The newest of a kind, or None."""
        found = self.list(kind)
        return found[-1] if found else None

    @property
    def used_bytes(self) -> int:
        """What takes and clips take up, those being written included."""
        with self._lock:
            return self._used()

    @property
    def pads(self) -> Mapping[int, str]:
        """Clip id by pad number; free pads are absent."""
        return self._pads.clips()

    # --- disk: on a worker thread --------------------------------------------------------------------------

    def save_take(self, take: Take, name: str) -> Entry:
        """*Disk.* Write a take; one of the same name is replaced. Raises as `save_clip`."""
        return self._save("take", take, check_id(name, "take"))

    def save_clip(self, clip: Clip, name: str) -> Entry:
        """*Disk.* Write a clip; one of the same name is replaced.

        Raises:
            LibraryError: unusable name, limit reached, full disk, or another program took the name meanwhile.
        """
        return self._save("clip", clip, check_id(name, "clip"))

    def load_take(self, name: str) -> Take:
        """*Disk.* Raises LibraryError (unknown) or AudioError (damaged)."""
        return read_take(self.info("take", name).path)

    def load_clip(self, name: str) -> Clip:
        """*Disk.* Raises LibraryError (unknown) or AudioError (damaged)."""
        return read_clip(self.info("clip", name).path)

    def delete(self, kind: Kind, name: str) -> Entry:
        """*Disk.* Delete a take or clip and its place on the pads; gives what it was.

        Raises:
            LibraryError: unknown, or the file cannot be deleted.
        """
        entry = self.info(kind, name)
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise LibraryError(f"cannot delete {kind} {name!r}: {error}; close programs that use it") from error
        with self._lock:
            self._entries.pop((kind, name), None)
        if kind == "clip":
            self._pads.forget(name)
        return entry

    def set_pad(self, pad: int, name: str) -> None:
        """*Disk.* Put a clip on a pad, or free the pad with "".

        Raises:
            LibraryError: no such pad or clip, or it cannot be written.
        """
        if name:
            self.info("clip", name)
        self._pads.put(pad, name)

    def fill_pad(self, name: str) -> int:
        """*Disk.* Put a clip on the first free pad; gives its number, 0 when all are taken. Raises as `set_pad`."""
        self.info("clip", name)
        return self._pads.fill(name)

    # --- inside --------------------------------------------------------------------------------------------

    def _path(self, kind: Kind, name: str) -> Path:
        return self.folder / f"{kind}s" / f"{name}.wav"

    def _used(self) -> int:
        return self._reserved_bytes + sum(entry.file_bytes for entry in self._entries.values())

    def _unknown(self, kind: Kind, name: str) -> LibraryError:
        known = [entry.id for entry in self.list(kind)]
        have = f"the latest are {', '.join(known[-5:])}" if known else f"there are no {kind}s yet"
        return LibraryError(f"{kind} came as {name[:80]!r}, which is not in the library; {have}")

    def _save(self, kind: Kind, item: Take | Clip, name: str) -> Entry:
        samples = item.waveform if isinstance(item, Clip) else item.waveform.samples
        estimate = samples.size * self.bits // 8 + _HEADERS_BYTES
        if isinstance(item, Clip) and item.codes is not None:
            estimate += item.codes.size * 3  # base64 of 16-bit integers
        known = self._reserve(kind, name, estimate)
        try:
            path = self._path(kind, name)
            if isinstance(item, Clip):
                write_clip(item, path, self.bits, replace=known)
            else:
                write_take(item, path, self.bits, replace=known)
            entry = self._entry(kind, path)
        except AudioError as error:
            raise LibraryError(f"{kind} {name!r} was not written: {error}") from error
        finally:
            with self._lock:
                self._reserved_bytes -= estimate
        with self._lock:
            self._entries[kind, name] = entry
            self._last[kind] = max(self._last[kind], number_of(name, kind))
        return entry

    def _reserve(self, kind: Kind, name: str, estimate: int) -> bool:
        """Count the bytes to come against the limit; True when the name is ours already and may be replaced."""
        with self._lock:
            old = self._entries.get((kind, name))
            if old is None:
                twin = next((e.id for e in self._entries.values() if e.kind == kind and e.id.lower() == name.lower()),
                            None)
                if twin is not None:
                    # macOS and Windows would take both for one file.
                    raise LibraryError(f"{kind} came as {name!r} and {twin!r} exists; "
                                       "names that differ in case only are not taken")
            wanted = self._used() + estimate - (old.file_bytes if old else 0)
            if wanted > self.limit_bytes:
                raise LibraryError(f"the library would grow to {_size(wanted)} and its limit is "
                                   f"{_size(self.limit_bytes)}; delete clips or takes, or raise library_limit_bytes")
            self._reserved_bytes += estimate
            return old is not None

    def _rebuild(self) -> None:
        try:
            for kind in ("take", "clip"):
                folder = self.folder / f"{kind}s"
                folder.mkdir(parents=True, exist_ok=True)
                remove_leftovers(folder)
                for path in sorted(folder.iterdir()):
                    if path.suffix == ".wav":
                        self._adopt(kind, path)
            remove_leftovers(self.folder)
        except OSError as error:
            raise LibraryError(f"cannot open the library {str(self.folder)!r}: {error}; "
                               "choose another folder with --library") from error
        self.problems += self._pads.read({name for kind, name in self._entries if kind == "clip"})

    def _adopt(self, kind: Kind, path: Path) -> None:
        self._last[kind] = max(self._last[kind], number_of(path.stem, kind))
        try:
            self._entries[kind, check_id(path.stem, kind)] = self._entry(kind, path)
        except (AudioError, LibraryError, OSError) as error:
            self.problems.append(f"{path.name} is left out: {error}")

    def _entry(self, kind: Kind, path: Path) -> Entry:
        info = read_info(path, with_record=False)
        return Entry(kind, path.stem, path, info.seconds, info.sample_rate, info.channels, info.bpm or 0.0,
                     info.file_bytes, path.stat().st_mtime)


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"
