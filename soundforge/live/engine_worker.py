"""The engine's work: prompts are fed, jobs generate side by side with the most urgent one first, sound is streamed.

One thread runs the model. Between two chunks it looks at what came in, so a capture is encoded while a job runs and
a cancel acts within a step. Endless jobs are held back by what is ahead of the loudspeaker, and leave their time to
others; of the others one runs at a time, in the order they came. No job waits for ever: one that nobody hears, or that
is not urgent, gets a chunk now and then.

What is promised for every job that is started: one `JobFinished` or `JobFailed`, and with a target one `StreamClosed`,
also when nothing was ever written there, since only then is its ring anybody else's.

Threading: `post` from any thread; `run` is the thread that owns the model; `emit` is called from `run` and from the
feeding thread. This module imports no torch.
"""

from __future__ import annotations

import importlib
import queue
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from soundforge.audio import Samples, mix_channels
from soundforge.clip import Clip
from soundforge.errors import CancelledError, InputError, JobError, SoundForgeError
from soundforge.live.engine_inbox import EngineInbox, merged_changes
from soundforge.live.engine_protocol import (
    CancelJob,
    ChangeRefused,
    Continuation,
    DropPrompt,
    EndPrompt,
    EngineFailed,
    EngineLoading,
    EngineReady,
    EngineSetup,
    FeedPrompt,
    JobFailed,
    JobFinished,
    JobMoved,
    JobStreaming,
    LiveChunk,
    LiveModel,
    LoadModel,
    MuteJob,
    OpenedPrompt,
    OpenPrompt,
    PromptFailed,
    QuitEngine,
    StartJob,
    StopJob,
    StreamClosed,
    UpdateJob,
)
from soundforge.live.ring_buffer import RingBuffer
from soundforge.live.stream_feeder import FeedingThread, StreamFeeder, StreamingResampler
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams, TempoChange, describe_value

AHEAD_SECONDS = 4.0       # an endless job makes no more than this before it is played
IDLE_SECONDS = 0.02       # how often a job that is held back is looked at
PATIENCE_SECONDS = 1.0    # a job that is not urgent waits so long for a chunk while what is heard has as much ahead,
LONGEST_WAIT_SECONDS = 3.0  # and so long in any case
UNHEARD_SECONDS = 1e9     # ahead of a loudspeaker that there is not
MAX_CLIP_SECONDS = 1800.0  # of an endless job this much becomes a clip
MAX_PROMPTS = 8
MAX_SEED = 2**31 - 1
OUT_OF_MEMORY = ("out of memory", "not enough memory", "cannot allocate memory", "can't allocate memory")


def resolve_factory(name: str) -> Callable[[EngineSetup, str], LiveModel]:
    """The function named `module:function`."""
    module, _, function = name.partition(":")
    found: Callable[[EngineSetup, str], LiveModel] = getattr(importlib.import_module(module), function)
    return found


class Prompt:
    """A prompt with the resampler in front of it."""

    def __init__(self, opened: OpenedPrompt, model: LiveModel, rate: int) -> None:
        self.opened, self._model, self._rate = opened, model, rate
        self._resampler: StreamingResampler | None = None

    def feed(self, samples: Samples, last: bool = False) -> None:
        """Take `(n, channels)` at the capture's rate."""
        wave = mix_channels(samples.T, self._model.channels)
        if self._resampler is None:
            self._resampler = StreamingResampler(self._rate, self._model.sample_rate, self._model.channels)
        self.opened.feed(self._resampler.push(wave, last))


