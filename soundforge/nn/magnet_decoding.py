"""MAGNeT's generation: codebook by codebook, each in a few steps that fill all masked frames at once and then mask
the least certain ones again, with guidance and temperature falling over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from soundforge.nn.magnet_spans import arrangement, masked_shares, n_masked

LOWEST_TEMPERATURE = 1e-2


@dataclass(frozen=True)
class MagnetParams:
    """How a generation runs; defaults are AudioCraft's.

    Args:
        decoding_steps: steps per codebook.
        temperature: of the first step of a codebook; it falls linearly towards 0 when `anneal_temperature`.
        greedy: take the most probable token; the temperature then only weighs the scores.
        top_p, top_k: limits of the choice; `top_p` takes precedence.
        cfg_max, cfg_min: weight of guidance at the start and the end of a codebook.
        span_arrangement: "nonoverlap" or "stride1".
        span_scoring: "max" or "prod", for spans that do not overlap.
    """

    decoding_steps: tuple[int, ...] = (20, 10, 10, 10)
    temperature: float = 3.0
    anneal_temperature: bool = True
    greedy: bool = False
    top_p: float = 0.9
    top_k: int = 0
    cfg_max: float = 10.0
    cfg_min: float = 1.0
    span_arrangement: str = "nonoverlap"
    span_scoring: str = "max"

    @property
    def guided(self) -> bool:
        """Whether the null branch has any weight."""
        return self.cfg_max != 1.0 or self.cfg_min != 1.0


Logits = Callable[[Tensor, int, Tensor], Tensor]
"""(codes `[B, K, T]`, stage, frames `[B, n]` that are looked at) to logits `[B, n, card]`, or `[2 B, n, card]`
(conditioned first) when guided."""


@torch.no_grad()
def generate(logits: Logits, prompt: Tensor, n_frames: int, params: MagnetParams, *, mask_token: int, span: int,
             seeds: Sequence[int], guided: bool, after_step: Callable[[], None] | None = None) -> Tensor:
    """Codes for a batch.

    Args:
        logits: the network; it doubles the batch itself when `guided`.
        prompt: int64 `[B, K, P]`, P may be 0; kept as it is.
        n_frames: T, prompt included. Spans that do not overlap leave off what does not fill a span, as in the
            reference.
        mask_token: the token of a masked place.
        span: frames per span.
        seeds: one per item; an item's draws do not depend on its neighbours.
        after_step: called before every evaluation (progress, cancel).

    Returns:
        int64 `[B, K, T']`, T' = T, or the multiple of `span` below it.
    """
    batch, n_codebooks, _ = prompt.shape
    if span > 1 and params.span_arrangement == "nonoverlap":
        n_frames -= n_frames % span
    codes = torch.full((batch, n_codebooks, n_frames), mask_token, dtype=torch.long, device=prompt.device)
    codes[..., : prompt.shape[-1]] = prompt
    generators = [torch.Generator().manual_seed(seed % 2**64) for seed in seeds]
    for stage in range(n_codebooks):
        _stage(logits, codes, stage, prompt.shape[-1], params, mask_token, span, generators, guided, after_step)
    return codes


def _stage(logits: Logits, codes: Tensor, stage: int, prompt_frames: int, params: MagnetParams, mask_token: int,
           span: int, generators: Sequence[torch.Generator], guided: bool,
           after_step: Callable[[], None] | None) -> None:
    """Fills codebook `stage` of `codes` in place."""
    batch, _, n_frames = codes.shape
    spans = arrangement(params.span_arrangement, n_frames, span, params.span_scoring)
    steps = params.decoding_steps[stage]
    scores = spans.first_scores(batch, prompt_frames).to(codes.device)
    row = codes[:, stage]
    for step, share in enumerate(masked_shares(steps)):
        if after_step is not None:
            after_step()
        chosen = spans.mask(scores, min(n_masked(share, spans.to_generate(prompt_frames)), spans.units))
        again = chosen.clone()
        again[:, :prompt_frames] = False
        row.masked_fill_(again, mask_token)
        open_places = row == mask_token  # in the first step also what the spans did not reach
        frames = _frames_of(chosen | open_places)
        found = logits(codes, stage, frames).float()
        if guided:
            conditioned, null = found.chunk(2)
            weight = share * params.cfg_max + (1 - share) * params.cfg_min
            found = null + (conditioned - null) * weight
        left = (steps - 1 - step) / steps if params.anneal_temperature else 1.0
        probabilities = torch.softmax(found / max(params.temperature * left, LOWEST_TEMPERATURE), dim=-1)
        if params.greedy:
            tokens = found.argmax(dim=-1)
        else:
            uniform = torch.stack([torch.rand(n_frames, generator=generator) for generator in generators])
            tokens = _draw(probabilities, params, uniform.to(frames.device).gather(1, frames))
        row.scatter_(1, frames, torch.where(open_places.gather(1, frames), tokens, row.gather(1, frames)))
        picked = torch.ones_like(scores.new_empty(batch, n_frames)).scatter_(
            1, frames, probabilities.gather(-1, tokens[..., None])[..., 0])
        scores = spans.score(picked, chosen if spans.units != n_frames else open_places)


def _frames_of(wanted: Tensor) -> Tensor:
    """Indices `[B, n]` of the frames that are set in `[B, T]`; where a row has fewer than n, other frames of it follow.

    What is fixed is neither predicted nor drawn: over a codebook that is a third of all frames.
    """
    most = int(wanted.sum(dim=1).max())
    return wanted.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]


def _draw(probabilities: Tensor, params: MagnetParams, uniform: Tensor) -> Tensor:
    """One token per frame from `[B, n, card]`, by one uniform number `[B, n]` each."""
    card = probabilities.shape[-1]
    if params.top_p > 0.0:
        kept = _most_probable(probabilities, params.top_p)
    elif 0 < params.top_k < card:
        smallest = probabilities.topk(params.top_k, dim=-1).values[..., -1:]
        kept = probabilities.masked_fill(probabilities < smallest, 0.0)
    else:
        kept = probabilities
    precise = torch.float32 if kept.device.type == "mps" else torch.float64
    cumulative = kept.cumsum(dim=-1, dtype=precise)
    threshold = uniform.to(cumulative)[..., None] * cumulative[..., -1:]
    # A uniform number below 1 times the total stays below it, and a ruled-out token has no width to be hit.
    return (cumulative <= threshold).sum(dim=-1).clamp_(max=card - 1)


def _most_probable(probabilities: Tensor, share: float) -> Tensor:
    """`[..., card]` with the tokens set to 0 before which, in falling order, more than `share` has been reached.

    Of equally probable tokens all are kept or none.
    """
    if probabilities.device.type == "cpu":
        # Only the values are needed, and numpy sorts those ten times as fast as torch sorts values with indices.
        rising = torch.from_numpy(np.sort(probabilities.numpy(), axis=-1))
    else:
        rising = probabilities.sort(dim=-1).values
    ordered = rising.flip(-1)
    n_kept = (ordered.cumsum(dim=-1) - ordered <= share).sum(dim=-1, keepdim=True)
    return probabilities.masked_fill(probabilities < ordered.gather(-1, n_kept - 1), 0.0)
