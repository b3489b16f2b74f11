"""Pads of a session: pressed, let go, stopped on the grid, and told how to play. Belongs to the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from soundforge.errors import RequestError
from soundforge.library import PADS, Pad
from soundforge.live.session_clips import ClipPart
from soundforge.live.session_room import Room
from soundforge.requests import PadEvent


class PadPart:
    """See the module; `clips` plays."""

    def __init__(self, room: Room, clips: ClipPart) -> None:
        self._room, self._clips = room, clips

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
        async def work() -> None:
            room = self._room
            loop = asyncio.get_running_loop()
            pad = await loop.run_in_executor(room.disk, lambda: room.library.change_pad(number, **changes))
            room.emit(pad_event(number, pad), origin)

        self._room.spawn(work(), lambda what: self._room.notice("error", what, origin))


def pad_event(number: int, pad: Pad) -> PadEvent:
    return PadEvent(number, pad.clip, pad.loop, pad.gain, pad.mode)
