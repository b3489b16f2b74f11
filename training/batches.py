"""Random crops of the rendered pieces for the codec, with silence, level changes and mixtures among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Int16 = NDArray[np.int16]


class CropSampler:
    """Draws batches ``[B, n_samples]`` float32 from shards ``[pieces, samples]`` int16."""

    def __init__(self, shards: Sequence[Int16], n_samples: int, seed: int) -> None:
        if not shards:
            raise FileNotFoundError("no rendered audio: run `python -m training.cache` first")
        self.shards = shards
        self.n_samples = n_samples
        self.rng = np.random.default_rng(seed)

    def _crop(self) -> NDArray[np.float32]:
        shard = self.shards[int(self.rng.integers(len(self.shards)))]
        row = int(self.rng.integers(shard.shape[0]))
        start = int(self.rng.integers(shard.shape[1] - self.n_samples))
        crop: NDArray[np.float32] = shard[row, start : start + self.n_samples].astype(np.float32) / np.float32(32768)
        return crop

    def batch(self, size: int) -> Tensor:
        """``size`` crops: 4 % silence, 5 % that begin or fall silent, 15 % mixtures; levels from -14 to +6 dB."""
        out = np.zeros((size, self.n_samples), dtype=np.float32)
        for row in range(size):
            draw = self.rng.random()
            if draw < 0.04:
                continue
            crop = self._crop()
            if draw < 0.19:
                crop = crop + self._crop() * np.float32(self.rng.uniform(0.3, 1.0))
            elif draw < 0.24:
                edge = int(self.rng.integers(self.n_samples))
                crop[slice(0, edge) if draw < 0.215 else slice(edge, None)] = 0.0
            gain = 10.0 ** (self.rng.uniform(-14.0, 6.0) / 20.0) * self.rng.choice([-1.0, 1.0])
            peak = float(np.abs(crop).max()) + 1e-9
            out[row] = crop * np.float32(np.sign(gain) * min(abs(gain), 0.99 / peak))
        return torch.from_numpy(out)