class Job:
    """A job that runs: its iterator, its feeder, and what it has made."""

    def __init__(self, start: StartJob, model: LiveModel, continuation: Continuation, token: CancelToken,
                 finish: Callable[[Clip], Clip], skip_seconds: float = 0.0) -> None:
        self.finish = finish
        self.start, self.model, self.continuation, self.token = start, model, continuation, token
        self.chunks: Iterator[LiveChunk] = iter(continuation)
        self.feeder: StreamFeeder | None = None
        self.pieces: list[Samples] = []
        self.codes: list[Any] = []
        self.dropping = continuation.lead_samples + round(skip_seconds * model.sample_rate)
        self.skipped = self.dropping
        self.made = -self.dropping
        self.computing = 0.0
        self.told = False
        self.advanced_at = time.monotonic()

    @property
    def ahead_seconds(self) -> float:
        """Of the loudspeaker; very much where nobody listens, nothing for one that only has to end."""
        if self.token.cancelled:
            return 0.0
        return UNHEARD_SECONDS if self.feeder is None or self.feeder.aborted else self.feeder.ahead_seconds

    @property
    def held_back(self) -> bool:
        return self.start.endless and AHEAD_SECONDS < self.ahead_seconds < UNHEARD_SECONDS

    @property
    def rtf(self) -> float:
        return max(0, self.made + self.skipped) / self.model.sample_rate / self.computing if self.computing else 0.0

    def take(self, chunk: LiveChunk) -> None:
        """Keep and stream one chunk; the lead, and what is skipped, does not belong to the clip."""
        samples = np.asarray(chunk.samples, np.float32)
        if self.feeder is not None:
            self.feeder.push(samples)
        dropped = min(self.dropping, samples.shape[1])
        self.dropping -= dropped
        if self.made < MAX_CLIP_SECONDS * self.model.sample_rate:
            self.pieces.append(samples[:, dropped:])
            if chunk.codes is not None:
                self.codes.append(np.asarray(chunk.codes))
        self.made += samples.shape[1]

    def clip(self) -> Clip:
        asked = self.start.request
        request = replace(self.continuation.request, seconds=asked.seconds, bars=asked.bars)
        wave = np.concatenate(self.pieces, axis=1) if self.pieces else np.zeros((self.model.channels, 0), np.float32)
        if not wave.shape[1]:
            raise JobError("nothing was generated; ask for more seconds or bars")
        changes = [recorded(change) for change in getattr(self.continuation, "changes", [])]
        info = {"rtf": round(self.rtf, 3), "changes": changes}
        return self.finish(Clip(
            wave, self.model.sample_rate, request, request.seed or 0,
            np.concatenate(self.codes, axis=-1) if self.codes else None, self.model.name, bpm=request.bpm,
            beats_per_bar=request.beats_per_bar, info=info))


