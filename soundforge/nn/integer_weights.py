"""Float matrices as small integers with scales, in the order in which a decode step reads them.

Layout of a matrix `[out, in]` (both rounded up: outputs to tiles of 16, inputs to groups of 32; what is added is 0):

    integers  uint8 `[tiles, groups, bytes]`   one group of inputs of 16 outputs: 512 bytes (8 bits), 256 (4 bits)
    scales    bfloat16 `[tiles, scales, 16]`   of one output each, for one or more groups of inputs

Within a group, 64 bytes hold four neighbouring inputs of each of the 16 outputs (byte `4 * output + input`); a weight
is its byte minus 128, times the scale. With 4 bits, 64 bytes hold eight inputs: the first four in the low halves of
the bytes, the others in the high ones; a weight is its half byte minus 8, times the scale.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 16
GROUP = 32
CHUNK_ROWS = 1024
"""Rows that are rounded at once, for the sake of memory."""


def tiles_of(n_out: int) -> int:
    return -(-n_out // TILE)


def groups_of(n_in: int) -> int:
    return -(-n_in // GROUP)


def scales_of(n_in: int, group: int | None) -> int:
    """Scales per output, for groups of `group` inputs (a multiple of 32); None = one for the whole row."""
    return 1 if group is None else -(-n_in // group)


def round_weights(weight: Tensor, bits: int, group: int | None) -> tuple[Tensor, Tensor]:
    """The best integers and scales for a matrix.

    With 4 bits, a few scales around the one that just holds the largest weight are tried in each group, with either
    sign (the range is -8 to 7), and the one with the least squared error is taken: a tenth less error than the plain
    rule.

    Args:
        weight: `[out, in]`.
        bits: 8 or 4.
        group: inputs per scale, or None.

    Returns:
        int8 `[out, in]` and bfloat16 `[out, scales]`.
    """
    n_out, n_in = weight.shape
    size = n_in if group is None else group
    n = scales_of(n_in, group)
    integers = torch.empty(n_out, n_in, dtype=torch.int8)
    scales = torch.empty(n_out, n, dtype=torch.bfloat16)
    for start in range(0, n_out, CHUNK_ROWS):
        rows = weight[start:start + CHUNK_ROWS].detach().cpu().float()
        grouped = F.pad(rows, (0, n * size - n_in)).view(-1, n, size)
        whole, scale = _round_groups(grouped, bits)
        integers[start:start + CHUNK_ROWS] = whole.view(-1, n * size)[:, :n_in]
        scales[start:start + CHUNK_ROWS] = scale
    return integers, scales


def _round_groups(grouped: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Weights `[rows, n, size]` to int8 of the same shape and bfloat16 `[rows, n]`."""
    least = 1e-12
    top = grouped.abs().amax(dim=-1)
    if bits == 8:
        scale = (top / 127).clamp(min=least).bfloat16()
        return (grouped / scale.float()[..., None]).round().clamp(-127, 127).to(torch.int8), scale
    high, low = grouped.amax(dim=-1), grouped.amin(dim=-1)
    towards = torch.where(high >= -low, -1.0, 1.0)  # the largest magnitude falls on -8
    best_error = torch.full_like(top, torch.inf)
    best_scale, best = torch.empty_like(top, dtype=torch.bfloat16), torch.empty_like(grouped, dtype=torch.int8)
    for steps in (7.0, 7.5, 8.0, 8.5, 9.0):
        scale = ((top / steps).clamp(min=least) * towards).bfloat16()
        exact = scale.float()[..., None]
        whole = (grouped / exact).round_().clamp_(-8, 7)
        error = (whole * exact).sub_(grouped).square_().sum(dim=-1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
        best = torch.where(better[..., None], whole.to(torch.int8), best)
    return best, best_scale


def pack(integers: Tensor, scales: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Integers `[out, in]` and scales `[out, scales]` to the layout above."""
    n_out, n_in = integers.shape
    tiles, groups = tiles_of(n_out), groups_of(n_in)
    padded = F.pad(integers, (0, groups * GROUP - n_in, 0, tiles * TILE - n_out))
    laid = padded.view(tiles, TILE, groups, GROUP // 4, 4).permute(0, 2, 3, 1, 4)
    if bits == 8:
        packed = laid.contiguous().view(torch.uint8) ^ 128
    else:
        halves = (laid + 8).to(torch.uint8).view(tiles, groups, GROUP // 8, 2, TILE, 4)
        packed = halves[:, :, :, 0] | (halves[:, :, :, 1] << 4)
    tiled = F.pad(scales, (0, 0, 0, tiles * TILE - n_out)).view(tiles, TILE, -1).transpose(1, 2)
    return packed.reshape(tiles, groups, -1), tiled.contiguous()


def unpack(packed: Tensor, scales: Tensor, bits: int, n_out: int, n_in: int) -> tuple[Tensor, Tensor]:
    """The counterpart of `pack`: int8 `[out, in]`, bfloat16 `[out, scales]`."""
    tiles, groups, _ = packed.shape
    if bits == 8:
        laid = (packed ^ 128).view(torch.int8).view(tiles, groups, GROUP // 4, TILE, 4)
    else:
        halves = packed.view(tiles, groups, GROUP // 8, TILE, 4)
        laid = (torch.stack([halves & 15, halves >> 4], dim=3).to(torch.int8) - 8).flatten(2, 3)
    integers = laid.permute(0, 3, 1, 2, 4).reshape(tiles * TILE, groups * GROUP)[:n_out, :n_in]
    return integers, scales.transpose(1, 2).reshape(tiles * TILE, -1)[:n_out]


def weights_of(integers: Tensor, scales: Tensor, group: int | None, dtype: torch.dtype) -> Tensor:
    """What integers `[out, in]` with scales `[out, scales]` for groups of `group` inputs stand for, `[out, in]`."""
    n_in = integers.shape[1]
    spread = scales.to(dtype).repeat_interleave(group or n_in, dim=1)[:, :n_in]
    return integers.to(dtype) * spread
