"""One step with shapes and addresses that never change, for rows that each stand at a position of their own.

`LanguageModel.step` moves all rows of one state on together and looks at exactly what is filled. This one takes the
same weights through the same layers, but reads positions from a tensor and masks what a row has not filled yet, so that

    a CUDA graph can be captured once and replayed for every step (see `step_graphs.py`), and
    independent requests, each at its own place, are rows of one product that reads the weights once for all of them.

Results are those of `LanguageModel.step` up to the order in which sums are rounded. All memory is allocated when it is
built. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.language_model import LanguageModel
from soundforge.nn.positions import sinusoidal_positions

CROSS_BUCKET = 32
"""Room for cross-attended vectors is made in steps of this many."""


class StaticStep:
    """The buffers of R rows and the step over them.

    Args:
        lm: on any device; its weights are not copied.
        rows: R.
        capacity: S, positions that a row has room for, prefix included.

    The caller writes `codes [R, K, 1]`, `positions [R]` (where each row's next column goes) and, for models with summed
    conditions, `sum_at [R, 1, D]`, then calls it.
    """

    def __init__(self, lm: LanguageModel, rows: int, capacity: int) -> None:
        config, weight = lm.config, lm.out_norm.weight
        self.lm, self.rows, self.capacity = lm, rows, capacity
        self.device, self.dtype = weight.device, weight.dtype
        heads, width = config.n_heads, config.d_model // config.n_heads
        self.codes = torch.full((rows, config.n_codebooks, 1), config.special_token, device=self.device)
        self.positions = torch.zeros(rows, dtype=torch.long, device=self.device)
        self.sum_at = torch.zeros(rows, 1, config.d_model, dtype=self.dtype, device=self.device)
        self.logits = torch.zeros(rows, config.n_codebooks, config.card, device=self.device)
        self.keys_values = [torch.zeros(2, rows, heads, capacity, width, dtype=self.dtype, device=self.device)
                            for _ in range(config.n_layers)]
        self.cross: list[Tensor] = []
        self.cross_mask = torch.ones(rows, 1, 1, 0, dtype=torch.bool, device=self.device)
        self._row_numbers = torch.arange(rows, device=self.device)
        self._places = torch.arange(capacity, device=self.device)
        self._table = sinusoidal_positions(0, capacity, config.d_model, max_period=config.max_period,
                                           device=self.device).to(self.dtype)

    @torch.inference_mode()
    def __call__(self, rows: int, span: int) -> Tensor:
        """Run the first `rows` rows, of whose positions none is `span` or more; logits float32 `[rows, K, card]`.

        What it returns is a buffer that the next call writes again.
        """
        positions = self.positions[:rows]
        x = self.lm.emb(self.codes[:rows]) + self.sum_at[:rows] + self._table[positions][:, None]
        seen = (self._places[:span] <= positions[:, None])[:, None, None]
        cross_mask = self.cross_mask[:rows] if self.cross else None
        for index, layer in enumerate(self.lm.layers):
            x = x + self._attend(layer.self_attn, layer.norm1(x), index, positions, seen)  # type: ignore[operator]
            cross = self.cross[index][:, :rows] if self.cross else None
            x = layer._rest(x, cross, cross_mask)  # type: ignore[operator]
        self.logits[:rows] = self.lm.heads(self.lm.out_norm(x[:, -1]))
        return self.logits[:rows]

    def _attend(self, attention: Any, x: Tensor, index: int, positions: Tensor, seen: Tensor) -> Tensor:
        rows, span = x.shape[0], seen.shape[-1]
        projected = attention._project(x)  # [3, rows, H, 1, Dh]
        cache = self.keys_values[index][:, :rows]
        cache[:, self._row_numbers[:rows], :, positions] = projected[1:, :, :, 0].transpose(0, 1)
        out = F.scaled_dot_product_attention(projected[0], cache[0, :, :, :span], cache[1, :, :, :span], attn_mask=seen)
        return attention.out_proj(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    # --- rows come, move and go -----------------------------------------------------------------------------

    @torch.inference_mode()
    def load(self, state: DecodeState, rows: Sequence[int]) -> bool:
        """Take over what `state` has filled, its row i into row `rows[i]`.

        Returns:
            Whether buffers were replaced (more room for cross-attention), so that captured graphs are void.

        Raises:
            ValueError: a state of more positions than there is room for, or one in 8 bits.
        """
        filled = state.position
        if not state.keys_values:
            raise ValueError("a state in 8 bits came, expected keys and values in float; load the model without "
                             "quantize to share its steps")
        if filled > self.capacity:
            raise ValueError(f"a state with {filled} positions came, the shared step has room for {self.capacity}")
        chosen = list(rows)
        for cache, kept in zip(self.keys_values, state.keys_values, strict=True):
            cache[:, chosen, :, :filled] = kept[:, :, :, :filled].to(cache.dtype)
        return self.load_cross(state, chosen)

    @torch.inference_mode()
    def load_cross(self, state: DecodeState, rows: Sequence[int]) -> bool:
        """The cross-attended part of `load`: what a condition that changed replaces."""
        source, chosen = state.cross_keys_values, list(rows)
        if source is None and not self.cross:
            return False
        length = 0 if source is None else source[0].shape[3]
        grown = length > self.cross_mask.shape[-1] or not self.cross
        if grown:
            self._grow_cross(-(-max(length, 1) // CROSS_BUCKET) * CROSS_BUCKET)
        for index, cross in enumerate(self.cross):
            cross[:, chosen] = 0
            if source is not None:
                cross[:, chosen, :, :length] = source[index].to(cross.dtype)
        # A row that attends to nothing sees zeros only, which adds zero; softmax over no key at all would be NaN.
        self.cross_mask[chosen] = source is None
        if source is not None:
            self.cross_mask[chosen, ..., :length] = True if state.cross_mask is None else state.cross_mask
        return grown

    def _grow_cross(self, length: int) -> None:
        config, old = self.lm.config, self.cross
        shape = (2, self.rows, config.n_heads, length, config.d_model // config.n_heads)
        self.cross = [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(config.n_layers)]
        mask = torch.zeros(self.rows, 1, 1, length, dtype=torch.bool, device=self.device)
        if old:
            held = old[0].shape[3]
            for new, before in zip(self.cross, old, strict=True):
                new[:, :, :, :held] = before
            mask[..., :held] = self.cross_mask
        mask |= ~mask.any(dim=-1, keepdim=True)  # rows that have attended to nothing so far
        self.cross_mask = mask

    @torch.inference_mode()
    def move(self, source: int, target: int, filled: int) -> None:
        """Row `source`, of which `filled` positions count, becomes row `target`."""
        for cache in self.keys_values:
            cache[:, target, :, :filled] = cache[:, source, :, :filled]
        for cross in self.cross:
            cross[:, target] = cross[:, source]
        for buffer in (self.cross_mask, self.positions, self.sum_at, self.codes):
            buffer[target] = buffer[source]
