"""State of a decoder between steps: preallocated keys and values, and how far they are filled.

Shapes: N layers, B rows, H heads, S positions allocated, L cross-attended vectors, Dh width of a head.

    keys_values        N x [2, B, H, S, Dh]  position s is written once, at step s; [0] keys, [1] values
    cross_keys_values  N x [2, B, H, L, Dh]  computed once from the cross-attended condition, or None
    cross_mask         [B, 1, 1, L] bool     True = attended to, or None when everything is
    position           int                   next position to be written = number of positions filled
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class DecodeState:
    """Everything a decoder remembers of one batch; passed in and out of each step.

    Not thread-safe; one state belongs to one generation. Clones share nothing that is written to.
    """

    keys_values: list[Tensor]
    position: int = 0
    cross_keys_values: list[Tensor] | None = None
    cross_mask: Tensor | None = None

    @classmethod
    def allocate(cls, n_layers: int, batch_size: int, n_heads: int, capacity: int, head_width: int, *,
                 dtype: torch.dtype, device: torch.device | str) -> DecodeState:
        """An empty state with room for `capacity` positions.

        Raises:
            ValueError: no room at all.
        """
        if capacity < 1 or batch_size < 1:
            raise ValueError(f"a state for {batch_size} rows and {capacity} positions was asked for, "
                             "expected at least 1 of each")
        # Zeros, not empty: a backend that reads past the filled part must never meet NaN (NaN * 0 is NaN).
        shape = (2, batch_size, n_heads, capacity, head_width)
        return cls([torch.zeros(shape, dtype=dtype, device=device) for _ in range(n_layers)])

    @property
    def batch_size(self) -> int:
        return self.keys_values[0].shape[1]

    @property
    def capacity(self) -> int:
        """Positions there is room for."""
        return self.keys_values[0].shape[3]

    @property
    def nbytes(self) -> int:
        """Bytes held, cross-attention included."""
        return sum(x.nbytes for x in self.keys_values) + sum(x.nbytes for x in self.cross_keys_values or ())

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
        # The cross-attended part is replaced, never written in place, so copies may share it.
        return DecodeState(copies, self.position, self.cross_keys_values, self.cross_mask)
