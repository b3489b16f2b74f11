"""From logits to tokens, as AudioCraft draws them, with one random stream per request.

The order is AudioCraft's: temperature, then softmax, then top-p when it is set, else top-k when it is set.
Draws come from one uniform number per codebook and step, taken from the request's own generator on the CPU. So a
seed holds on every device, next to any other request, and for a longer clip (the same numbers, then more).
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundforge.requests import SamplingParams

BLOCK_STEPS = 64
"""Steps drawn at once; fixed, because the blocks decide which number belongs to which step."""


class UniformStream:
    """Uniform numbers in [0, 1), `[K]` per step, from a seed. Not thread-safe; one per item of a request."""

    def __init__(self, seed: int, n_codebooks: int) -> None:
        self._generator = torch.Generator().manual_seed(seed % 2**64)
        self._n_codebooks = n_codebooks
        self._block = torch.empty(0, n_codebooks)
        self._used = 0

    def next(self) -> Tensor:
        """Numbers for one step, float32 `[K]` on the CPU."""
        if self._used == self._block.shape[0]:
            self._block = torch.rand(BLOCK_STEPS, self._n_codebooks, generator=self._generator)
            self._used = 0
        self._used += 1
        return self._block[self._used - 1]

    def clone(self) -> UniformStream:
        """A stream that will give the same numbers from here on."""
        other = UniformStream(0, self._n_codebooks)
        other._generator.set_state(self._generator.get_state())
        other._block, other._used = self._block, self._used
        return other


def is_greedy(params: SamplingParams) -> bool:
    """True when chance plays no part: temperature 0, or only one token is kept."""
    return params.temperature <= 0.0 or (params.top_p <= 0.0 and params.top_k == 1)


def filtered_probabilities(logits: Tensor, params: SamplingParams) -> Tensor:
    """Probabilities that tokens are drawn from, not normalised.

    Args:
        logits: `[..., card]`; computed in float32.
        params: temperature above 0.

    Returns:
        float32 `[..., card]`, 0 where a token was ruled out.
    """
    # The largest logit is taken to 0 first: a tiny temperature would overflow it. The bound is above what float32
    # takes for 0, and below what any difference of logits needs.
    logits = logits.float()
    temperature = max(params.temperature, 1e-30)
    probabilities = torch.softmax((logits - logits.amax(dim=-1, keepdim=True)) / temperature, dim=-1)
    card = probabilities.shape[-1]
    if params.top_p > 0.0:
        ordered, indices = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        kept = ordered.masked_fill(before > params.top_p, 0.0)
        return torch.zeros_like(probabilities).scatter_(-1, indices, kept)
    if 0 < params.top_k < card:
        smallest = probabilities.topk(params.top_k, dim=-1, sorted=True).values[..., -1:]
        # ">=": all tokens that tie with the k-th are kept.
        return probabilities.masked_fill(probabilities < smallest, 0.0)
    return probabilities


def sample_tokens(logits: Tensor, params: SamplingParams, uniforms: Tensor | None) -> Tensor:
    """Draw one token per row.

    Args:
        logits: `[..., card]`.
        params: see `SamplingParams`.
        uniforms: `[...]` in [0, 1); may be None when `is_greedy(params)`.

    Returns:
        int64 `[...]`.
    """
    if is_greedy(params) or uniforms is None:
        return logits.argmax(dim=-1)
    probabilities = filtered_probabilities(logits, params)
    precise = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(dim=-1, dtype=precise)
    # A uniform of 24 bits times the total in float64 stays below the total, and a ruled-out token has no width,
    # so neither the end of the table nor such a token can be hit.
    threshold = uniforms.to(cumulative)[..., None] * cumulative[..., -1:]
    return (cumulative <= threshold).sum(dim=-1).clamp_(max=logits.shape[-1] - 1)
