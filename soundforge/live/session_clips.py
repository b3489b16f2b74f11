"""Clips of a session: played, stopped, listed, deleted. Belongs to the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from soundforge.errors import RequestError
from soundforge.live.audio_protocol import CLIP_VOICES, NOW, Happened
from soundforge.live.clip_player import ClipPlayer
from soundforge.live.job_runner import JobRunner
from soundforge.live.jobs import Job
from soundforge.live.launching import Launch, plan, replan
from soundforge.live.session_room import Room
from soundforge.requests import ClipEvent

MAX_GAIN = 16.0  # a pad's times a velocity or a parameter's


class ClipPart:
    """See the module; `runner` streams the clips that are still being made."""

    def __init__(self, room: Room, runner: JobRunner) -> None:
        self._room, self._runner = room, runner
        self.player = ClipPlayer(room.audio, room.library, room.reader, runner.book.next_token, self._launch)
        room.retimers.append(self._retime)
        self._deleting: set[str] = set()
        self._starting = 0

    def play(self, clip: str, loop: bool, gain: float, retrigger: bool) -> None:
        """Raises LibraryError, RequestError; what goes wrong while it is loaded is a notice."""
        self.info(clip)
        if not 0.0 <= gain <= MAX_GAIN:
            raise RequestError(f"gain came as {gain:g}, expected 0 to {MAX_GAIN:g}")
        if self._starting >= CLIP_VOICES:
            raise RequestError(f"{self._starting} clips are being read to be played, which is as many as can sound; "
                               "wait a moment")
        self._starting += 1
        self._room.spawn(self._play(clip, loop, gain, retrigger), lambda what: self._room.notice("error", what))

    async def _play(self, clip: str, loop: bool, gain: float, retrigger: bool) -> None:
        try:
            await self.player.play(clip, loop, gain, retrigger)
        finally:
            self._starting -= 1

    def plays(self, clip: str) -> bool:
        """It sounds, or is about to: from the library, or from the job that makes it."""
        return clip in self.player.playing or bool(self._streamed(clip))

    def stop(self, clip: str, on_grid: bool = False) -> None:
        """Stop a clip now or at the next launch position. Raises LibraryError."""
        streamed = self._streamed(clip)
        for job in streamed:
            self._runner.voices.silence_job(job, self._launch().at if on_grid else NOW)
        if not streamed:
            self.info(clip)
        self.player.stop(clip, on_grid)

    def _streamed(self, clip: str) -> list[Job]:
        return [job for job in self._runner.book if job.clip == clip and job.plays]

    def list(self) -> list[ClipEvent]:
        return [self._event(entry.id) for entry in self._room.library.list("clip") if entry.id not in self._deleting]

    def info(self, clip: str) -> ClipEvent:
        """Raises LibraryError, RequestError."""
        if clip in self._deleting:
            raise RequestError(f"clip {clip!r} is being deleted; /soundforge/clip/list tells which there are")
        return self._event(clip)

    def delete(self, clip: str) -> None:
        """It stops first. Raises LibraryError, RequestError."""
        self.info(clip)
        self.stop(clip)
        self.player.drop_when_stopped(clip)
        self._deleting.add(clip)

        async def work() -> None:
            try:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._room.disk, self._room.library.delete, "clip", clip)
            finally:
                self._deleting.discard(clip)
            self._room.emit(ClipEvent("deleted", clip))

        self._room.spawn(work(), lambda what: self._room.notice("error", what), keep=True)

    def on_happened(self, what: Happened, voice: int, token: int) -> None:
        """Something happened to a voice that may be a clip's."""
        playing = self.player.find(token)
        if playing is None:
            return
        if what == Happened.STARTED:
            playing.started = True
            self._room.emit(replace(self._event_if_known(playing.clip), kind="playing"))
        elif what in (Happened.ENDED, Happened.LATE):
            self.player.ended(voice, token)
            self._room.emit(replace(self._event_if_known(playing.clip), kind="stopped"))
            if what == Happened.LATE:
                self._room.notice("warning", f"clip {playing.clip!r} could not start in time; play it again")

    def device_restarted(self) -> None:
        """All voices are gone."""
        for playing in self.player.forget_voices():
            self._room.emit(replace(self._event_if_known(playing.clip), kind="stopped"))

    def _launch(self) -> Launch:
        return plan(self._room.transport, self._room.audio, self._room.params.number("quantum"))

    def _retime(self) -> None:
        self.player.retime(lambda launch: replan(launch, self._room.transport, self._room.audio))

    def _event(self, clip: str) -> ClipEvent:
        entry = self._room.library.info("clip", clip)
        return ClipEvent("info", clip, entry.seconds, entry.bpm, str(entry.path))

    def _event_if_known(self, clip: str) -> ClipEvent:
        known = {entry.id for entry in self._room.library.list("clip")}
        return self._event(clip) if clip in known else ClipEvent("info", clip)
