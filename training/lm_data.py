"""Batches for the language model: windows of tokenised pieces with randomly dropped conditions.

Windows start anywhere in a piece, so the bar line falls anywhere and a bar is rarely a whole number of frames: just
what a captured loop looks like. Every condition is left out often enough that the model works with none of them. Four
in ten windows change to another piece on the way, and with it all conditions: inside one piece what was heard
says nearly all that a text says, so only at such a change is following the conditions worth much.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundforge.nn.starter_codec import ResidualQuantiser
from soundforge.nn.starter_conditions import (
    CHROMA_WIDTH,
    STYLE_FRAMES,
    level_features,
    style_summary,
    transport_features,
)
from soundforge.nn.starter_text import pad_tokens, tokenise
from training.captions import describe
from training.compose import compose
from training.frame_labels import FRAME_RATE_HZ

NOTHING = 0.12
"""Share of the windows without any guided condition: the null row of guidance."""
CHANGING = 0.4
"""Share of the windows that change to another piece."""


@dataclass(frozen=True, slots=True)
class LmBatch:
    """One batch: B windows of S = T + max delay columns, in N >= B sections with conditions of their own.

    ``inputs`` int64 [B, K, S]; ``targets`` the same, -100 where there is nothing to predict; ``section`` int64 [B, S]
    says whose row of the next three holds: ``pieces`` text pieces [N, L, P] (all 0 = null), ``style`` [N, W], ``level``
    [N, 2]. ``transport`` [B, S, W]; ``chroma`` [B, S, 12].
    """

    inputs: Tensor
    targets: Tensor
    section: Tensor
    pieces: Tensor
    style: Tensor
    level: Tensor
    transport: Tensor
    chroma: Tensor


@dataclass(frozen=True, slots=True)
class Section:
    """Frames ``start .. start + length - 1`` of piece ``row``, at ``at`` in window ``window``."""

    window: int
    at: int
    row: int
    start: int
    length: int
    changing: bool


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
        self.quantiser, self.frames, self.n_codebooks = quantiser, frames, n_codebooks
        self.special = quantiser.codebooks.shape[1]
        self.rng = np.random.default_rng(seed)
        paths = sorted(folder.glob("tokens-????.npz"))[files]
        if not paths:
            raise FileNotFoundError(f"no tokens in {folder}: run `python -m training.tokenise` first")
        loaded = [np.load(path) for path in paths]
        self.codes = np.concatenate([item["codes"] for item in loaded])
        self.chroma = np.concatenate([item["chroma"] for item in loaded])
        self.heard = np.concatenate([item["heard_chroma"] for item in loaded])
        self.power = 10.0 ** (np.concatenate([item["level_db"] for item in loaded]).astype(np.float32) / 10.0)
        self.bpm = np.concatenate([item["bpm"] for item in loaded])
        self.beats_per_bar = np.concatenate([item["beats_per_bar"] for item in loaded])
        self.pieces = [compose(int(seed)) for item in loaded for seed in item["seeds"]]
        self.brightness = thirds(np.concatenate([item["centroid_hz"] for item in loaded]))
        self.energy = thirds(np.array([piece.onsets_per_second for piece in self.pieces]))
        # A loop that comes round twice in a window teaches to carry on; longer ones teach what may come next.
        seconds = np.array([p.loop_bars * p.beats_per_bar * 60.0 / p.bpm for p in self.pieces])
        share = np.where(seconds <= frames / FRAME_RATE_HZ / 2, 2.0, 1.0)
        # Drums alone and no drums at all are rare, and worth hearing about often.
        drums = np.array([piece.has_drums for piece in self.pieces])
        alone = np.array([all(track.role == "drums" for track in piece.tracks) for piece in self.pieces])
        share *= np.where(alone, 2.5, np.where(drums, 1.0, 2.0))
        self.shares = share / share.sum()

    def caption_pieces(self, row: int) -> list[list[int]]:
        """A random caption of piece ``row``, as word pieces."""
        return tokenise(describe(self.pieces[row], self.rng, self.brightness[row], self.energy[row])[0])

    def batch(self, size: int, conditions: bool = True) -> LmBatch:
        """``size`` windows; ``conditions=False`` leaves every condition out."""
        rng = self.rng
        sections = self._sections(size, conditions)
        codes = np.zeros((size, self.n_codebooks, self.frames), dtype=np.int64)
        columns = self.frames + self.n_codebooks - 1
        owner = np.zeros((size, columns), dtype=np.int64)
        chroma = np.zeros((size, columns, CHROMA_WIDTH), dtype=np.float32)
        n = len(sections)
        text: list[list[list[int]]] = [[] for _ in sections]
        style, level = torch.zeros(n, 2 * self.quantiser.codebooks.shape[-1]), torch.zeros(n, 2)
        rows: list[Tensor] = []
        for index, part in enumerate(sections):
            here = slice(part.at, part.at + part.length)
            codes[part.window, :, here] = self.codes[
                part.row, : self.n_codebooks, part.start : part.start + part.length
            ]
            # The last frame's later codebooks come in columns after it, under its own conditions.
            there = slice(part.at, columns if part.at + part.length == self.frames else part.at + part.length)
            owner[part.window, there] = index
            features = self._transport(part, there.stop - there.start)
            if not conditions:
                rows.append(torch.zeros_like(features))
                continue
            bare = not part.changing and rng.random() < NOTHING
            rows.append(features * float(rng.random() > 0.2 and not bare))
            if rng.random() < 0.75:
                level[index] = self._level(part.row)
            if bare:
                continue
            if rng.random() < (0.85 if part.changing else 0.6):
                text[index] = self.caption_pieces(part.row)
            if rng.random() < 0.35:
                chroma[part.window, there] = self._chroma(part, there.stop - there.start)
            if rng.random() < 0.5:
                style[index] = self.style(part.row)
        transport = torch.zeros(size, columns, rows[0].shape[-1])
        for part, features in zip(sections, rows, strict=True):
            transport[part.window, part.at : part.at + len(features)] = features
        inputs, targets = delayed(torch.from_numpy(codes), self.special)
        return LmBatch(
            inputs, targets, torch.from_numpy(owner), pad_tokens(text), style, level, transport,
            torch.from_numpy(chroma),
        )  # fmt: skip

    def _sections(self, size: int, conditions: bool) -> list[Section]:
        rng = self.rng
        out: list[Section] = []
        for window in range(size):
            row = int(rng.choice(len(self.codes), p=self.shares))
            start = int(rng.integers(self.codes.shape[2] - self.frames + 1))
            if not conditions or rng.random() >= CHANGING:
                out.append(Section(window, 0, row, start, self.frames, False))
                continue
            length = int(rng.integers(self.frames // 6, self.frames * 5 // 6))
            out.append(Section(window, 0, row, start, length, True))
            other = int(rng.choice(len(self.codes), p=self.shares))
            rest = self.frames - length
            out.append(Section(window, length, other, self._in_phase(row, start + length, other, rest), rest, True))
        return out

    def _in_phase(self, row: int, frame: int, other: int, rest: int) -> int:
        """A frame of piece ``other`` at the place in its bar that ``frame`` has in piece ``row``."""
        per_bar = float(self.beats_per_bar[row])
        phase = frame / FRAME_RATE_HZ * self.bpm[row] / 60.0 % per_bar / per_bar
        bar_frames = self.beats_per_bar[other] * 60.0 / self.bpm[other] * FRAME_RATE_HZ
        last = self.codes.shape[2] - rest
        bars = int(last / bar_frames)
        start = (int(self.rng.integers(max(1, bars))) + phase) * bar_frames
        return int(min(last, round(start)))

    def _transport(self, part: Section, columns: int) -> Tensor:
        """Tempo and phase as a listener may hear them: now and then an octave off, by half a beat, by some beats."""
        rng = self.rng
        bpm = float(self.bpm[part.row]) * float(rng.choice([1.0, 2.0, 0.5], p=[0.92, 0.04, 0.04]))
        per_bar = float(self.beats_per_bar[part.row])
        beats = (part.start + np.arange(columns) + 0.5) / FRAME_RATE_HZ * bpm / 60.0
        beats += per_bar * rng.integers(0, 4)  # a capture rarely starts on a phrase's first bar
        beats += rng.integers(0, 4) * float(rng.random() < 0.2)
        beats += 0.5 * float(rng.random() < 0.05) + rng.normal(0, 0.015)
        values = [torch.tensor([value], dtype=torch.float64) for value in (bpm, per_bar, bpm / 60.0 / FRAME_RATE_HZ)]
        return transport_features(torch.from_numpy(beats)[None], *values)[0]

    def _chroma(self, part: Section, columns: int) -> NDArray[np.float32]:
        """Pitch classes as an analysis gives them, or as composed: with noise, or the strongest alone."""
        draw = self.rng.random()
        if draw < 0.6:
            frames = np.minimum((part.start + np.arange(columns)) // 2, self.heard.shape[1] - 1)
            return np.asarray(self.heard[part.row, frames], dtype=np.float32) / np.float32(255)
        end = min(part.start + columns, self.chroma.shape[1])
        chroma = np.zeros((columns, CHROMA_WIDTH), dtype=np.float32)
        chroma[: end - part.start] = self.chroma[part.row, part.start : end] / np.float32(255)
        sounding = chroma.max(axis=1, keepdims=True) > 0
        if draw < 0.75:
            return np.asarray((chroma >= chroma.max(axis=1, keepdims=True)) * sounding, dtype=np.float32)
        if draw < 0.85:
            return np.asarray((chroma > 0.2) * sounding, dtype=np.float32)
        return np.asarray(np.clip(chroma + self.rng.normal(0, 0.08, chroma.shape) * sounding, 0, 1), dtype=np.float32)

    def _level(self, row: int, frames: int = 200) -> Tensor:
        """Of four seconds of the piece, and not quite right."""
        start = int(self.rng.integers(self.power.shape[1] - min(frames, self.power.shape[1]) + 1))
        level = 10 * np.log10(self.power[row, start : start + frames].mean() + 1e-10) + self.rng.normal(0, 0.5)
        return level_features(torch.tensor([level]))[0]

    def style(self, row: int) -> Tensor:
        """An excerpt of the same piece from anywhere in it."""
        length = min(STYLE_FRAMES, self.codes.shape[2])
        start = int(self.rng.integers(self.codes.shape[2] - length + 1))
        codes = torch.from_numpy(self.codes[row, :, start : start + length].astype(np.int64))[None]
        return style_summary(self.quantiser.decode(codes))[0]


def thirds(values: NDArray[np.floating]) -> list[int | None]:
    """0, 1 or 2 for the lowest values, those in the middle and the highest, None between: what words can tell apart."""
    edges = np.quantile(values, [0.27, 0.4, 0.6, 0.73])
    return [(0, None, 1, None, 2)[int(place)] for place in np.searchsorted(edges, values)]
