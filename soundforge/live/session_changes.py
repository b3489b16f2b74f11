"""What is changed while jobs run: parameters, text, conditions and the tempo, from their next step on.

Threading: belongs to the event loop; a sound is read on the worker.
"""

from __future__ import annotations

import asyncio
from typing import Any

from soundforge.blend import Blend
from soundforge.live.engine_protocol import UpdateJob
from soundforge.live.jobs import Job, JobBook
from soundforge.live.request_builder import morphed_text
from soundforge.live.session_capture import AUDIO_SOURCES
from soundforge.live.session_room import Room
from soundforge.live.session_sounds import sound_of
from soundforge.live.take_store import TakeStore
from soundforge.requests import TempoChange

TREMBLING = 0.003


class ChangePart:
    """See the module.

    Args:
        room: what the parts share.
        book: the jobs.
        takes: where takes are found.
    """

    def __init__(self, room: Room, book: JobBook, takes: TakeStore) -> None:
        self._room, self._book, self._takes = room, book, takes
        self._changing: dict[str, asyncio.Task[None]] = {}
        self._tempo = room.transport.bpm

    def change_tempo(self) -> None:
        """Running jobs at the transport's tempo follow it; a clock that trembles is no change."""
        old, new = self._tempo, self._room.transport.bpm
        if abs(new / old - 1.0) > TREMBLING:
            self._tempo = new
            self.update(tempo=TempoChange(new, old))

    def update(self, **changes: Any) -> None:
        """Change running jobs from their next step on."""
        for job in self._book.unfinished():
            if job.sent:
                self._room.engine.send(UpdateJob(job.id, changes))

    def change_text(self, text: str | None = None) -> None:
        """Another text for running jobs, or (None) another place between each one's text and `text_b`."""
        for job in self._book.unfinished():
            if job.sent:
                job.text = text_of(job) if text is None else text
                changed = {"text": morphed_text(self._room.params, job.text)}
                self._room.engine.send(UpdateJob(job.id, {"conditions": changed}))

    def change_condition(self, name: str, source: str) -> None:
        """Another value of a condition for running jobs; a sound is brought to the engine first."""
        earlier = self._changing.pop(name, None)
        if earlier is not None:
            earlier.cancel()  # what it loads is overtaken
        if not source.startswith(AUDIO_SOURCES):
            self.update(conditions={name: source or None})
            return

        async def load_and_change() -> None:
            self.update(conditions={name: await sound_of(source, self._room, self._takes)})

        task = self._changing[name] = self._room.spawn(
            load_and_change(), lambda what: self._room.notice("error", f"condition {name!r}: {what}"))
        task.add_done_callback(lambda _: self._changing.pop(name) if self._changing.get(name) is task else None)


def text_of(job: Job) -> str:
    """The text that a job has, without what it may be morphed to."""
    if job.text is None:
        value = job.request.conditions.get("text", job.request.text)
        job.text = str((value.a if isinstance(value, Blend) else value) or "")
    return job.text
