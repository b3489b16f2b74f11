"""Jobs of a session: what is asked for becomes a request, gets its audio, and runs.

Threading: belongs to the event loop; takes and clips are read, and clips are written, on the workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from soundforge.audio import Waveform
from soundforge.blend import Blend
from soundforge.errors import RequestError
from soundforge.live.audio_protocol import NOW
from soundforge.live.capture import Capture
from soundforge.live.engine_protocol import JobFinished, UpdateJob
from soundforge.live.job_runner import JobRunner
from soundforge.live.jobs import Job
from soundforge.live.launching import Launch
from soundforge.live.request_builder import build_request, morphed_text
from soundforge.live.session_capture import AUDIO_SOURCES, CapturePart
from soundforge.live.session_pads import pad_event
from soundforge.live.session_room import Room
from soundforge.live.transport import Transport
from soundforge.requests import ClipEvent, Event, GenerateRequest, JobEvent, TempoChange

POLL_SECONDS = 0.01
MONITOR_SECONDS = 0.01
HAND_BACK_SECONDS = 0.2  # before its end a takeover is told where to fade out
MAX_BARS = 1000
ENDLESS_BARS, ENDLESS_SECONDS = 8, 16.0  # what a request that has no end says instead
MAX_GAIN = 4.0
TREMBLING = 0.003


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
        self.captures = CapturePart(room, conditions, self._capture_gone)
        self._last: Job | None = None
        self._takeover: Job | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._preparing: dict[Job, asyncio.Task[None]] = {}
        self._changing: dict[str, asyncio.Task[None]] = {}
        self._tempo = room.transport.bpm
        room.retimers.append(self._retime)

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
        room, captures = self._room, self.captures
        bars = captures.bar_lines(bars_in)
        room.tempo_known = True
        name = self.runner.book.new_id(job)
        request = self._request(bars=bars_out or ENDLESS_BARS)
        capture = captures.arm("", bars.start, bars.stop, origin, bars.beats)
        request = replace(request, tags={"take": capture.take})
        made = Job(name, "takeover", request, origin, take=capture.take, quantum=room.transport.beats_per_bar,
                   endless=not bars_out, gain=checked_gain(gain))
        self._takeover = self._last = made
        self.runner.accept(made)
        self._await_line(made, capture)
        return name

    def _await_line(self, job: Job, capture: Capture) -> None:
        """Plan a takeover as the bar lines lie by now, and wake up in time for it."""
        audio, bars = self._room.audio, self.captures.planned(capture)
        fade = int(self._crossfade_seconds * audio.rate)
        job.line, job.line_beat = bars.stop - bars.start, bars.beats[1]
        job.begin, job.line_position = job.line - fade, bars.line
        early = min(self.runner.pace.lead_time_seconds, 0.75 * job.line / audio.rate)
        wait = (bars.line - audio.now()) / audio.rate - early
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(wait, 0.0), self._take_over, job, capture)

    def _retime(self) -> None:
        """The transport changed: what waits for its place on the grid moves with it."""
        self.runner.retime()
        self._change_tempo()
        job, capture = self._takeover, self.captures.current
        if job is not None and not job.ready and capture is not None and capture.take == job.take \
                and not capture.settled:
            self._await_line(job, capture)

    def _change_tempo(self) -> None:
        """Running jobs at the transport's tempo follow it; a clock that trembles is no change."""
        old, new = self._tempo, self._room.transport.bpm
        if abs(new / old - 1.0) > TREMBLING:
            self._tempo = new
            self.update(tempo=TempoChange(new, old))

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

    def update(self, **changes: Any) -> None:
        """Change running jobs from their next step on."""
        for job in self.runner.book.unfinished():
            if job.sent:
                self._room.engine.send(UpdateJob(job.id, changes))

    def change_text(self, text: str | None = None) -> None:
        """Another text for running jobs, or (None) another place between each one's text and `text_b`."""
        for job in self.runner.book.unfinished():
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
            self.update(conditions={name: await self._sound(source)})

        task = self._changing[name] = self._room.spawn(
            load_and_change(), lambda what: self._room.notice("error", f"condition {name!r}: {what}"))
        task.add_done_callback(lambda _: self._changing.pop(name) if self._changing.get(name) is task else None)

    def restore_monitor(self) -> None:
        """Bring the monitor to where its parameter stands."""
        audio = self._room.audio
        audio.set_monitor(self._room.params.number("monitor"), NOW, int(MONITOR_SECONDS * audio.rate))

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
        """Bring a job's audio together, then let it run."""
        if job.take:
            captures = self.captures
            take = await captures.takes.load(job.take)
            await captures.takes.ensure_prompt(job.take, captures.prompt_request(take.bpm, take.start_beat))
        await self._resolve_conditions(job)
        job.ready = True
        self.runner.dispatch()

    async def _resolve_conditions(self, job: Job) -> None:
        """Audio conditions come as ids; the engine gets the sound."""
        found = {name: await self._sound(source) for name, source in job.request.conditions.items()
                 if isinstance(source, str) and source.startswith(AUDIO_SOURCES)}
        if found:
            job.request = replace(job.request, conditions={**job.request.conditions, **found})

    async def _sound(self, source: str) -> Waveform:
        """What `take:ID` or `clip:ID` sounds like; raises LibraryError."""
        if source.startswith("take:"):
            return (await self.captures.takes.load(source[5:])).waveform
        loop = asyncio.get_running_loop()
        clip = await loop.run_in_executor(self._room.reader, self._room.library.load_clip, source[5:])
        return clip.as_waveform()

    def _take_over(self, job: Job, capture: Capture) -> None:
        """Shortly before the line: the engine begins with what is captured by now."""
        if job.cancelled or self._takeover is not job:
            return
        capture.settled = True  # from here on the line is a sample, and no tempo moves it
        job.request = replace(job.request, bpm=capture.bpm)  # its bars are those of the tempo that was captured
        self._room.audio.read_capture()
        self.captures.takes.flush(capture.take)
        self._begin(job, self._prepare_takeover(job, capture))

    async def _prepare_takeover(self, job: Job, capture: Capture) -> None:
        await self._resolve_conditions(job)
        if not self.captures.takes.has_prompt(capture.take):
            # The engine was lost meanwhile: take the long way once the capture is complete.
            while self.captures.current is capture:
                await asyncio.sleep(POLL_SECONDS)
            job.begin = job.line = job.line_position = -1
            await self._prepare(job)
            return
        job.ready = True
        self.runner.dispatch()

    def _capture_gone(self, take: str, what: str) -> None:
        """A capture came to nothing, and with it the takeover that waits for it."""
        job = self._takeover
        if job is None or job.take != take:
            return
        self._takeover = None
        if not job.engine_done:
            self.runner.fail(job, what)

    def _cancel(self, job: Job) -> None:
        if job is self._takeover:
            self._takeover = None
            self.captures.abandon(job.take)
            self.restore_monitor()
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

    def prompt_for(self, job: Job) -> str:
        return job.take

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
            self.runner.fade_out(job, at, fade)

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
            self._takeover = self.runner.successor(job)
            if self._takeover is None:
                self.restore_monitor()

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


def text_of(job: Job) -> str:
    """The text that a job has, without what it may be morphed to."""
    if job.text is None:
        value = job.request.conditions.get("text", job.request.text)
        job.text = str((value.a if isinstance(value, Blend) else value) or "")
    return job.text
