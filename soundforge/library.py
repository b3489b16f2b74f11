"""The library: takes and clips as WAV files in one folder, found again by short ids.

    FOLDER/takes/take-0001.wav    FOLDER/clips/clip-0001.wav    FOLDER/pads.json

The files are the truth: the index is rebuilt from their headers at every start, so a process that was killed in the
middle of a write leaves a consistent library (the half-written file has a temporary name and is removed). What other
programs put into the folders or take out of them, `refresh` finds.

Threading: thread-safe. Methods marked *disk* block and belong on a worker thread; the others only look at the index
in memory and may be called on the event loop: their lock is never held while the disk works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundforge.clip import Clip
from soundforge.errors import AudioError, LibraryError
from soundforge.library_entry import KINDS, Entry, Found, Kind, Mark, folder_of, new_entries, read_entry
from soundforge.library_ids import check_id
from soundforge.library_index import Index
from soundforge.library_pads import PADS, Pad, Pads
from soundforge.take import Take
from soundforge.wav import read_clip, read_take, write_clip, write_take
from soundforge.wav_file import remove_leftovers

__all__ = ["DEFAULT_LIMIT_BYTES", "PADS", "Entry", "Found", "Kind", "Library", "Pad"]

DEFAULT_LIMIT_BYTES = 10 * 1024**3
_HEADERS_BYTES = 4096
"""Room for the chunks beside samples and record, for the estimate before a write."""


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
        self.bits = bits
        self.problems: list[str] = []
        self._index = Index(limit_bytes)
        self._seen: dict[Kind, int] = {}
        self._unusable: dict[Path, Mark] = {}
        self._pads = Pads(folder / "pads.json")
        self._rebuild()

    # --- in memory: any thread, never blocks ---------------------------------------------------------------

    def next_id(self, kind: Kind) -> str:
        """A new id such as `take-0001`; never given twice, not even after a deletion."""
        return self._index.next_id(kind)

    def list(self, kind: Kind) -> list[Entry]:
        """All of a kind, oldest first."""
        return self._index.of_kind(kind)

    def info(self, kind: Kind, name: str) -> Entry:
        """One entry.

        Raises:
            LibraryError: no such take or clip; names the latest ones.
        """
        return self._index.get(kind, name)

    def latest(self, kind: Kind) -> Entry | None:
        """The newest of a kind, or None."""
        found = self.list(kind)
        return found[-1] if found else None

    @property
    def used_bytes(self) -> int:
        """What takes and clips take up, those being written included."""
        return self._index.used_bytes

    @property
    def limit_bytes(self) -> int:
        """Most that takes and clips may take up together."""
        return self._index.limit_bytes

    @property
    def pads(self) -> Mapping[int, str]:
        """Clip id by pad number; free pads are absent."""
        return self._pads.clips()

    def pad(self, number: int) -> Pad:
        """One pad; raises LibraryError for a number that none has."""
        return self._pads.get(number)

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
        self._index.pop(kind, name)
        if kind == "clip":
            self._pads.forget(name)
        return entry

    def refresh(self) -> Sequence[Found]:
        """*Disk.* Take in what other programs put into the folders, and let go of what they took out of them.

        Costs two looks at a folder when nothing has changed. Call it on the thread that saves: it would take a file
        that is being saved for somebody else's.

        Raises:
            LibraryError: the folders cannot be read.
        """
        found: list[Found] = []
        try:
            for kind in KINDS:
                folder = folder_of(self.folder, kind)
                seen = folder.stat().st_mtime_ns
                if seen != self._seen.get(kind) or any(path.parent == folder for path in self._unusable):
                    found += self._look_again(kind, folder)
                    self._seen[kind] = seen
        except OSError as error:
            raise LibraryError(f"cannot look into the library {str(self.folder)!r}: {error}") from error
        return found

    def _look_again(self, kind: Kind, folder: Path) -> Sequence[Found]:
        known = {entry.id: entry.path for entry in self.list(kind)}
        entries, _ = new_entries(kind, folder, set(known), self._unusable)
        gone = [name for name, path in known.items() if not path.exists()]
        for entry in entries:
            self._index.put(entry)
        for name in gone:
            self._index.pop(kind, name)
            if kind == "clip":
                self._pads.forget(name)
        return [Found(kind, entry.id, False) for entry in entries] + [Found(kind, name, True) for name in gone]

    def change_pad(self, number: int, **changes: Any) -> Pad:
        """*Disk.* Change how a pad plays (fields of `Pad`); gives it as it is now. Raises LibraryError."""
        return self._pads.change(number, **changes)

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
        return folder_of(self.folder, kind) / f"{name}.wav"

    def _save(self, kind: Kind, item: Take | Clip, name: str) -> Entry:
        samples = item.waveform if isinstance(item, Clip) else item.waveform.samples
        estimate = samples.size * self.bits // 8 + _HEADERS_BYTES
        if isinstance(item, Clip) and item.codes is not None:
            estimate += item.codes.size * 3  # base64 of 16-bit integers
        known = self._index.reserve(kind, name, estimate)
        try:
            path = self._path(kind, name)
            if isinstance(item, Clip):
                write_clip(item, path, self.bits, replace=known)
            else:
                write_take(item, path, self.bits, replace=known)
            entry = read_entry(kind, path)
        except AudioError as error:
            raise LibraryError(f"{kind} {name!r} was not written: {error}") from error
        finally:
            self._index.settle(estimate)
        self._index.put(entry)
        return entry

    def _rebuild(self) -> None:
        try:
            for kind in KINDS:
                folder = folder_of(self.folder, kind)
                folder.mkdir(parents=True, exist_ok=True)
                remove_leftovers(folder)
                self._seen[kind] = folder.stat().st_mtime_ns
                entries, problems = new_entries(kind, folder, set(), self._unusable)
                self._index.used_ids(kind, [path.stem for path in folder.glob("*.wav")])
                for entry in entries:
                    self._index.put(entry)
                self.problems += problems
            remove_leftovers(self.folder)
        except OSError as error:
            raise LibraryError(f"cannot open the library {str(self.folder)!r}: {error}; "
                               "choose another folder with --library") from error
        self.problems += self._pads.read({entry.id for entry in self.list("clip")})
