"""Jobs on their way through engine and loudspeaker: sent when there is a voice, started on the grid, told about.

A job's stream plays as soon as enough of it is there. What "enough" is follows from how fast the engine is: a model
faster than real time starts after a few frames; a slower one first gets the lead it needs. A stream that misses its
place on the grid, or runs dry, goes on at the next one: overload makes music late, never broken.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import NOW, PRIME_GUARD, STREAM_VOICES, Happened
from soundforge.live.engine_protocol import (
    CancelJob,
    JobFailed,
    JobFinished,
    JobMoved,
    JobStreaming,
    MuteJob,
    StartJob,
    StopJob,
    StreamClosed,
    StreamTarget,
)
from soundforge.live.jobs import Job, JobBook
from soundforge.live.launching import Launch, plan, replan
from soundforge.live.pace import Pace
from soundforge.live.transport import Transport
from soundforge.requests import ClipEvent, Event, JobEvent

STOP_FADE_SECONDS = 0.01
ATTACK_SECONDS = 0.001     # for streams that begin out of silence
PROGRESS_STEP = 0.05


class Owner(Protocol):
    """What the runner asks of the session."""

    def emit(self, event: Event, origin: object | None = None) -> None: ...
    def transport_now(self) -> Transport: ...
    def clip_id(self) -> str: ...
    def prompt_for(self, job: Job) -> str: ...
    def save(self, job: Job, finished: JobFinished) -> None: ...
    def job_armed(self, job: Job, at: int, fade: int) -> None: ...
    def job_ends(self, job: Job, at: int, fade: int) -> None: ...
    def job_missed(self, job: Job) -> None: ...
    def job_voice_ended(self, job: Job) -> None: ...


class JobRunner:
    """See the module.

    Args:
        audio: the loudspeaker.
        send: takes messages for the engine.
        owner: the session.
        queue_size: jobs that may wait.
    """

    def __init__(self, audio: AudioClient, send: Callable[[object], None], owner: Owner, queue_size: int) -> None:
        self.book = JobBook(queue_size)
        self.pace = Pace()
        self._audio, self._send, self._owner = audio, send, owner

    # --- from the session ---

    def accept(self, job: Job) -> None:
        """Take a job into the book and say so."""
        self.book.add(job)
        self._owner.emit(JobEvent("accepted", job.id), job.origin)

    def dispatch(self) -> None:
        """Send every job that is ready to the engine, as far as there are voices, and a device with a known rate."""
        if self._audio.opened is None:
            return
        for job in self.book.unfinished():
            if job.sent or not job.ready:
                continue
            target = None
            if job.autoplay:
                job.voice = self._free_voice()
                if job.voice < 0:
                    continue  # it waits for one; what is not to be heard needs none
                target = StreamTarget(self._audio.streams[job.voice].handle(), self._audio.rate)
            job.sent, job.sent_at = True, time.perf_counter()
            self._send(StartJob(job.id, job.request, self._owner.prompt_for(job), job.endless, target,
                                job.lead_seconds, job.begin, job.line))

    def cancel(self, job: Job) -> None:
        """End a job and its sound now."""
        job.cancelled = True
        self._stop(job)
        if job.sent:
            self._send(CancelJob(job.id))
        if job.engine_done:
            return  # its sound stops; the clip is there already
        if not job.sent:
            self._end(job, JobEvent("cancelled", job.id))

    def fail(self, job: Job, what: str) -> None:
        """A job cannot go on: say why."""
        if job.engine_done or job.cancelled:
            return
        if job.sent:  # its id and its ring are the engine's until that has answered
            job.failure = what
            self.cancel(job)
        else:
            self._end(job, JobEvent("error", job.id, what=what))

    def release(self, job: Job) -> None:
        """End an endless job at the next place on the grid."""
        job.releasing = True
        if job.armed:
            fade = self._samples(STOP_FADE_SECONDS)
            self.fade_out(job, plan(self._owner.transport_now(), self._audio, job.quantum, fade).at, fade)
        elif job.sent:  # what sounds is made until its end is heard: a bar may be longer than what is made ahead
            self._send(StopJob(job.id))

    def fade_out(self, job: Job, at: int, fade: int) -> None:
        """End the sound of a job, on its place on the grid; what was heard before it may come back meanwhile."""
        self._stop_at(job, at, fade)
        self._owner.job_ends(job, at, fade)

    def silence(self) -> None:
        """Stop all sound of jobs; the clips are still made."""
        for job in self.book:
            if job.plays and job.voice >= 0:
                self.silence_job(job)

    def silence_job(self, job: Job, at: int = NOW) -> None:
        """Stop the sound of one job, now or at a position; its clip is still made."""
        if at != NOW and job.armed:
            self._stop_at(job, at, self._samples(STOP_FADE_SECONDS))
            return  # its end closes the stream
        self._stop(job)
        self._unheard(job)

    @property
    def sounding(self) -> bool:
        return any(job.sounding for job in self.book)

    # --- from the engine ---

    def on_engine(self, event: object) -> None:
        """An event of a job; others are ignored."""
        if not isinstance(event, (JobStreaming, JobMoved, StreamClosed, JobFinished, JobFailed)):
            return
        job = self.book.find(event.job)
        if job is None:
            return
        match event:
            case JobStreaming():
                job.streaming, job.count = True, event.count
                job.lead_samples = event.lead_samples + job.line - job.begin
                took = time.perf_counter() - job.sent_at
                if len([other for other in self.book.unfinished() if other.sent]) == 1:
                    self.pace.first_sound(took)
            case JobMoved():
                self._moved(job, event)
            case StreamClosed():
                job.stream_closed = True
            case JobFinished() if not job.failure:
                job.engine_done = True
                self.pace.finished(event.rtf)
                self._owner.save(job, event)
            case JobFinished():
                self._end(job, JobEvent("error", job.id, what=job.failure))
            case JobFailed() if event.cancelled and not job.failure:
                self._end(job, JobEvent("cancelled", job.id))
            case JobFailed():
                self._end(job, JobEvent("error", job.id, what=job.failure or event.what))
        self.poll()
        self._sweep()

    def _moved(self, job: Job, event: JobMoved) -> None:
        job.made_seconds, job.total_seconds = event.seconds, event.total_seconds
        fraction = min(1.0, event.seconds / event.total_seconds) if event.total_seconds else 0.0
        if fraction >= job.told_fraction + PROGRESS_STEP or (fraction == 1.0 and job.told_fraction < 1.0):
            job.told_fraction = fraction
            self._owner.emit(JobEvent("progress", job.id, fraction=fraction), job.origin)

    def engine_lost(self, what: str) -> None:
        """The engine died: what it worked on is answered with an error; what sounds runs out of its ring."""
        for job in self.book:
            if job.sent:
                job.stream_closed = True
            if job.sent and not job.engine_done:
                # No end will be written into this ring: the voice is let go of before it runs dry.
                self._end(job, JobEvent("error", job.id, what=job.failure or what))

    # --- from the audio process ---

    def on_happened(self, what: Happened, position: int, token: int) -> bool:
        """Something happened to a voice; False when it is none of a job's."""
        job = self.book.by_token(token)
        if job is None:
            return False
        if what == Happened.STARTED:
            job.sounding, job.starved = True, False
            if not job.playing_told:
                job.playing_told = True
                job.clip = job.clip or self._owner.clip_id()
                heard = position + job.lead_samples + self._audio.output_delay
                beat = self._owner.transport_now().beat_at(heard)
                self._owner.emit(JobEvent("playing", job.id, clip=job.clip, beat=beat), job.origin)
        elif what == Happened.LATE:
            job.armed = False
            if job.stopping:
                self._voice_ended(job)  # the voice had missed its start when it was told to stop: no end will be told
            else:
                self._owner.job_missed(job)
        elif what == Happened.STARVED:
            job.armed = job.sounding = False
            job.starved = True
            self.pace.ran_dry()
        else:
            self._voice_ended(job)
        self.poll()
        self._sweep()
        return True

    def device_restarted(self, same_rate: bool) -> None:
        """All voices are gone: streams go on from what is in their rings, unless their rate is no longer right."""
        for job in self.book:
            if job.voice_done or not (job.armed or job.starved):
                continue
            job.armed = job.sounding = False
            job.starved = job.playing_told
            if not same_rate or job.stopping or job.releasing:
                self._voice_ended(job)
        self._sweep()

    def poll(self) -> None:
        """Start every stream that has enough by now; let go of the voices of those that have nothing left."""
        for job in self.book:
            if job.armed or job.stopping or job.voice < 0 or not job.plays:
                continue
            if job.streaming and self._enough(job):
                self._arm(job)
            elif job.stream_closed and not self._audio.streams[job.voice].available:
                self._stop(job)

    # --- inside ---

    def _enough(self, job: Job) -> bool:
        ring = self._audio.streams[job.voice]
        # A new stream's data begins at `count`; what lies before it is skipped when the voice starts.
        ready = ring.written - max(ring.position, job.count)
        if job.stream_closed or ring.end >= 0:
            return ready > 0
        if ready < self._samples(self.pace.prime_seconds) + self._audio.setup.block + PRIME_GUARD + job.lead_samples:
            return False
        return job.engine_done or job.endless or self.pace.keeps_ahead(job.made_seconds, job.total_seconds)

    def _arm(self, job: Job) -> None:
        again = job.starved
        lead = 0 if again else job.lead_samples
        if job.line_position >= 0 and not again and job.line_position - lead >= self._audio.soon():
            # Bound to what is captured, not to the grid: what follows it must not come earlier or later than that ends.
            job.launch = Launch(job.line_position - lead, lead=lead)
        else:
            job.launch = plan(self._owner.transport_now(), self._audio, job.quantum, lead)
        at = job.launch.at
        fade = max(lead, self._samples(ATTACK_SECONDS if not again else STOP_FADE_SECONDS))
        self._audio.play_stream(job.voice, job.token, at, -1 if again else job.count, fade, job.gain)
        job.armed = True
        if not again:
            self._owner.job_armed(job, at, max(lead, self._samples(STOP_FADE_SECONDS)))
        if job.kind != "generate" and not again:
            self._replace_others(job, at, max(lead, self._samples(STOP_FADE_SECONDS)))

    def retime(self) -> None:
        """The transport changed: streams that wait for their place on the grid move with it, and what they replace."""
        for job in self.book:
            if not job.armed or job.sounding or job.launch is None:
                continue
            moved = replan(job.launch, self._owner.transport_now(), self._audio)
            if moved is not job.launch:
                job.launch = moved
                self._audio.move_voice(job.voice, job.token, moved.at)
                if job.kind != "generate" and not job.starved:
                    self._replace_others(job, moved.at, max(moved.lead, self._samples(STOP_FADE_SECONDS)))

    def _replace_others(self, job: Job, at: int, fade: int) -> None:
        """Continuations are one instrument: a new one takes over from the one that sounds."""
        for other in self.book:
            if other is not job and other.kind != "generate" and (other.sounding or other.armed):
                self._stop_at(other, at, fade)
                if other.endless and not other.engine_done:
                    self._send(StopJob(other.id))

    def successor(self, job: Job) -> Job | None:
        """The continuation that took over from this one, if its sound is not over."""
        return next((other for other in self.book if other is not job and other.kind != "generate"
                     and not other.voice_done and (other.armed or other.sounding or other.starved)), None)

    def _stop_at(self, job: Job, at: int, fade: int) -> None:
        """Fade the voice of a job that sounds, or waits for its start, out at a position."""
        job.stopping = True
        self._audio.stop_voice(job.voice, job.token, at, fade)

    def _stop(self, job: Job) -> None:
        """Fade a job's voice out now; one that does not know it lets go of what is in its ring (token 0)."""
        if job.voice < 0 or job.voice_done:
            return
        job.stopping = True
        known = job.armed or job.starved
        self._audio.stop_voice(job.voice, job.token if known else 0, NOW, self._samples(STOP_FADE_SECONDS))
        if not known:
            self._voice_ended(job)

    def _voice_ended(self, job: Job) -> None:
        if job.voice_done:
            return
        job.voice_done, job.armed, job.sounding, job.starved = True, False, False, False
        self._unheard(job)
        if job.playing_told:
            self._owner.emit(ClipEvent("stopped", job.clip))
        self._owner.job_voice_ended(job)

    def _unheard(self, job: Job) -> None:
        """Nobody hears the rest of a job: its ring is closed, and what has no end ends."""
        if job.sent and not job.stream_closed:
            self._send(MuteJob(job.id))
        if job.sent and job.endless and not (job.engine_done or job.cancelled):
            self._send(StopJob(job.id))

    def _end(self, job: Job, event: JobEvent) -> None:
        """The engine's part of a job is over, and not well."""
        if job.engine_done:
            return
        job.engine_done = True
        self._stop(job)
        self._owner.emit(event, job.origin)
        self._sweep()

    def _sweep(self) -> None:
        for job in self.book:
            if job.over:
                self.book.forget(job)
        self.dispatch()

    def _free_voice(self) -> int:
        taken = {job.voice for job in self.book}
        return next((voice for voice in range(STREAM_VOICES) if voice not in taken), -1)

    def _samples(self, seconds: float) -> int:
        return int(seconds * self._audio.rate)
