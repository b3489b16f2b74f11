"""Which frames MAGNeT masks at a step: the schedule, and the two arrangements of spans.

The number of masked spans falls with a cosine. It stands on a knife's edge: at a third of a stage the cosine is
exactly one half in float32 and a hair less in float64, so it is computed in float32 as the reference does.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

FIXED_SCORE = -1e4
"""Score of what must not be masked again: lower than any score of a token."""


def masked_shares(steps: int) -> list[float]:
    """Share of the frames that is masked at each of `steps` steps, from 1 down (float32 values)."""
    return [float(torch.cos(t * math.pi * 0.5)) for t in torch.linspace(0, 1, steps)]


def n_masked(share: float, units: int) -> int:
    """How many of `units` are masked, at least one; the product is rounded to float32 before it is cut off."""
    return max(int((torch.tensor(share, dtype=torch.float32) * units).item()), 1)


class Arrangement(Protocol):
    """How spans lie on the frames. Scores `[B, units]`: the higher, the sooner masked."""

    units: int

    def first_scores(self, batch: int, prompt_frames: int) -> Tensor: ...

    def to_generate(self, prompt_frames: int) -> int: ...

    def mask(self, scores: Tensor, count: int) -> Tensor:
        """The frames `[B, T]` (bool) that are masked."""
        ...

    def score(self, probabilities: Tensor, was_masked: Tensor) -> Tensor:
        """Scores `[B, units]` from the probability `[B, T]` of each chosen token."""
        ...


class Separate:
    """Spans side by side ("nonoverlap"); a span is as good as its best token. Needs T to be a multiple of the span.

    Args:
        n_frames: T.
        span: frames per span.
        scoring: "max" (the best token) or "prod" (all of them).
    """

    def __init__(self, n_frames: int, span: int, scoring: str = "max") -> None:
        self.span = span
        self.units = n_frames // span
        self._scoring = scoring

    def first_scores(self, batch: int, prompt_frames: int) -> Tensor:
        scores = torch.zeros(batch, self.units)
        scores[:, : prompt_frames // self.span] = FIXED_SCORE
        return scores

    def to_generate(self, prompt_frames: int) -> int:
        return self.units - prompt_frames // self.span

    def mask(self, scores: Tensor, count: int) -> Tensor:
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(count, dim=-1).indices, True)
        return chosen.repeat_interleave(self.span, dim=-1)

    def score(self, probabilities: Tensor, was_masked: Tensor) -> Tensor:
        spans = probabilities.view(probabilities.shape[0], self.units, self.span)
        if self._scoring == "max":
            scores = 1 - spans.amax(dim=-1)
        else:
            scores = -spans.log().sum(dim=-1)
        # A span counts as masked when it was chosen, even if a prompt filled a part of it again.
        return scores.masked_fill(~was_masked.view(spans.shape)[..., -1], FIXED_SCORE)


class Single:
    """Every frame by itself (spans of length 1)."""

    def __init__(self, n_frames: int) -> None:
        self.units = n_frames

    def first_scores(self, batch: int, prompt_frames: int) -> Tensor:
        scores = torch.zeros(batch, self.units)
        scores[:, :prompt_frames] = FIXED_SCORE
        return scores

    def to_generate(self, prompt_frames: int) -> int:
        return self.units - prompt_frames

    def mask(self, scores: Tensor, count: int) -> Tensor:
        chosen = scores.topk(count, dim=-1).indices
        return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, chosen, True)

    def score(self, probabilities: Tensor, was_masked: Tensor) -> Tensor:
        return (-probabilities.log()).masked_fill(~was_masked, FIXED_SCORE)


class Overlapping(Single):
    """Spans that may begin at every frame ("stride1"): the least probable ones until enough frames are masked.

    Args:
        n_frames: T.
        span: frames per span.
    """

    def __init__(self, n_frames: int, span: int) -> None:
        super().__init__(n_frames)
        self.span = span

    def mask(self, scores: Tensor, count: int) -> Tensor:
        return torch.stack([self._mask_of(row, max(count, self.span)) for row in scores])

    def _mask_of(self, scores: Tensor, count: int) -> Tensor:
        """The mask `[T]` of the least probable spans, close to `count` frames in all; bisection over their number.

        It ends where the reference's does, which is not always the closest number.
        """
        order = scores.unfold(0, self.span, 1).sum(dim=-1).argsort(descending=True)
        low, high = count // self.span, count - self.span + 1
        middle = round(0.5 * (low + high))
        mask = self._spans(order[:middle])
        while low < middle < high:
            mask = self._spans(order[:middle])
            if int(mask.sum()) > count:
                high = middle
            else:
                low = middle
            middle = round(0.5 * (low + high))
        return mask

    def _spans(self, starts: Tensor) -> Tensor:
        mask = torch.zeros(self.units, dtype=torch.bool, device=starts.device)
        for offset in range(self.span):
            mask[starts + offset] = True
        return mask


def arrangement(name: str, n_frames: int, span: int, scoring: str = "max") -> Arrangement:
    """The arrangement called "nonoverlap" or "stride1"; raises ValueError for another name."""
    if name not in ("nonoverlap", "stride1"):
        raise ValueError(f"span_arrangement came as {name!r}, expected nonoverlap or stride1")
    if span <= 1:
        return Single(n_frames)
    return Separate(n_frames, span, scoring) if name == "nonoverlap" else Overlapping(n_frames, span)
