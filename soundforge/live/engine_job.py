"""A job in the engine: its generation, its way into a ring, and the clip that comes of it.

Threading: belongs to the thread that owns the model; the feeder's other side is the feeding thread. This module imports
no torch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from soundforge.audio import SEAM_SECONDS, Samples, looped
from soundforge.cancel_token import CancelToken
from soundforge.clip import Clip
from soundforge.errors import JobError
from soundforge.live.engine_prompts import Prompt
from soundforge.live.engine_protocol import JobMoved, JobStreaming, StartJob
from soundforge.live.live_model import Continuation, LiveChunk, LiveModel
from soundforge.live.ring_buffer import RingBuffer
from soundforge.live.stream_feeder import StreamFeeder
from soundforge.requests import GenerateRequest, SamplingParams, TempoChange, describe_value

AHEAD_SECONDS = 4.0       # an endless job makes no more than this before it is played
UNHEARD_SECONDS = 1e9     # ahead of a loudspeaker that there is not
MAX_CLIP_SECONDS = 1800.0  # of an endless job this much becomes a clip
MAX_SEED = 2**31 - 1


class EngineJob:
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
        if request.loop and self.made == wave.shape[1]:  # all of it was kept
            beyond = getattr(self.continuation, "beyond", wave[:, :0])
            wave = looped(wave, beyond[:, :round(SEAM_SECONDS * self.model.sample_rate)])
        changes = [recorded(change) for change in getattr(self.continuation, "changes", [])]
        info = {"rtf": round(self.rtf, 3), "changes": changes}
        return self.finish(Clip(
            wave, self.model.sample_rate, request, request.seed or 0,
            np.concatenate(self.codes, axis=-1) if self.codes else None, self.model.name, bpm=request.bpm,
            beats_per_bar=request.beats_per_bar, info=info))

    def tell(self, emit: Callable[[object], None]) -> None:
        """Say how far it is, and once that there is sound in its ring."""
        name, feeder = self.start.job, self.feeder
        if feeder is not None and not self.told and feeder.begun:
            self.told = True
            rate = self.start.target.rate if self.start.target else 1
            lead = round(self.continuation.lead_samples * rate / self.model.sample_rate)
            emit(JobStreaming(name, feeder.count, lead))
        rate = self.model.sample_rate
        skipped = (self.skipped - self.continuation.lead_samples) / rate
        total = 0.0 if self.start.endless else self.continuation.request.new_seconds - skipped
        emit(JobMoved(name, max(0, self.made) / rate, total, self.rtf))


def begin_job(start: StartJob, model: LiveModel, prompt: Prompt | None, token: CancelToken) -> EngineJob:
    """Begin what was asked for; the job has a feeder where it has a target.

    Args:
        prompt: what is continued; None = nothing.

    Raises:
        SoundForgeError: cancelled by now, or the model refuses.
    """
    token.raise_if_cancelled()
    request = start.request
    if request.seed is None:
        request = request.with_seed(random.SystemRandom().randint(0, MAX_SEED))
    finish = model.finisher(request)
    began, skip_samples, skip_seconds = time.perf_counter(), 0, 0.0
    if prompt is not None:
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
    job = EngineJob(start, model, continuation, token, finish, skip_seconds)
    job.computing = time.perf_counter() - began
    if start.target is not None:
        job.feeder = StreamFeeder(RingBuffer(*start.target.handle), model.sample_rate, start.target.rate,
                                  model.channels, skip_samples)
    return job


def longer(request: GenerateRequest, seconds: float) -> GenerateRequest:
    """A request for so much more sound; in bars where it came in bars, whose samples are counted, not whole frames."""
    if request.bars is None or request.bpm is None:
        return replace(request, seconds=request.new_seconds + seconds, bars=None, loop=False)
    return replace(request, bars=request.bars + seconds * request.bpm / 60.0 / request.beats_per_bar)


def recorded(change: Mapping[str, Any]) -> dict[str, Any]:
    """A change of a running job as the clip's record keeps it: fit for JSON."""
    return {name: asdict(value) if isinstance(value, (SamplingParams, TempoChange)) else describe_value(value)
            for name, value in change.items()}
