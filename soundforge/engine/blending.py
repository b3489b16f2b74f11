"""Features between those of two values: what a fader does that morphs one condition into another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from soundforge.blend import Blend
from soundforge.interfaces import Condition


@dataclass(frozen=True)
class PreparedBlend:
    """Two prepared values of one condition (None = null), how far it is from the first to the second, and the blend
    that they were prepared from."""

    a: Any
    b: Any
    amount: float
    source: Blend


def blend(first: Condition, second: Condition, amounts: Tensor, *, held: bool) -> Condition:
    """Row by row from `first` to `second`.

    Rows with amount 0 or 1 keep exactly their own features and mask. Between, values are mixed place by place, where a
    masked place counts as zero. Of two lengths the shorter is laid out again from its start (attended to, the words of
    a text stand in no order that would be broken by it), or its last feature is held (features per frame).

    Args:
        first, second: `[B, L, W]` with masks, rows in the same order.
        amounts: float `[B]`, 0 to 1.
        held: hold the last feature.
    """
    length = max(first.values.shape[1], second.values.shape[1])
    amounts = amounts.to(first.values.device)
    parts = [_laid_out(condition, length, amounts == own, held)
             for condition, own in ((first, 0.0), (second, 1.0))]
    (a, mask_a), (b, mask_b) = parts
    only_a, only_b = (amounts == 0.0)[:, None], (amounts == 1.0)[:, None]
    share = amounts[:, None, None].to(a.dtype)
    mixed = torch.where(mask_a[..., None], a, 0.0) * (1 - share) + torch.where(mask_b[..., None], b, 0.0) * share
    values = torch.where(only_a[..., None], a, torch.where(only_b[..., None], b, mixed))
    mask = torch.where(only_a, mask_a, torch.where(only_b, mask_b, mask_a | mask_b))
    return Condition(values, mask)


def _laid_out(condition: Condition, length: int, alone: Tensor, held: bool) -> tuple[Tensor, Tensor]:
    """Values and mask at `length`; rows that are `alone` are padded as a batch pads them."""
    have = condition.values.shape[1]
    if have == length:
        return condition.values, condition.mask
    if have == 0:
        shape = (condition.values.shape[0], length)
        return condition.values.new_zeros(*shape, condition.values.shape[2]), condition.mask.new_zeros(shape)
    places = torch.arange(length, device=condition.values.device)
    index = places.clamp(max=have - 1) if held else places % have
    values, mask = condition.values[:, index], condition.mask[:, index]
    if held:
        return values, mask
    padding = alone[:, None] & (places >= have)[None]
    return torch.where(padding[..., None], 0.0, values), mask & ~padding
