"""Sinusoidal positions as the MusicGen family was trained with: `[cos, sin]`, cosines first.

Computed in float32 whatever the network's type: in half precision the exponents alone would be off by more than
the distance between neighbouring positions far into a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoidal_positions(start: int, count: int, width: int, *, max_period: float = 10_000.0,
                         device: torch.device | str | None = None) -> Tensor:
    """Embeddings of positions `start` to `start + count - 1`.

    The exponent of frequency i is `i / (width / 2 - 1)`, so the last frequency is exactly `1 / max_period`.

    Args:
        start: first position, 0 = first vector of the sequence (the first prefix vector where there is a prefix).
        count: number of positions.
        width: even, at least 4.

    Returns:
        float32 `[count, width]`.
    """
    if width < 4 or width % 2:
        raise ValueError(f"width came as {width}, expected an even number of at least 4")
    half = width // 2
    positions = torch.arange(start, start + count, device=device, dtype=torch.float32)[:, None]
    exponent = torch.arange(half, device=device, dtype=torch.float32) / (half - 1)
    phase = positions / torch.pow(torch.tensor(max_period, device=device, dtype=torch.float32), exponent)
    return torch.cat([phase.cos(), phase.sin()], dim=-1)
