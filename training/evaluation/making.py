"""Many clips at once through the engine's own window, sampler and conditioners; each with a prompt of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import soundforge as sf
from soundforge.audio import Waveform
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.prepared_conditions import PreparedConditions
from soundforge.engine.sampling import UniformStream
from soundforge.engine.splice_match import SpliceMatch
from soundforge.engine.window import Window
from soundforge.interfaces import ConditionContext
from soundforge.requests import SamplingParams
from training.evaluation.material import HOP, RATE, Wave, whole_frames

ROWS = 32
"""Clips at once."""


@dataclass(frozen=True)
class Job:
    """One clip to make: conditions by name, a prompt or none, the tempo where it is stated, a seed."""

    conditions: Mapping[str, Any] = field(default_factory=dict)
    prompt: Wave | None = None
    bpm: float | None = None
    beats_per_bar: int = 4
    start_beat: float = 0.0
    seed: int = 0


class Maker:
    """The model in a folder (None = the package's). Not thread-safe."""

    def __init__(self, folder: Path | None = None, sampling: SamplingParams | None = None) -> None:
        self.engine = sf.load("starter" if folder is None else folder)
        model = self.engine.model
        assert isinstance(model, LanguageModelRuntime)
        self.runtime = model
        self.codec = model.codec
        defaults = {k: v for k, v in model.parts.defaults.items() if k in SamplingParams.__dataclass_fields__}
        self.sampling = sampling or SamplingParams(**defaults)
        self.matched = True  # level and colour at the splice, as whoever keeps the prompt's own samples hears it

    def codes(self, waves: Sequence[Wave]) -> Tensor:
        """Samples of equal length to codes of the language model ``[B, K, n]``."""
        tensor = torch.from_numpy(np.stack(waves))[:, None]
        return self.codec.encode(tensor, n_codebooks=self.runtime.n_codebooks).codes

    def make(
        self, jobs: Sequence[Job], seconds: float, *, change_at: float | None = None, later: Sequence[Job] = ()
    ) -> tuple[list[Wave], Tensor]:
        """New audio of ``seconds`` for every job, and its codes ``[jobs, K, n]``; prompts must be equally long.

        Args:
            change_at: seconds of new audio after which the conditions (and tempo) of ``later`` hold instead.
        """
        waves: list[Wave] = []
        codes: list[Tensor] = []
        for begin in range(0, len(jobs), ROWS):
            part = slice(begin, begin + ROWS)
            made, new = self._batch(jobs[part], seconds, change_at, later[part])
            waves += made
            codes.append(new)
        return waves, torch.cat(codes)

    @torch.inference_mode()
    def _batch(
        self, jobs: Sequence[Job], seconds: float, change_at: float | None, later: Sequence[Job]
    ) -> tuple[list[Wave], Tensor]:
        books = self.runtime.n_codebooks
        if jobs[0].prompt is None:
            prompt = torch.zeros(len(jobs), books, 0, dtype=torch.long)
        else:
            prompt = self.codes([job.prompt for job in jobs if job.prompt is not None])
        known = prompt.shape[-1]
        total = known + whole_frames(seconds) // HOP
        conditions = self._prepare(jobs, prompt, total)
        streams = [UniformStream(job.seed, books) for job in jobs]
        window = Window(self.runtime.decoder, conditions, self.sampling, {}, prompt, total, streams)
        change = total if change_at is None else known + round(change_at * 50)
        while not window.done:
            if window.complete_frames >= change:
                window.update(conditions=self._prepare(later, prompt, total))
                change = total
            window.step()
        codes = window.codes(0, total)
        samples = self.codec.decode(codes).numpy()
        new = [self._heard(job.prompt, made, known * HOP) for job, made in zip(jobs, samples, strict=True)]
        return new, codes[:, :, known:]

    def _heard(self, prompt: Wave | None, made: Wave, splice: int) -> Wave:
        """Of what the codec made, ``[1, n]``, the new samples, as they are heard behind the prompt's own."""
        if prompt is None or not self.matched:
            return np.asarray(made[0, splice:])
        match = SpliceMatch.of(prompt[None], made[:, :splice], RATE)
        return np.asarray(match.applied(made[:, splice:], made[:, :splice])[0])

    def _prepare(self, jobs: Sequence[Job], codes: Tensor, total: int) -> PreparedConditions:
        known = codes.shape[-1]
        contexts = [
            ConditionContext(
                sample_rate=RATE, frame_rate_hz=50.0, n_frames=total, prompt_frames=known,
                prompt=None if job.prompt is None else Waveform(job.prompt, RATE),
                prompt_codes=codes[row] if known else None, bpm=job.bpm,
                beats_per_bar=job.beats_per_bar, seed=job.seed,
                start_beat=None if job.bpm is None else job.start_beat + known / 50.0 * job.bpm / 60.0,
            )
            for row, job in enumerate(jobs)
        ]  # fmt: skip
        return self.runtime.conditions.prepare([dict(job.conditions) for job in jobs], contexts, [{}] * len(jobs))