class EngineWorker:
    """See the module.

    Args:
        setup: what to load first, and how.
        emit: takes every event; thread-safe.
    """

    def __init__(self, setup: EngineSetup, emit: Callable[[object], None]) -> None:
        self._setup, self._emit = setup, emit
        self._inbox = EngineInbox()
        self._model: LiveModel | None = None
        self._prompts: dict[str, Prompt] = {}
        self._waiting: list[StartJob] = []
        self._running: list[Job] = []
        self._tokens: dict[str, CancelToken] = {}
        self._changes: dict[str, dict[str, Any]] = {}
        self._feeding = FeedingThread(lambda job: emit(StreamClosed(job)))
        self._quitting = False
        self._wanted_model = ""

    def post(self, message: object) -> None:
        """Hand over a message; a cancel acts on the running step at once."""
        if isinstance(message, CancelJob):
            token = self._tokens.get(message.job)
            if token is not None:
                token.cancel()
        elif isinstance(message, StartJob):
            self._tokens[message.job] = CancelToken()
        self._inbox.put(message)

    def run(self) -> None:
        """Serve until `QuitEngine`."""
        self._load(self._setup.model)
        while not self._quitting:
            self._read_inbox()
            if self._wanted_model and not self._busy:
                wanted, self._wanted_model = self._wanted_model, ""
                self._load(wanted)
            self._start_jobs()
            self._apply_changes()
            job = self._most_urgent()
            if job is not None:
                self._advance(job)
        self._feeding.stop()
        if self._model is not None:
            self._model.close()

    # --- messages ---

    def _read_inbox(self) -> None:
        """Handle all that came; waits for something when there is nothing to generate."""
        idle = self._most_urgent() is None and not self._startable() and not self._wanted_model
        try:
            message = self._inbox.get((IDLE_SECONDS if self._running else None) if idle else 0)
            for _ in range(len(self._inbox)):  # what comes meanwhile is for the next time: jobs go on between
                self._handle(message)
                message = self._inbox.get(0)
            self._handle(message)
        except queue.Empty:
            return

    def _handle(self, message: object) -> None:
        match message:
            case StartJob():
                self._waiting.append(message)
            case OpenPrompt() | FeedPrompt() | EndPrompt():
                self._handle_prompt(message)
            case DropPrompt():
                self._prompts.pop(message.prompt, None)
            case CancelJob():
                self._cancel(message.job)
            case MuteJob():
                self._feeding.abort(message.job)
            case StopJob() | UpdateJob():
                self._change(message)
            case LoadModel():
                self._wanted_model = message.name  # once the job that runs is done: its sound must not stop
            case QuitEngine():
                self._quitting = True
            case _:
                raise TypeError(f"the engine got {message!r}")

    def _handle_prompt(self, message: OpenPrompt | FeedPrompt | EndPrompt) -> None:
        try:
            if isinstance(message, OpenPrompt):
                model = self._serving()
                while len(self._prompts) >= MAX_PROMPTS:
                    self._prompts.pop(next(iter(self._prompts)))
                self._prompts[message.prompt] = Prompt(model.open_prompt(message.request), model, message.rate)
            elif message.prompt in self._prompts:
                prompt = self._prompts[message.prompt]
                if isinstance(message, FeedPrompt):
                    prompt.feed(message.samples)
                else:
                    prompt.feed(np.zeros((0, 1), np.float32), last=True)
        except Exception as error:
            self._prompts.pop(message.prompt, None)
            self._emit(PromptFailed(message.prompt, one_line(error)))

    def _cancel(self, job: str) -> None:
        self._feeding.abort(job)
        for start in self._waiting:
            if start.job == job:
                self._waiting.remove(start)
                self._refuse(start, JobFailed(job, "the job was cancelled", cancelled=True))
                return

    def _change(self, message: StopJob | UpdateJob) -> None:
        if isinstance(message, StopJob):
            for job in self._running:
                if job.start.job == message.job:
                    job.continuation.stop()
        elif message.job in self._tokens:
            # A fader sends more than a step can follow: what is not applied yet is overtaken by what comes.
            self._changes[message.job] = merged_changes(self._changes.get(message.job, {}), message.changes)

    def _apply_changes(self) -> None:
        for job in list(self._running):
            changes = self._changes.pop(job.start.job, None)
            if changes is None:
                continue
            if "tempo" in changes and job.ahead_seconds < UNHEARD_SECONDS:
                changes["tempo"] = replace(changes["tempo"], ahead_seconds=job.ahead_seconds)
            try:
                job.continuation.update(**changes)
            except InputError as error:
                self._emit(ChangeRefused(job.start.job, one_line(error)))  # it plays on as it was
            except Exception as error:
                self._fail(job, error)

    def _load(self, name: str) -> None:
        """Load a model; the old one serves until then, and on if it fails."""
        self._emit(EngineLoading(name))
        began = time.perf_counter()
        try:
            model = resolve_factory(self._setup.factory)(self._setup, name)
        except Exception as error:
            self._emit(EngineFailed(name, one_line(error), serving=self._model is not None))
            return
        # Jobs and prompts of the old model end with it: their states fit no other network.
        for job in list(self._running):
            self._fail(job, JobError("another model was loaded; ask again"))
        self._prompts.clear()
        old, self._model = self._model, model
        if old is not None:
            old.close()
        self._emit(EngineReady(model.name, model.sample_rate, model.channels, time.perf_counter() - began,
                               model.slots, dict(model.defaults)))

    def _serving(self) -> LiveModel:
        if self._model is None:
            raise JobError("no model is loaded; load one that can be, with /soundforge/model or --model")
        return self._model

    # --- jobs ---

    @property
    def _busy(self) -> bool:
        """A job with an end runs."""
        return any(not job.start.endless for job in self._running)

    def _startable(self) -> StartJob | None:
        if self._wanted_model:
            return None  # what waits is for the new model
        busy = self._busy
        return next((start for start in self._waiting if start.endless or not busy), None)

    def _start_jobs(self) -> None:
        while (start := self._startable()) is not None:
            self._waiting.remove(start)
            try:
                self._running.append(self._begin(start))
            except Exception as error:
                self._refuse(start, _failure(start.job, error))

    def _refuse(self, start: StartJob, event: JobFailed) -> None:
        """A job ends before it began: nothing was, or will be, written into its ring."""
        if start.target is not None:
            self._emit(StreamClosed(start.job))
        self._end(start.job, event)

    def _begin(self, start: StartJob) -> Job:
        model, token = self._serving(), self._tokens[start.job]
        token.raise_if_cancelled()
        request = start.request
        if request.seed is None:
            request = request.with_seed(random.SystemRandom().randint(0, MAX_SEED))
        finish = model.finisher(request)
        began, skip_samples, skip_seconds = time.perf_counter(), 0, 0.0
        if start.prompt:
            prompt = self._prompts.get(start.prompt)
            if prompt is None:
                raise JobError(f"the engine does not hold the prompt {start.prompt!r} any more; ask again")
            if start.begin >= 0 and start.target is not None:
                known = prompt.opened.n_samples * start.target.rate / model.sample_rate
                skip_samples = max(0, round(start.begin - known))
                # In whole samples of the model, so that what is left of bars has exactly theirs.
                skipped = max(0, round((start.line - known) / start.target.rate * model.sample_rate))
                skip_seconds = skipped / model.sample_rate
                if not start.endless:
                    request = longer(request, skip_seconds)
            continuation = prompt.opened.continue_(
                request, endless=start.endless, lead_samples=round(start.lead_seconds * model.sample_rate),
                cancel=token)
        else:
            continuation = model.generate(request, endless=start.endless, cancel=token)
        job = Job(start, model, continuation, token, finish, skip_seconds)
        job.computing = time.perf_counter() - began
        if start.target is not None:
            job.feeder = StreamFeeder(RingBuffer(*start.target.handle), model.sample_rate, start.target.rate,
                                      model.channels, skip_samples)
            self._feeding.add(start.job, job.feeder)
        return job

    def _most_urgent(self) -> Job | None:
        """The running job with the least sound ahead; jobs that nobody listens to come last, and in turns."""
        ready = [job for job in self._running if not job.held_back]
        first = min(ready, key=lambda job: (job.ahead_seconds, job.advanced_at), default=None)
        if first is None or len(ready) == 1:
            return first
        longest = min(ready, key=lambda job: job.advanced_at)
        waited = time.monotonic() - longest.advanced_at
        patient = PATIENCE_SECONDS if first.ahead_seconds > PATIENCE_SECONDS else LONGEST_WAIT_SECONDS
        return longest if waited > patient else first

    def _advance(self, job: Job) -> None:
        """One chunk of one job."""
        job.advanced_at, began = time.monotonic(), time.perf_counter()
        try:
            chunk = next(job.chunks, None)
            job.computing += time.perf_counter() - began
            if chunk is not None:
                job.take(chunk)
                self._tell(job)
                return
            if job.feeder is not None:
                job.feeder.push(np.zeros((job.model.channels, 0), np.float32), last=True)
                self._tell(job)
            finished = JobFinished(job.start.job, job.clip(), job.rtf)
        except Exception as error:
            self._fail(job, error)
            return
        self._running.remove(job)
        self._end(job.start.job, finished)

    def _tell(self, job: Job) -> None:
        name, feeder = job.start.job, job.feeder
        if feeder is not None and not job.told and feeder.begun:
            job.told = True
            rate = job.start.target.rate if job.start.target else 1
            lead = round(job.continuation.lead_samples * rate / job.model.sample_rate)
            self._emit(JobStreaming(name, feeder.count, lead))
        rate = job.model.sample_rate
        skipped = (job.skipped - job.continuation.lead_samples) / rate
        total = 0.0 if job.start.endless else job.continuation.request.new_seconds - skipped
        self._emit(JobMoved(name, max(0, job.made) / rate, total, job.rtf))

    def _fail(self, job: Job, error: Exception) -> None:
        self._feeding.abort(job.start.job)
        self._running.remove(job)
        self._end(job.start.job, _failure(job.start.job, error))

    def _end(self, name: str, event: JobFinished | JobFailed) -> None:
        self._tokens.pop(name, None)
        self._changes.pop(name, None)
        self._emit(event)


def _failure(job: str, error: Exception) -> JobFailed:
    return JobFailed(job, one_line(error), cancelled=isinstance(error, CancelledError))


def longer(request: GenerateRequest, seconds: float) -> GenerateRequest:
    """A request for so much more sound; in bars where it came in bars, whose samples are counted, not whole frames."""
    if request.bars is None or request.bpm is None:
        return replace(request, seconds=request.new_seconds + seconds, bars=None)
    return replace(request, bars=request.bars + seconds * request.bpm / 60.0 / request.beats_per_bar)


def recorded(change: Mapping[str, Any]) -> dict[str, Any]:
    """A change of a running job as the clip's record keeps it: fit for JSON."""
    return {name: asdict(value) if isinstance(value, (SamplingParams, TempoChange)) else describe_value(value)
            for name, value in change.items()}


def one_line(error: BaseException) -> str:
    """Our own errors as they are; others with their type, cut to one line."""
    if isinstance(error, SoundForgeError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return f"out of memory ({text[:200]}); ask for less, or load a smaller model"
    return f"the engine failed with {type(error).__name__}: {text[:300]}"
