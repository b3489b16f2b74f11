"""Takeover: bars are captured, the music goes on at their last line, and the input gives way to it and comes back.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

from soundforge.live.audio_protocol import NOW
from soundforge.live.capture import Capture
from soundforge.live.job_runner import JobRunner
from soundforge.live.jobs import Job
from soundforge.live.launching import Launch
from soundforge.live.session_capture import CapturePart
from soundforge.live.session_room import Room
from soundforge.live.session_sounds import with_sounds
from soundforge.requests import GenerateRequest

POLL_SECONDS = 0.01
MONITOR_SECONDS = 0.01
HAND_BACK_SECONDS = 0.2  # before its end a takeover is told where to fade out

Work = Coroutine[object, object, None]


class TakeoverPart:
    """See the module.

    Args:
        room: what the parts share.
        runner, captures: what jobs and captures run in.
        begin: brings a job's audio together by a coroutine.
        prepare: the long way: gives the coroutine that brings a job's take to the engine and lets it run.
    """

    def __init__(self, room: Room, runner: JobRunner, captures: CapturePart, begin: Callable[[Job, Work], None],
                 prepare: Callable[[Job], Work]) -> None:
        self._room, self._runner, self._captures = room, runner, captures
        self._begin, self._prepare = begin, prepare
        self._takeover: Job | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, bars_in: int, endless: bool, ask: Callable[[], GenerateRequest], job: str, origin: object | None,
              gain: float) -> Job:
        """Arm the capture of the next bars and wait for the line; `ask` gives the request for what comes after it.
        Raises RequestError, QueueFullError."""
        room, captures = self._room, self._captures
        bars = captures.bar_lines(bars_in)
        room.tempo_known = True
        name, request = self._runner.book.new_id(job), ask()
        capture = captures.arm("", bars.start, bars.stop, origin, bars.beats)
        request = replace(request, tags={"take": capture.take})
        made = Job(name, "takeover", request, origin, take=capture.take, quantum=room.transport.beats_per_bar,
                   endless=endless, gain=gain)
        self._takeover = made
        self._runner.accept(made)
        self._await_line(made, capture)
        return made

    def _await_line(self, job: Job, capture: Capture) -> None:
        """Plan a takeover as the bar lines lie by now, and wake up in time for it."""
        audio, bars = self._room.audio, self._captures.planned(capture)
        fade = int(self._room.params.number("crossfade_ms") / 1000.0 * audio.rate)
        job.line, job.line_beat = bars.stop - bars.start, bars.beats[1]
        job.begin, job.line_position = job.line - fade, bars.line
        early = min(self._runner.pace.lead_time_seconds, 0.75 * job.line / audio.rate)
        wait = (bars.line - audio.now()) / audio.rate - early
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(wait, 0.0), self._take_over, job, capture)

    def retime(self) -> None:
        """The transport changed: the line that is waited for moves with it."""
        job, capture = self._takeover, self._captures.current
        if job is not None and not job.ready and capture is not None and capture.take == job.take \
                and not capture.settled:
            self._await_line(job, capture)

    def restore_monitor(self) -> None:
        """Bring the monitor to where its parameter stands."""
        audio = self._room.audio
        audio.set_monitor(self._room.params.number("monitor"), NOW, int(MONITOR_SECONDS * audio.rate))

    def cancelled(self, job: Job) -> None:
        """A job is cancelled: when it is the takeover its capture goes with it, and the input is heard again."""
        if job is self._takeover:
            self._takeover = None
            self._captures.abandon(job.take)
            self.restore_monitor()

    def _take_over(self, job: Job, capture: Capture) -> None:
        """Shortly before the line: the engine begins with what is captured by now."""
        if job.cancelled or self._takeover is not job:
            return
        capture.settled = True  # from here on the line is a sample, and no tempo moves it
        job.request = replace(job.request, bpm=capture.bpm)  # its bars are those of the tempo that was captured
        self._room.audio.read_capture()
        self._captures.takes.flush(capture.take)
        self._begin(job, self._prepare_takeover(job, capture))

    async def _prepare_takeover(self, job: Job, capture: Capture) -> None:
        job.request = await with_sounds(job.request, self._room, self._captures.takes)
        if not self._captures.takes.has_prompt(capture.take):
            await self.carry_on_late(job)  # the engine was lost meanwhile
            return
        job.ready = True
        self._runner.dispatch()

    async def carry_on_late(self, job: Job) -> None:
        """The engine does not hold what is captured: take the long way once the capture is complete."""
        while (capture := self._captures.current) is not None and capture.take == job.take:
            await asyncio.sleep(POLL_SECONDS)
        job.begin = job.line = job.line_position = -1
        await self._prepare(job)

    def capture_gone(self, take: str, what: str) -> None:
        """A capture came to nothing, and with it the takeover that waits for it."""
        job = self._takeover
        if job is None or job.take != take:
            return
        self._takeover = None
        if not job.engine_done:
            self._runner.fail(job, what)

    def job_armed(self, job: Job, at: int, fade: int) -> None:
        """A takeover's sound is there: only now the input gives way, so that one that comes late leaves no gap."""
        if job is self._takeover and self._room.params.get("monitor"):
            audio = self._room.audio
            audio.set_monitor(0.0, at, fade)
            if not job.endless:
                ends = at + job.lead_samples + round(job.request.new_seconds * audio.rate)
                wait = max(0.0, (ends - audio.now()) / audio.rate - HAND_BACK_SECONDS)
                asyncio.get_running_loop().call_later(wait, self._hand_back, job, job.launch, ends - fade, fade)

    def _hand_back(self, job: Job, launch: Launch | None, at: int, fade: int) -> None:
        """The last bar line of a takeover is near: its sound gives way to the input, which is there on the line."""
        if job is self._takeover and job.sounding and job.launch is launch:  # it did not run dry, and move, meanwhile
            self._runner.voices.fade_out(job, at, fade)

    def job_ends(self, job: Job, at: int, fade: int) -> None:
        """The sound of a takeover fades out from here on."""
        if job is self._takeover:
            self._room.audio.set_monitor(self._room.params.number("monitor"), at, fade)

    def job_missed(self, job: Job) -> None:
        """Its sound came too late after all: the input is heard until the next place on the grid."""
        if job is self._takeover:
            self.restore_monitor()

    def job_voice_ended(self, job: Job) -> None:
        """The sound of a job is over: the input is heard again after a takeover, and after what took over from it."""
        if job is self._takeover:
            self._takeover = self._runner.voices.successor(job)
            if self._takeover is None:
                self.restore_monitor()
