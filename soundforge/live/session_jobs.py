"""Jobs of a session: what is asked for becomes a request, gets its audio, and runs.

Threading: belongs to the event loop; takes and clips are read, and clips are written, on the workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from soundforge.errors import RequestError
from soundforge.live.engine_protocol import JobFinished
from soundforge.live.job_runner import JobRunner
from soundforge.live.jobs import Job
from soundforge.live.request_builder import build_request
from soundforge.live.session_capture import CapturePart
from soundforge.live.session_changes import ChangePart
from soundforge.live.session_pads import pad_event
from soundforge.live.session_room import Room
from soundforge.live.session_sounds import with_sounds
from soundforge.live.session_takeover import TakeoverPart
from soundforge.live.transport import Transport
from soundforge.requests import ClipEvent, Event, GenerateRequest, JobEvent

MAX_BARS = 1000
ENDLESS_BARS, ENDLESS_SECONDS = 8, 16.0  # what a request that has no end says instead
MAX_GAIN = 4.0


def checked_gain(gain: float) -> float:
    """A gain of a voice; raises RequestError."""
    if not 0.0 <= gain <= MAX_GAIN:
        raise RequestError(f"gain came as {gain:g}, expected 0 to {MAX_GAIN:g}")
    return gain


class JobPart:
    """See the module; it is the `Owner` of the runner.

    Args:
        room: what the parts share.
        conditions: the conditions that are set, by name; read, never changed.
        queue_size: jobs that may wait.
    """

    def __init__(self, room: Room, conditions: Mapping[str, str], queue_size: int) -> None:
        self._room, self._conditions = room, conditions
        self.runner = JobRunner(room.audio, room.engine.send, self, queue_size)
        self.captures = CapturePart(room, conditions, lambda take, what: self._takeovers.capture_gone(take, what))
        self.changes = ChangePart(room, self.runner.book, self.captures.takes)
        self._takeovers: TakeoverPart = TakeoverPart(room, self.runner, self.captures, self._begin, self._prepare)
        self._last: Job | None = None
        self._preparing: dict[Job, asyncio.Task[None]] = {}
        room.retimers += [self.runner.voices.retime, self.changes.change_tempo, self._takeovers.retime]
        self.restore_monitor = self._takeovers.restore_monitor
        self.job_armed, self.job_ends = self._takeovers.job_armed, self._takeovers.job_ends
        self.job_missed, self.job_voice_ended = self._takeovers.job_missed, self._takeovers.job_voice_ended

    # --- what users ask for ---

    def generate(self, text: str | None, seconds: float | None, job: str, origin: object | None, gain: float = 1.0,
                 endless: bool = False) -> str:
        # What goes on without an end is heard while it is made; another decoder needs the whole.
        decoder = "" if endless else self._room.params.text("decoder")
        request = self._request(text=text or None, seconds=ENDLESS_SECONDS if endless else seconds, decoder=decoder)
        return self._submit(Job(self.runner.book.new_id(job), "generate", request, origin, gain=checked_gain(gain),
                                endless=endless))

    def continue_take(self, take: str, seconds: float | None, job: str, origin: object | None, gain: float = 1.0,
                      endless: bool = False) -> str:
        takes = self.captures.takes
        take = take or self._last_take()
        if not takes.known(take):
            self._room.library.info("take", take)
        request = self._request(seconds=ENDLESS_SECONDS if endless else seconds, tags={"take": take})
        return self._continue(take, request, job, origin, gain, endless)

    def regenerate(self, job: str, origin: object | None, gain: float = 1.0) -> str:
        last = self._last
        if last is None:
            raise RequestError("there is no continuation yet; continue a take first")
        return self._continue(last.take, replace(last.request, seed=None), job, origin, gain, last.endless)

    def takeover(self, bars_in: int, bars_out: int, job: str, origin: object | None, gain: float = 1.0) -> str:
        if not 1 <= bars_in <= MAX_BARS or not 0 <= bars_out <= MAX_BARS:
            raise RequestError(f"takeover came as {bars_in} bars in, {bars_out} out; "
                               f"expected 1 to {MAX_BARS}, 0 to {MAX_BARS}")
        self._last = self._takeovers.start(bars_in, not bars_out, lambda: self._request(bars=bars_out or ENDLESS_BARS),
                                           job, origin, checked_gain(gain))
        return self._last.id

    def release(self, job: str = "") -> None:
        endless = [each for each in self.runner.book if each.endless and not each.releasing]
        found = [each for each in endless if job in ("", each.id)]
        if not found:
            which = f"job came as {job[:80]!r}, which does not go on endlessly" if job else "nothing goes on endlessly"
            raise RequestError(f"{which}; start a takeover with bars_out 0, or /soundforge/generate/endless")
        for each in found:
            if each.sent:
                self.runner.release(each)
            else:
                self._cancel(each)  # nothing of it is made yet

    def cancel(self, job: str) -> None:
        if job == "*":
            for each in self.runner.book:
                self._cancel(each)
            return
        found = self.runner.book.find(job)
        if found is None:
            running = ", ".join(each.id for each in self.runner.book) or "none"
            raise RequestError(f"job came as {job[:80]!r}, which does not run; running: {running}")
        self._cancel(found)

    # --- on the way ---

    @property
    def _crossfade_seconds(self) -> float:
        return self._room.params.number("crossfade_ms") / 1000.0

    def _request(self, **changes: Any) -> GenerateRequest:
        return build_request(self._room.params, self._room.transport, self._conditions,
                             tempo_known=self._room.tempo_known, **changes)

    def _last_take(self) -> str:
        latest = self._room.library.latest("take")
        take = self.captures.takes.last or (latest.id if latest is not None else "")
        if not take:
            raise RequestError("there is no take yet; capture one first (/soundforge/capture/start, then stop)")
        return take

    def _continue(self, take: str, request: GenerateRequest, job: str, origin: object | None, gain: float,
                  endless: bool = False) -> str:
        made = Job(self.runner.book.new_id(job), "continue", request, origin, take=take, gain=checked_gain(gain),
                   endless=endless, lead_seconds=self._crossfade_seconds)
        self._last = made
        return self._submit(made)

    def _submit(self, job: Job) -> str:
        job.autoplay = bool(self._room.params.get("autoplay"))
        job.quantum = self._room.params.number("quantum")
        self.runner.accept(job)
        self._begin(job, self._prepare(job))
        return job.id

    def _begin(self, job: Job, work: Coroutine[object, object, None]) -> None:
        """Bring a job's audio together; given up when the job is over before."""
        task = self._preparing[job] = self._room.spawn(work, self._failing(job))
        task.add_done_callback(lambda _: self._preparing.pop(job, None))

    def _failing(self, job: Job) -> Callable[[str], None]:
        return lambda what: self.runner.fail(job, what)

    async def _prepare(self, job: Job) -> None:
        """Bring a job's audio together, then let it run; its prompt last, since others may take that one's place."""
        job.request = await with_sounds(job.request, self._room, self.captures.takes)
        if job.take:
            captures = self.captures
            take = await captures.takes.load(job.take)
            await captures.takes.ensure_prompt(job.take, captures.prompt_request(take.bpm, take.start_beat))
        job.ready = True
        self.runner.dispatch()

    def _cancel(self, job: Job) -> None:
        self._takeovers.cancelled(job)
        if job in self._preparing:
            self._preparing[job].cancel()
        self.runner.cancel(job)

    # --- what the runner asks ---

    def emit(self, event: Event, origin: object | None = None) -> None:
        self._room.emit(event, origin)

    def transport_now(self) -> Transport:
        return self._room.transport

    def clip_id(self) -> str:
        return self._room.library.next_id("clip")

    def prompt_for(self, job: Job) -> str | None:
        return job.take if not job.take or self.captures.takes.has_prompt(job.take) else None

    def bring_again(self, job: Job) -> None:
        self._begin(job, self._takeovers.carry_on_late(job) if job.kind == "takeover" else self._prepare(job))

    def save(self, job: Job, finished: JobFinished) -> None:
        """A clip is complete: write it, put it on a free pad, then say so."""
        library, disk = self._room.library, self._room.disk
        name = job.clip = job.clip or self.clip_id()
        heard = {entry.id: entry.bpm for entry in library.list("take")}.get(job.take)
        request = finished.clip.request
        if job.line_beat is not None:
            request = replace(request, tags={**request.tags, "start_beat": job.line_beat})
        clip = replace(finished.clip, request=request, info={**finished.clip.info, "job": job.id, "take": job.take},
                       bpm=finished.clip.bpm or heard or self._room.transport.bpm)

        async def write() -> None:
            loop = asyncio.get_running_loop()
            entry = await loop.run_in_executor(disk, library.save_clip, clip, name)
            pad = await loop.run_in_executor(disk, library.fill_pad, name)
            self.emit(JobEvent("done", job.id, fraction=1.0, clip=name, seconds=entry.seconds, file=str(entry.path)),
                      job.origin)
            self.emit(ClipEvent("rendered", name, entry.seconds, entry.bpm, str(entry.path)), job.origin)
            if pad:
                self.emit(pad_event(pad, library.pad(pad)))

        self._room.spawn(write(), lambda what: self.emit(JobEvent("error", job.id, clip=name, what=what), job.origin),
                         keep=True)
