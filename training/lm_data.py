"""Batches for the language model: windows of tokenised pieces with randomly dropped conditions.

Windows start anywhere in a piece, so the bar line falls anywhere and a bar is rarely a whole number of frames: just
what a captured loop looks like. Every condition is left out often enough that the model works with none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundforge.nn.starter_codec import ResidualQuantiser
from soundforge.nn.starter_conditions import STYLE_FRAMES, style_features, transport_features
from soundforge.nn.starter_text import pad_tokens, tokenise
from training.captions import caption
from training.compose import compose
from training.frame_labels import FRAME_RATE_HZ


@dataclass(frozen=True, slots=True)
class LmBatch:
    """One batch; S = T + max delay columns.

    ``inputs`` int64 [B, K, S]; ``targets`` the same, -100 where there is nothing to predict; ``pieces`` text pieces
    [B, L, P] (all 0 = null); ``transport`` [B, S, W]; ``chroma`` [B, S, 12]; ``style`` [B, P, D] or None.
    """

    inputs: Tensor
    targets: Tensor
    pieces: Tensor
    transport: Tensor
    chroma: Tensor
    style: Tensor | None


def delayed(codes: Tensor, special: int) -> tuple[Tensor, Tensor]:
    """Codes [B, K, T] -> inputs and targets [B, K, T + K - 1]: codebook k is k steps late, column 0 all special."""
    batch, books, frames = codes.shape
    columns = torch.full((batch, books, frames + books), special, dtype=torch.long)
    for k in range(books):
        columns[:, k, 1 + k : 1 + k + frames] = codes[:, k]
    targets = columns[:, :, 1:].clone()
    targets[targets == special] = -100
    return columns[:, :, :-1], targets


class LmData:
    """All tokens in memory, and random windows of them."""

    def __init__(
        self,
        folder: Path,
        quantiser: ResidualQuantiser,
        frames: int,
        n_codebooks: int,
        seed: int,
        *,
        files: slice = slice(None),
    ) -> None:
        self.folder, self.files = folder, files
        self.quantiser, self.frames, self.n_codebooks = quantiser, frames, n_codebooks
        self.special = quantiser.codebooks.shape[1]
        self.rng = np.random.default_rng(seed)
        self.loaded = 0
        self.refresh()

    def refresh(self) -> None:
        """Reads the tokens that are there by now: training may begin while tokenising goes on."""
        folder, frames = self.folder, self.frames
        paths = sorted(folder.glob("tokens-????.npz"))[self.files]
        if self.loaded and len(paths) == self.loaded:
            return
        self.loaded = len(paths)
        if not paths:
            raise FileNotFoundError(f"no tokens in {folder}: run `python -m training.tokenise` first")
        loaded = [np.load(path) for path in paths]
        self.codes = np.concatenate([item["codes"] for item in loaded])
        self.chroma = np.concatenate([item["chroma"] for item in loaded])
        self.seeds = np.concatenate([item["seeds"] for item in loaded])
        self.bpm = np.concatenate([item["bpm"] for item in loaded])
        self.beats_per_bar = np.concatenate([item["beats_per_bar"] for item in loaded])
        self.pieces = [compose(int(seed)) for seed in self.seeds]
        # A loop that comes round twice in a window teaches to carry on; longer ones teach what may come next.
        seconds = np.array([p.loop_bars * p.beats_per_bar * 60.0 / p.bpm for p in self.pieces])
        share = np.where(seconds <= frames / FRAME_RATE_HZ / 2, 3.0, 1.0)
        self.shares = share / share.sum()

    def _text(self, row: int) -> list[list[int]]:
        return tokenise(caption(self.pieces[row], self.rng)) if self.rng.random() > 0.4 else []

    def batch(self, size: int, conditions: bool = True) -> LmBatch:
        """``size`` windows; ``conditions=False`` leaves every condition out."""
        rng = self.rng
        rows = rng.choice(len(self.codes), size=size, p=self.shares)
        starts = rng.integers(self.codes.shape[2] - self.frames + 1, size=size)
        codes = torch.from_numpy(
            np.stack(
                [self.codes[r, : self.n_codebooks, s : s + self.frames] for r, s in zip(rows, starts, strict=True)]
            ).astype(np.int64)
        )
        inputs, targets = delayed(codes, self.special)
        columns = inputs.shape[2]
        pieces = pad_tokens([self._text(int(r)) if conditions else [] for r in rows])

        # Tempo and phase as a listener may hear them: now and then an octave off, by half a beat, by some beats.
        octave = rng.choice([1.0, 2.0, 0.5], size=size, p=[0.9, 0.05, 0.05])
        bpm, per_bar = self.bpm[rows] * octave, self.beats_per_bar[rows].astype(np.float64)
        beats = (starts[:, None] + np.arange(columns)[None] + 0.5) / FRAME_RATE_HZ * bpm[:, None] / 60.0
        beats += per_bar[:, None] * rng.integers(0, 4, size)[:, None]  # a capture rarely starts on a phrase's first bar
        beats += (rng.integers(0, 4, size) * (rng.random(size) < 0.25))[:, None]
        beats += (0.5 * (rng.random(size) < 0.06) + rng.normal(0, 0.015, size))[:, None]
        steps = bpm / 60.0 / FRAME_RATE_HZ
        transport = transport_features(*(torch.from_numpy(v) for v in (beats, bpm, per_bar, steps)))
        known = torch.from_numpy(rng.random(size) > (0.2 if conditions else 1.0))
        transport = transport * known[:, None, None]

        chroma = np.zeros((size, columns, 12), dtype=np.float32)
        for i, (r, s) in enumerate(zip(rows, starts, strict=True)):
            if conditions and rng.random() > 0.6:
                part = np.asarray(self.chroma[r, s : s + columns] / 255, dtype=np.float32)
                chroma[i, : len(part)] = self._heard(part)
        style = self._style(rows) if conditions and rng.random() < 0.35 else None
        return LmBatch(inputs, targets, pieces, transport, torch.from_numpy(chroma), style)

    def _heard(self, chroma: NDArray[np.float32]) -> NDArray[np.float32]:
        """Labels as an analysis would give them: strongest class only, or all with noise."""
        if self.rng.random() < 0.3:
            return np.asarray((chroma >= chroma.max(axis=1, keepdims=True)) * (chroma > 0), dtype=np.float32)
        noisy = chroma + self.rng.normal(0, 0.08, chroma.shape) * (chroma.max(axis=1, keepdims=True) > 0)
        return np.asarray(np.clip(noisy, 0, 1), dtype=np.float32)

    def _style(self, rows: NDArray[np.int64]) -> Tensor:
        """Excerpts of the same pieces from anywhere in them; a fifth of the rows is null."""
        starts = self.rng.integers(self.codes.shape[2] - STYLE_FRAMES, size=len(rows))
        codes = np.stack([self.codes[r, :, s : s + STYLE_FRAMES] for r, s in zip(rows, starts, strict=True)])
        features = style_features(self.quantiser.decode(torch.from_numpy(codes.astype(np.int64))))
        return features * torch.from_numpy(self.rng.random(len(rows)) > 0.2)[:, None, None]
