"""State of a decoder between steps: preallocated keys and values, and how far they are filled.

Shapes: N layers, B rows, H heads, S positions allocated, L cross-attended vectors, Dh width of a head.

    keys_values        N x [2, B, H, S, Dh]  position s is written once, at step s; [0] keys, [1] values
    narrow             N x NarrowCache       the same in 8 bits, instead (compiled kernels, quantised weights)
    cross_keys_values  N x [2, B, H, L, Dh]  computed once from the cross-attended condition, or None
    cross_mask         [B, 1, 1, L] bool     True = attended to, or None when everything is
    position           int                   next position to be written = number of positions filled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TILE = 16
"""Positions that the keys of an 8-bit cache keep together; head widths are rounded up to as many."""


@dataclass
class NarrowCache:
    """Keys and values of one layer in 8 bits, a scale for each vector; laid out as `kernels/attention.h` reads them.

    Args:
        keys: uint8 `[B, H, S / 16, Dh / 4, 16, 4]`, offset by 128; S and Dh rounded up to 16.
        values: int8 `[B, H, S, Dh]`.
        scales: float32 `[2, B, H, S]`, of the keys, of the values.
    """

    keys: Tensor
    values: Tensor
    scales: Tensor

    @classmethod
    def allocate(cls, batch_size: int, n_heads: int, capacity: int, head_width: int) -> NarrowCache:
        tiles, wide = -(-capacity // TILE), -(-head_width // TILE) * TILE
        return cls(torch.zeros(batch_size, n_heads, tiles, wide // 4, TILE, 4, dtype=torch.uint8),
                   torch.zeros(batch_size, n_heads, tiles * TILE, wide, dtype=torch.int8),
                   torch.zeros(2, batch_size, n_heads, tiles * TILE))

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes + self.scales.nbytes

    def clone(self, filled: int, capacity: int) -> NarrowCache:
        """A copy of the first `filled` positions with room for `capacity`."""
        batch, heads, _, quarters, _, _ = self.keys.shape
        new = NarrowCache.allocate(batch, heads, capacity, 4 * quarters)
        tiles = -(-filled // TILE)
        new.keys[:, :, :tiles] = self.keys[:, :, :tiles]
        new.values[:, :, :filled] = self.values[:, :, :filled]
        new.scales[:, :, :, :filled] = self.scales[:, :, :, :filled]
        return new


@dataclass
class DecodeState:
    """Everything a decoder remembers of one batch; passed in and out of each step.

    Not thread-safe; one state belongs to one generation. Clones share nothing that is written to.
    """

    keys_values: list[Tensor]
    position: int = 0
    cross_keys_values: list[Tensor] | None = None
    cross_mask: Tensor | None = None
    narrow: list[NarrowCache] = field(default_factory=list)
    narrow_capacity: int = 0
    addresses: Any = field(default=None, compare=False, repr=False)  # `compiled_step.Addresses` of it; a copy has none

    @classmethod
    def allocate(cls, n_layers: int, batch_size: int, n_heads: int, capacity: int, head_width: int, *,
                 dtype: torch.dtype, device: torch.device | str, narrow: bool = False) -> DecodeState:
        """An empty state with room for `capacity` positions, in 8 bits if `narrow` (on the CPU).

        Raises:
            ValueError: no room at all.
        """
        if capacity < 1 or batch_size < 1:
            raise ValueError(f"a state for {batch_size} rows and {capacity} positions was asked for, "
                             "expected at least 1 of each")
        if narrow:
            return cls([], narrow=[NarrowCache.allocate(batch_size, n_heads, capacity, head_width)
                                   for _ in range(n_layers)], narrow_capacity=capacity)
        # Zeros, not empty: a backend that reads past the filled part must never meet NaN (NaN * 0 is NaN).
        shape = (2, batch_size, n_heads, capacity, head_width)
        return cls([torch.zeros(shape, dtype=dtype, device=device) for _ in range(n_layers)])

    @property
    def batch_size(self) -> int:
        return self.narrow[0].values.shape[0] if self.narrow else self.keys_values[0].shape[1]

    @property
    def capacity(self) -> int:
        """Positions there is room for."""
        return self.narrow_capacity if self.narrow else self.keys_values[0].shape[3]

    @property
    def nbytes(self) -> int:
        """Bytes held, cross-attention included."""
        held: Sequence[Tensor | NarrowCache] = (*self.keys_values, *self.narrow, *(self.cross_keys_values or ()))
        return sum(part.nbytes for part in held)

    def reset(self) -> None:
        """Forget all positions; the memory and the cross-attended condition are kept."""
        self.position = 0

    def clone(self, capacity: int | None = None) -> DecodeState:
        """An independent copy with the same or another number of positions; only the filled part is copied.

        Raises:
            ValueError: fewer positions than are filled.
        """
        capacity = self.capacity if capacity is None else capacity
        if capacity < self.position:
            raise ValueError(f"a copy with room for {capacity} positions was asked for, but {self.position} are filled")
        copies = []
        for old in self.keys_values:
            new = old.new_zeros((*old.shape[:3], capacity, old.shape[4]))
            new[:, :, :, :self.position] = old[:, :, :, :self.position]
            copies.append(new)
        narrow = [old.clone(self.position, capacity) for old in self.narrow]
        # The cross-attended part is replaced, never written in place, so copies may share it.
        return DecodeState(copies, self.position, self.cross_keys_values, self.cross_mask, narrow,
                           capacity if narrow else 0)
