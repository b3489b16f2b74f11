"""The sound that a condition names: `take:ID` and `clip:ID` become audio before the engine hears of them.

Threading: belongs to the event loop; takes and clips are read on the worker.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from soundforge.audio import Waveform
from soundforge.live.session_capture import AUDIO_SOURCES
from soundforge.live.session_room import Room
from soundforge.live.take_store import TakeStore
from soundforge.requests import GenerateRequest


async def sound_of(source: str, room: Room, takes: TakeStore) -> Waveform:
    """What `take:ID` or `clip:ID` sounds like; raises LibraryError, AudioError."""
    if source.startswith("take:"):
        return (await takes.load(source[5:])).waveform
    clip = await asyncio.get_running_loop().run_in_executor(room.reader, room.library.load_clip, source[5:])
    return clip.as_waveform()


async def with_sounds(request: GenerateRequest, room: Room, takes: TakeStore) -> GenerateRequest:
    """A request whose audio conditions came as ids, with their sound; raises as `sound_of`."""
    found = {name: await sound_of(source, room, takes) for name, source in request.conditions.items()
             if isinstance(source, str) and source.startswith(AUDIO_SOURCES)}
    return replace(request, conditions={**request.conditions, **found}) if found else request
