"""The engine's work: prompts are fed, jobs generate side by side with the most urgent one first, sound is streamed.

One thread runs the model. Between two chunks it looks at what came in, so a capture is encoded while a job runs and
a cancel acts within a step. Endless jobs are held back by what is ahead of the loudspeaker, and leave their time to
others; of the others one runs at a time, in the order they came. No job waits for ever: one that nobody hears, or that
is not urgent, gets a chunk now and then.

What is promised for every job that is started: one `JobFinished` or `JobFailed`, and with a target one `StreamClosed`,
also when nothing was ever written there, since only then is its ring anybody else's. A job whose prompt another model
took away comes back as `JobFailed` alone: it is to be started again, with its prompt.

Threading: `post` from any thread; `run` is the thread that owns the model; `emit` is called from `run` and from the
feeding thread. This module imports no torch.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from soundforge.cancel_token import CancelToken
from soundforge.errors import InputError, JobError
from soundforge.live.engine_failures import failure, one_line
from soundforge.live.engine_inbox import EngineInbox, merged_changes
from soundforge.live.engine_job import UNHEARD_SECONDS, EngineJob, begin_job
from soundforge.live.engine_models import ServingModel
from soundforge.live.engine_prompts import PromptShelf
from soundforge.live.engine_protocol import (
    CancelJob,
    ChangeRefused,
    DropPrompt,
    EndPrompt,
    EngineSetup,
    FeedPrompt,
    JobFailed,
    JobFinished,
    LoadModel,
    MuteJob,
    OpenPrompt,
    QuitEngine,
    StartJob,
    StopJob,
    StreamClosed,
    UpdateJob,
)
from soundforge.live.stream_feeder import FeedingThread

IDLE_SECONDS = 0.02       # how often a job that is held back is looked at
PATIENCE_SECONDS = 1.0    # a job that is not urgent waits so long for a chunk while what is heard has as much ahead,
LONGEST_WAIT_SECONDS = 3.0  # and so long in any case


class EngineWorker:
    """See the module.

    Args:
        setup: what to load first, and how.
        emit: takes every event; thread-safe.
    """

    def __init__(self, setup: EngineSetup, emit: Callable[[object], None]) -> None:
        self._first_model, self._emit = setup.model, emit
        self._inbox = EngineInbox()
        self._model = ServingModel(setup, emit, self._forget_all)
        self._prompts = PromptShelf(self._model.get, emit)
        self._waiting: list[StartJob] = []
        self._running: list[EngineJob] = []
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
        self._model.load(self._first_model)
        while not self._quitting:
            self._read_inbox()
            if self._wanted_model and not self._busy:
                wanted, self._wanted_model = self._wanted_model, ""
                self._model.load(wanted)
            self._start_jobs()
            self._apply_changes()
            job = self._most_urgent()
            if job is not None:
                self._advance(job)
        self._feeding.stop()
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
                self._prompts.hold(message.job, message.prompt)
            case OpenPrompt() | FeedPrompt() | EndPrompt():
                self._prompts.handle(message)
            case DropPrompt():
                self._prompts.drop(message.prompt)
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

    def _forget_all(self) -> None:
        """Jobs and prompts of a model end with it: their states fit no other network."""
        for job in list(self._running):
            self._fail(job, JobError("another model was loaded; ask again"))
        self._prompts.clear()

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
                prompt = self._prompts.held(start.job, start.prompt) if start.prompt else None
                job = begin_job(start, self._model.get(), prompt, self._tokens[start.job])
            except Exception as error:
                self._refuse(start, failure(start.job, error))
                continue
            self._running.append(job)
            if job.feeder is not None:
                self._feeding.add(start.job, job.feeder)

    def _refuse(self, start: StartJob, event: JobFailed) -> None:
        """A job ends before it began: nothing was, or will be, written into its ring."""
        if start.target is not None and not event.prompt_lost:
            self._emit(StreamClosed(start.job))
        self._end(start.job, event)

    def _most_urgent(self) -> EngineJob | None:
        """The running job with the least sound ahead; jobs that nobody listens to come last, and in turns."""
        ready = [job for job in self._running if not job.held_back]
        first = min(ready, key=lambda job: (job.ahead_seconds, job.advanced_at), default=None)
        if first is None or len(ready) == 1:
            return first
        longest = min(ready, key=lambda job: job.advanced_at)
        waited = time.monotonic() - longest.advanced_at
        patient = PATIENCE_SECONDS if first.ahead_seconds > PATIENCE_SECONDS else LONGEST_WAIT_SECONDS
        return longest if waited > patient else first

    def _advance(self, job: EngineJob) -> None:
        """One chunk of one job."""
        job.advanced_at, began = time.monotonic(), time.perf_counter()
        try:
            chunk = next(job.chunks, None)
            job.computing += time.perf_counter() - began
            if chunk is not None:
                job.take(chunk)
                job.tell(self._emit)
                return
            if job.feeder is not None:
                job.feeder.push(np.zeros((job.model.channels, 0), np.float32), last=True)
                job.tell(self._emit)
            finished = JobFinished(job.start.job, job.clip(), job.rtf)
        except Exception as error:
            self._fail(job, error)
            return
        self._running.remove(job)
        self._end(job.start.job, finished)

    def _fail(self, job: EngineJob, error: Exception) -> None:
        self._feeding.abort(job.start.job)
        self._running.remove(job)
        self._end(job.start.job, failure(job.start.job, error))

    def _end(self, name: str, event: JobFinished | JobFailed) -> None:
        self._tokens.pop(name, None)
        self._changes.pop(name, None)
        self._prompts.let_go(name)
        self._emit(event)
