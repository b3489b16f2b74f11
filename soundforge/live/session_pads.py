"""Pads of a session: pressed, let go, stopped on the grid, and told how to play. Belongs to the event loop."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from soundforge.errors import RequestError, SoundForgeError
from soundforge.library import PADS, Pad
from soundforge.live.session_clips import ClipPart
from soundforge.live.session_room import Room
from soundforge.requests import Event, NoticeEvent, PadEvent


class PadPart:
    """See the module; `clips` plays."""

    def __init__(self, room: Room, clips: ClipPart) -> None:
        self._room, self._clips = room, clips
        self._changes: dict[int, dict[str, Any]] = {}
        self._asked: dict[int, list[object]] = {}
        self._writing = False

    def press(self, number: int, velocity: float) -> None:
        """Raises RequestError for an empty pad, LibraryError for a number that none has."""
        pad = self._full(number)
        if not 0.0 <= velocity <= 1.0:
            raise RequestError(f"velocity came as {velocity:g}, expected 0 to 1")
        if pad.mode == "toggle" and self._clips.plays(pad.clip):
            self._clips.stop(pad.clip, on_grid=True)
        else:
            self._clips.play(pad.clip, pad.loop, pad.gain * velocity, retrigger=True)

    def let_go(self, number: int) -> None:
        """The end of a press: a pad with the mode `gate` stops on the grid."""
        pad = self._room.library.pad(number)
        if pad.clip and pad.mode == "gate":
            self._clips.stop(pad.clip, on_grid=True)

    def stop(self, number: int) -> None:
        """Stop on the grid; raises as `press`."""
        self._clips.stop(self._full(number).clip, on_grid=True)

    def put(self, number: int, clip: str, origin: object | None) -> None:
        """A clip on a pad, "" frees it; raises LibraryError, RequestError."""
        if number not in PADS:
            raise RequestError(f"pad came as {number}, expected {PADS[0]} to {PADS[-1]}")
        if clip:
            self._clips.info(clip)
        self._change(number, origin, clip=clip)

    def set(self, number: int, loop: bool, gain: float, mode: str, origin: object | None) -> None:
        """How a pad plays; raises LibraryError."""
        self._room.library.pad(number)
        Pad("", loop, gain, mode)  # its ranges are checked while somebody can be told
        self._change(number, origin, loop=loop, gain=gain, mode=mode)

    def event(self, number: int) -> PadEvent:
        """One pad as it is; raises LibraryError."""
        return pad_event(number, self._room.library.pad(number))

    def _full(self, number: int) -> Pad:
        pad = self._room.library.pad(number)
        if not pad.clip:
            raise RequestError(f"pad {number} is empty; generate a clip, or put one there with /soundforge/clip/pad")
        return pad

    def _change(self, number: int, origin: object | None, **changes: Any) -> None:
        """Written as soon as the disk is free; what is changed again before is written once, as it stands then."""
        self._changes.setdefault(number, {}).update(changes)
        self._asked.setdefault(number, []).append(origin)
        if not self._writing:
            self._writing = True
            self._room.spawn(self._write(), lambda what: self._room.notice("error", what), keep=True)

    async def _write(self) -> None:
        room, loop = self._room, asyncio.get_running_loop()
        try:
            while self._changes:
                number = next(iter(self._changes))
                changes, asked = self._changes.pop(number), self._asked.pop(number)
                write = functools.partial(room.library.change_pad, number, **changes)
                try:
                    event: Event = pad_event(number, await loop.run_in_executor(room.disk, write))
                except SoundForgeError as error:
                    event = NoticeEvent("error", str(error))
                for origin in asked:
                    room.emit(event, origin)
        finally:
            self._writing = False


def pad_event(number: int, pad: Pad) -> PadEvent:
    return PadEvent(number, pad.clip, pad.loop, pad.gain, pad.mode)
