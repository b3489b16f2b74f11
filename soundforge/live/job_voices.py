"""Jobs and their voices: started on the grid when there is enough sound, moved with it, replaced, stopped, let go of.

A job's stream plays as soon as enough of it is there. What "enough" is follows from how fast the engine is: a model
faster than real time starts after a few frames; a slower one first gets the lead it needs. A stream that misses its
place on the grid, or runs dry, goes on at the next one: overload makes music late, never broken.

A voice is given back exactly once: when its end was told, or at once where no end will be told, since it never started.

Threading: belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import NOW, PRIME_GUARD, STREAM_VOICES, Happened
from soundforge.live.engine_protocol import MuteJob, StopJob, StreamTarget
from soundforge.live.jobs import Job, JobBook, Owner
from soundforge.live.launching import Launch, plan, replan
from soundforge.live.pace import Pace
from soundforge.requests import ClipEvent, JobEvent

STOP_FADE_SECONDS = 0.01
ATTACK_SECONDS = 0.001     # for streams that begin out of silence


class JobVoices:
    """See the module.

    Args:
        audio: the loudspeaker.
        send: takes messages for the engine.
        owner: the session.
        book: the jobs.
        pace: how fast the engine is.
    """

    def __init__(self, audio: AudioClient, send: Callable[[object], None], owner: Owner, book: JobBook,
                 pace: Pace) -> None:
        self._audio, self._send, self._owner, self._book, self._pace = audio, send, owner, book, pace

    def take(self, job: Job) -> StreamTarget | None:
        """A free voice for a job: its ring, or None when there is none now."""
        taken = {other.voice for other in self._book}
        job.voice = next((voice for voice in range(STREAM_VOICES) if voice not in taken), -1)
        return None if job.voice < 0 else StreamTarget(self._audio.streams[job.voice].handle(), self._audio.rate)

    def fade_out(self, job: Job, at: int, fade: int) -> None:
        """End the sound of a job, on its place on the grid; what was heard before it may come back meanwhile."""
        self.stop_at(job, at, fade)
        self._owner.job_ends(job, at, fade)

    def silence(self) -> None:
        """Stop all sound of jobs; the clips are still made."""
        for job in self._book:
            if job.plays and job.voice >= 0:
                self.silence_job(job)

    def silence_job(self, job: Job, at: int = NOW) -> None:
        """Stop the sound of one job, now or at a position; its clip is still made."""
        if at != NOW and job.armed:
            self.stop_at(job, at, self.samples(STOP_FADE_SECONDS))
            return  # its end closes the stream
        self.stop(job)
        self._unheard(job)

    def on_happened(self, what: Happened, position: int, token: int) -> bool:
        """Something happened to a voice; False when it is none of a job's."""
        job = self._book.by_token(token)
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
            self._pace.ran_dry()
        else:
            self._voice_ended(job)
        self.poll()
        return True

    def device_restarted(self, same_rate: bool) -> None:
        """All voices are gone: streams go on from what is in their rings, unless their rate is no longer right."""
        for job in self._book:
            if job.voice_done or not (job.armed or job.starved):
                continue
            job.armed = job.sounding = False
            job.starved = job.playing_told
            if not same_rate or job.stopping or job.releasing:
                self._voice_ended(job)

    def poll(self) -> None:
        """Start every stream that has enough by now; let go of the voices of those that have nothing left."""
        for job in self._book:
            if job.armed or job.stopping or job.voice < 0 or not job.plays:
                continue
            if job.streaming and self._enough(job):
                self._arm(job)
            elif job.stream_closed and not self._audio.streams[job.voice].available:
                self.stop(job)

    def _enough(self, job: Job) -> bool:
        ring = self._audio.streams[job.voice]
        # A new stream's data begins at `count`; what lies before it is skipped when the voice starts.
        ready = ring.written - max(ring.position, job.count)
        if job.stream_closed or ring.end >= 0:
            return ready > 0
        if ready < self.samples(self._pace.prime_seconds) + self._audio.setup.block + PRIME_GUARD + job.lead_samples:
            return False
        return job.engine_done or job.endless or self._pace.keeps_ahead(job.made_seconds, job.total_seconds)

    def _arm(self, job: Job) -> None:
        again = job.starved
        lead = 0 if again else job.lead_samples
        if job.line_position >= 0 and not again and job.line_position - lead >= self._audio.soon():
            # Bound to what is captured, not to the grid: what follows it must not come earlier or later than that ends.
            job.launch = Launch(job.line_position - lead, lead=lead)
        else:
            job.launch = plan(self._owner.transport_now(), self._audio, job.quantum, lead)
        at = job.launch.at
        fade = max(lead, self.samples(ATTACK_SECONDS if not again else STOP_FADE_SECONDS))
        self._audio.play_stream(job.voice, job.token, at, -1 if again else job.count, fade, job.gain)
        job.armed = True
        if not again:
            self._owner.job_armed(job, at, max(lead, self.samples(STOP_FADE_SECONDS)))
        if job.kind != "generate" and not again:
            self._replace_others(job, at, max(lead, self.samples(STOP_FADE_SECONDS)))

    def retime(self) -> None:
        """The transport changed: streams that wait for their place on the grid move with it, and what they replace."""
        for job in self._book:
            if not job.armed or job.sounding or job.launch is None:
                continue
            moved = replan(job.launch, self._owner.transport_now(), self._audio)
            if moved is not job.launch:
                job.launch = moved
                self._audio.move_voice(job.voice, job.token, moved.at)
                if job.kind != "generate" and not job.starved:
                    self._replace_others(job, moved.at, max(moved.lead, self.samples(STOP_FADE_SECONDS)))

    def _replace_others(self, job: Job, at: int, fade: int) -> None:
        """Continuations are one instrument: a new one takes over from the one that sounds."""
        for other in self._book:
            if other is not job and other.kind != "generate" and (other.sounding or other.armed):
                self.stop_at(other, at, fade)
                if other.endless and not other.engine_done:
                    self._send(StopJob(other.id))

    def successor(self, job: Job) -> Job | None:
        """The continuation that took over from this one, if its sound is not over."""
        return next((other for other in self._book if other is not job and other.kind != "generate"
                     and not other.voice_done and (other.armed or other.sounding or other.starved)), None)

    def stop_at(self, job: Job, at: int, fade: int) -> None:
        """Fade the voice of a job that sounds, or waits for its start, out at a position."""
        job.stopping = True
        self._audio.stop_voice(job.voice, job.token, at, fade)

    def stop(self, job: Job) -> None:
        """Fade a job's voice out now; one that does not know it lets go of what is in its ring (token 0)."""
        if job.voice < 0 or job.voice_done:
            return
        job.stopping = True
        known = job.armed or job.starved
        self._audio.stop_voice(job.voice, job.token if known else 0, NOW, self.samples(STOP_FADE_SECONDS))
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

    def samples(self, seconds: float) -> int:
        """Of the device's clock."""
        return int(seconds * self._audio.rate)
