"""What the library knows of one file: read from its header, samples and record unread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soundforge.errors import AudioError, LibraryError
from soundforge.library_ids import check_id
from soundforge.wav_info import read_info

Kind = Literal["take", "clip"]
KINDS: tuple[Kind, ...] = ("take", "clip")
Mark = tuple[int, int]
"""Size and time of a file that could not be used: looked at again only when one of them changes."""


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


@dataclass(frozen=True, slots=True)
class Found:
    """Another program put a file into the library's folders (`gone` False) or took one out of them."""

    kind: Kind
    id: str
    gone: bool


def folder_of(library: Path, kind: Kind) -> Path:
    return library / f"{kind}s"


def read_entry(kind: Kind, path: Path) -> Entry:
    """*Disk.* The entry of one file.

    Raises:
        LibraryError: its name can be no id. AudioError: it is no WAV, or damaged. OSError: it is gone.
    """
    name = check_id(path.stem, kind)
    info = read_info(path, with_record=False)
    return Entry(kind, name, path, info.seconds, info.sample_rate, info.channels, info.bpm or 0.0, info.file_bytes,
                 path.stat().st_mtime)


def new_entries(kind: Kind, folder: Path, known: set[str], unusable: dict[Path, Mark]) -> tuple[list[Entry], list[str]]:
    """*Disk.* Entries of the WAV files in a folder whose ids are not known, and a line for each that cannot be used.

    Args:
        unusable: what could not be used before; kept up to date here. Such a file may be half copied just now, so it
            is looked at again when it has changed.

    Raises:
        OSError: the folder cannot be read.
    """
    entries, problems = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix != ".wav" or path.stem in known:
            continue
        try:
            state = path.stat()
            mark = (state.st_size, state.st_mtime_ns)
            if unusable.get(path) == mark:
                continue
            unusable[path] = mark
            entries.append(read_entry(kind, path))
            del unusable[path]
        except (AudioError, LibraryError, OSError) as error:
            problems.append(f"{path.name} is left out: {error}")
    return entries, problems


def size_text(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
