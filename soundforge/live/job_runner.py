"""Jobs on their way through engine and loudspeaker: sent when there is a voice, told about, forgotten when all is over.

The engine's side is here, the loudspeaker's in `job_voices`.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import Happened
from soundforge.live.engine_protocol import (
    CancelJob,
    JobFailed,
    JobFinished,
    JobMoved,
    JobStreaming,
    StartJob,
    StopJob,
    StreamClosed,
)
from soundforge.live.job_voices import STOP_FADE_SECONDS, JobVoices
from soundforge.live.jobs import Job, JobBook, Owner
from soundforge.live.launching import plan
from soundforge.live.pace import Pace
from soundforge.requests import JobEvent, NoticeEvent

PROGRESS_STEP = 0.05


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
        self.voices = JobVoices(audio, send, owner, self.book, self.pace)
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
                target = self.voices.take(job)
                if target is None:
                    self._crowded(job)
                    continue  # it waits for a voice; what is not to be heard needs none
            prompt = self._owner.prompt_for(job)
            if prompt is None:  # the engine needed the room, or was started anew, while it waited
                self._bring_again(job)
                continue
            job.sent, job.sent_at = True, time.perf_counter()
            self._send(StartJob(job.id, job.request, prompt, job.endless, target, job.lead_seconds, job.begin,
                                job.line))

    def _bring_again(self, job: Job) -> None:
        """The engine does not hold what a job continues: it is brought there again, and then the job."""
        job.sent, job.ready, job.autoplay, job.voice = False, False, job.plays, -1
        self._owner.bring_again(job)

    def _crowded(self, job: Job) -> None:
        """No voice is free: said, once, where none will be free by itself."""
        holding = [other for other in self.book if other.voice >= 0]
        if not job.crowded_told and all(other.endless and not other.releasing for other in holding):
            job.crowded_told = True
            what = f"{job.id} waits: {len(holding)} endless jobs sound, which is as many as can; release or cancel one"
            self._owner.emit(NoticeEvent("warning", what), job.origin)

    def cancel(self, job: Job) -> None:
        """End a job and its sound now."""
        job.cancelled = True
        self.voices.stop(job)
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
            fade = self.voices.samples(STOP_FADE_SECONDS)
            self.voices.fade_out(job, plan(self._owner.transport_now(), self._audio, job.quantum, fade).at, fade)
        elif job.sent:  # what sounds is made until its end is heard: a bar may be longer than what is made ahead
            self._send(StopJob(job.id))

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
            case JobFailed() if event.prompt_lost:
                self._prompt_lost(job)
            case JobFailed() if event.cancelled and not job.failure:
                self._end(job, JobEvent("cancelled", job.id))
            case JobFailed():
                self._end(job, JobEvent("error", job.id, what=job.failure or event.what))
        self.poll()

    def _prompt_lost(self, job: Job) -> None:
        """Another model came before a job could begin: it begins anew, unless it was to end meanwhile."""
        if job.failure or job.cancelled or job.releasing or (job.endless and job.voice_done):
            job.stream_closed = True
            self._end(job, JobEvent("error" if job.failure else "cancelled", job.id, what=job.failure))
        else:
            self._bring_again(job)

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
        known = self.voices.on_happened(what, position, token)
        self._sweep()
        return known

    def device_restarted(self, same_rate: bool) -> None:
        """All voices are gone: streams go on from what is in their rings, unless their rate is no longer right."""
        self.voices.device_restarted(same_rate)
        self._sweep()

    def poll(self) -> None:
        """Start every stream that has enough by now, and what waits for a voice that is free again."""
        self.voices.poll()
        self._sweep()

    # --- inside ---

    def _end(self, job: Job, event: JobEvent) -> None:
        """The engine's part of a job is over, and not well."""
        if job.engine_done:
            return
        job.engine_done = True
        self.voices.stop(job)
        self._owner.emit(event, job.origin)
        self._sweep()

    def _sweep(self) -> None:
        for job in self.book:
            if job.over:
                self.book.forget(job)
        self.dispatch()
