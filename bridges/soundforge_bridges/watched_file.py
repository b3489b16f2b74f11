"""A settings file that is read again when it changes, so that a map can be made while the server plays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")


class WatchedFile(Generic[Content]):
    """One file.

    Args:
        path: the file.
        read: gives what is in it; raises a `SoundForgeError` of one line.

    Threading: *disk*; call it on a worker thread, one call at a time.
    """

    def __init__(self, path: Path, read: Callable[[Path], Content]) -> None:
        self.path, self._read = path, read
        self._mark: tuple[int, int] | None = None

    def read(self) -> Content:
        """Its content now; raises what `read` raises."""
        self._mark = self._look()
        return self._read(self.path)

    def read_if_changed(self) -> Content | None:
        """Its content when it has changed since it was read last, else None; raises what `read` raises, once for
        each change. A file that is away for a moment (editors do that) has not changed."""
        mark = self._look()
        if mark is None or mark == self._mark:
            return None
        self._mark = mark
        return self._read(self.path)

    def _look(self) -> tuple[int, int] | None:
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_size, state.st_mtime_ns
