"""What other programs put into the library's folders, or take out of them, while the server runs.

`soundforge take import`, a file manager, a DAW that renders into the folder: each is noticed within two seconds.
Threading: belongs to the event loop; the folders are looked at on the disk worker.
"""

from __future__ import annotations

import asyncio
import time

from soundforge.errors import LibraryError
from soundforge.library import Found
from soundforge.live.session_room import Room
from soundforge.live.take_store import TakeStore
from soundforge.requests import ClipEvent

LOOK_SECONDS = 2.0


class LibraryWatch:
    """Polled by the session.

    Args:
        room, takes: what is told of it.
    """

    def __init__(self, room: Room, takes: TakeStore) -> None:
        self._room, self._takes = room, takes
        self._next = 0.0
        self._looking = False
        self._trouble = ""

    def poll(self) -> None:
        """Look, when it is time."""
        now = time.monotonic()
        if now >= self._next and not self._looking:
            self._looking = True
            self._room.spawn(self._look(), self._failed)

    async def _look(self) -> None:
        room = self._room
        try:
            found = await asyncio.get_running_loop().run_in_executor(room.disk, room.library.refresh)
            self._trouble = ""
        finally:
            self._next, self._looking = time.monotonic() + LOOK_SECONDS, False
        for each in found:
            self._tell(each)

    def _tell(self, found: Found) -> None:
        room = self._room
        if found.gone:
            if found.kind == "clip":
                room.emit(ClipEvent("deleted", found.id))
            else:
                self._takes.forget(found.id)
                room.notice("info", f"take {found.id!r} was deleted by another program")
            return
        try:
            entry = room.library.info(found.kind, found.id)
        except LibraryError:
            return  # gone again before it was told of
        if found.kind == "take":
            self._takes.last = found.id
            room.notice("info", f"take {found.id!r} is in the library now ({entry.seconds:.2f} s)")
        else:
            room.emit(ClipEvent("rendered", entry.id, entry.seconds, entry.bpm, str(entry.path)))

    def _failed(self, what: str) -> None:
        if what != self._trouble:  # a folder that is away stays away for a while: told once
            self._trouble = what
            self._room.notice("error", what)
