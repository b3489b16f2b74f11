"""Features of the starter's other conditions: transport, chroma, style. Training and inference share this file.

The ``sum`` slots have one feature per frame; the feature of frame ``s`` is added where the network predicts frame ``s``
(and reads frame ``s - 1``). A null condition is all zeros, and none of the projections has a bias.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.nn.chroma import ChromaExtractor

# Cycles whose phase the network sees, in beats or in bars per cycle.
BEAT_HARMONICS = (1.0, 2.0, 4.0, 8.0)
BAR_HARMONICS = (1.0, 2.0, 0.5, 0.25)
TRANSPORT_WIDTH = 2 * 2 * (len(BEAT_HARMONICS) + len(BAR_HARMONICS)) + 2
CHROMA_WIDTH = 12
STYLE_FRAMES = 150  # 3 s at 50 Hz
STYLE_SHORTEST = 10
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
LEVEL_WIDTH = 2
QUIETEST_DB = -60.0
FAINT = 0.3


def transport_features(beats: Tensor, bpm: Tensor, beats_per_bar: Tensor, beats_per_frame: Tensor) -> Tensor:
    """Phases of every frame and of the one before it.

    Args:
        beats: ``[B, S]`` position in beats at the middle of each frame; 0 is a bar line.
        bpm: ``[B]``.
        beats_per_bar: ``[B]``.
        beats_per_frame: ``[B]``.

    Returns:
        ``[B, S, TRANSPORT_WIDTH]``: sines and cosines now, the same for the frame before, log tempo, and 1 for "known".
    """
    parts = []
    for position in (beats, beats - beats_per_frame[:, None]):
        bars = position / beats_per_bar[:, None]
        for cycle in [position * h for h in BEAT_HARMONICS] + [bars * h for h in BAR_HARMONICS]:
            parts += [torch.sin(2 * torch.pi * cycle), torch.cos(2 * torch.pi * cycle)]
    tempo = torch.log2(bpm / 120.0)[:, None].expand_as(beats)
    return torch.stack([*parts, tempo, torch.ones_like(beats)], dim=-1).float()


@lru_cache(maxsize=4)
def _extractor(sample_rate: int, window: int, hop: int) -> ChromaExtractor:
    return ChromaExtractor(sample_rate, CHROMA_WIDTH, window, hop)


def chroma_features(mono: Tensor, sample_rate: int, n_frames: int, frame_rate_hz: float) -> Tensor:
    """Samples ``[T]`` -> ``[n_frames, 12]``: strongest class at 1, silence all zeros; cut or repeated to length."""
    window = 8192
    hop = round(sample_rate / frame_rate_hz)
    quiet = mono.abs().max() < 1e-4 if mono.numel() else True
    if quiet:
        return torch.zeros(n_frames, CHROMA_WIDTH)
    chroma = _extractor(sample_rate, window, hop).normalised(mono[None])[0].clone()
    # Spread of the window's own leakage is no pitch: keep what stands out.
    chroma = ((chroma - 0.25) / 0.75).clamp_min(0.0)
    loud = F.avg_pool1d(mono[None, None] ** 2, hop, hop, ceil_mode=True)[0, 0]
    loud = F.pad(loud, (0, max(0, chroma.shape[0] - loud.shape[0])))[: chroma.shape[0]]
    chroma[loud < 1e-7] = 0.0
    repeats = -(-n_frames // chroma.shape[0])
    return chroma.repeat(repeats, 1)[:n_frames]


def style_summary(latent: Tensor) -> Tensor:
    """Quantised latents ``[B, T, D]`` -> their mean and standard deviation over time ``[B, 2 D]``."""
    deviation = latent.var(1, unbiased=False).clamp_min(1e-6).sqrt()
    return torch.cat([latent.mean(1), deviation], dim=-1)


def level_features(level_db: Tensor) -> Tensor:
    """Levels in dB re full scale (RMS) ``[N]`` -> ``[N, LEVEL_WIDTH]``: the level around -20 dB, and 1 for "known"."""
    level = (level_db.clamp(QUIETEST_DB, 0.0) + 20.0) / 8.0
    return torch.stack([level, torch.ones_like(level)], dim=-1).float()


def key_features(tonic: int, mode: str) -> Tensor:
    """Chroma ``[12]`` of a key: its tonic triad at 1, the rest of its scale fainter."""
    scale = SCALES[mode]
    chroma = torch.zeros(CHROMA_WIDTH)
    chroma[[(tonic + step) % 12 for step in scale]] = FAINT
    chroma[[(tonic + scale[degree]) % 12 for degree in (0, 2, 4)]] = 1.0
    return chroma
