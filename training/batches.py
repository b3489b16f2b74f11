"""Random crops of the rendered pieces for the codec; silence, level changes, mixtures and held tones among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Int16 = NDArray[np.int16]
_RATE = 32_000


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

    def _held(self) -> NDArray[np.float32]:
        """One to four steady tones at any pitch from 40 Hz to 2.5 kHz, sines or with partials falling by some power.

        Composed music hardly ever holds a bare tone, and it is what shows every fault of a codec.
        """
        out = np.zeros(self.n_samples)
        seconds = np.arange(self.n_samples) / _RATE
        for _ in range(int(self.rng.integers(1, 5))):
            hz = 40.0 * 62.5 ** self.rng.random()
            partials = 1 if self.rng.random() < 0.35 else min(40, int(0.45 * _RATE / hz))
            fall = self.rng.uniform(0.8, 2.0)
            step = int(self.rng.choice([1, 1, 2]))  # 2: odd partials alone
            for k in range(1, partials + 1, step):
                out += np.sin(2 * np.pi * (hz * k * seconds + self.rng.random())) * k**-fall * 0.2
        return out.astype(np.float32)

    def batch(self, size: int) -> Tensor:
        """``size`` crops: 4 % silence, 5 % that begin or fall silent, 15 % mixtures, 14 % held tones; -14 to +6 dB."""
        out = np.zeros((size, self.n_samples), dtype=np.float32)
        for row in range(size):
            draw = self.rng.random()
            if draw < 0.04:
                continue
            crop = self._held() if draw >= 0.86 else self._crop()
            if draw < 0.19:
                crop = crop + self._crop() * np.float32(self.rng.uniform(0.3, 1.0))
            elif draw < 0.24:
                edge = int(self.rng.integers(self.n_samples))
                crop[slice(0, edge) if draw < 0.215 else slice(edge, None)] = 0.0
            gain = 10.0 ** (self.rng.uniform(-14.0, 6.0) / 20.0) * self.rng.choice([-1.0, 1.0])
            peak = float(np.abs(crop).max()) + 1e-9
            out[row] = crop * np.float32(np.sign(gain) * min(abs(gain), 0.99 / peak))
        return torch.from_numpy(out)
