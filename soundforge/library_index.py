"""The index of the library: which takes and clips there are, the ids that were given, and the bytes against the limit.

Threading: thread-safe; nothing here touches the disk, so the lock is never held for long.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from soundforge.errors import LibraryError
from soundforge.library_entry import KINDS, Entry, Kind, size_text
from soundforge.library_ids import number_of


class Index:
    """See the module.

    Args:
        limit_bytes: most that takes and clips may take up together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self._reserved_bytes = 0
        self._last: dict[Kind, int] = dict.fromkeys(KINDS, 0)

    def next_id(self, kind: Kind) -> str:
        """A new id such as `take-0001`; never given twice."""
        with self._lock:
            self._last[kind] += 1
            return f"{kind}-{self._last[kind]:04d}"

    def used_ids(self, kind: Kind, names: Iterable[str]) -> None:
        """Ids that are not given any more, whatever became of their files."""
        with self._lock:
            self._last[kind] = max([self._last[kind], *(number_of(name, kind) for name in names)])

    def of_kind(self, kind: Kind) -> list[Entry]:
        """All of a kind, oldest first."""
        with self._lock:
            found = [entry for entry in self._entries.values() if entry.kind == kind]
        return sorted(found, key=lambda entry: (entry.created, entry.id))

    def get(self, kind: Kind, name: str) -> Entry:
        """One entry; raises LibraryError that names the latest ones."""
        with self._lock:
            entry = self._entries.get((kind, name))
        if entry is None:
            known = [each.id for each in self.of_kind(kind)]
            have = f"the latest are {', '.join(known[-5:])}" if known else f"there are no {kind}s yet"
            raise LibraryError(f"{kind} came as {name[:80]!r}, which is not in the library; {have}")
        return entry

    def put(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.kind, entry.id] = entry
        self.used_ids(entry.kind, [entry.id])

    def pop(self, kind: Kind, name: str) -> None:
        with self._lock:
            self._entries.pop((kind, name), None)

    @property
    def used_bytes(self) -> int:
        """What takes and clips take up, those being written included."""
        with self._lock:
            return self._used()

    def reserve(self, kind: Kind, name: str, estimate: int) -> bool:
        """Count the bytes to come against the limit; True when the name is ours already and may be replaced.

        Raises:
            LibraryError: beyond the limit, or a name that differs from another one in case only.
        """
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
                raise LibraryError(f"the library would grow to {size_text(wanted)} and its limit is "
                                   f"{size_text(self.limit_bytes)}; delete clips or takes, or raise "
                                   "library_limit_bytes")
            self._reserved_bytes += estimate
            return old is not None

    def settle(self, estimate: int) -> None:
        """The bytes that `reserve` counted are on the disk by now, or never will be."""
        with self._lock:
            self._reserved_bytes -= estimate

    def _used(self) -> int:
        return self._reserved_bytes + sum(entry.file_bytes for entry in self._entries.values())
