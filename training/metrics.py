"""What evaluation measures: chroma, mean MFCC, tempo agreement, AUC, bootstrap intervals. No model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from soundforge.nn.chroma import ChromaExtractor
from soundforge.tempo import estimate_tempo
from training.losses import mel_matrix, spectrum

Floats = NDArray[np.float64]
RATE = 32_000


def mean_chroma(wave: NDArray[np.float32]) -> Floats:
    """Power-weighted pitch-class profile of mono samples, zero mean, unit length ``[12]``."""
    extractor = ChromaExtractor(RATE, 12, 1 << 13)
    chroma = extractor.normalised(torch.from_numpy(np.ascontiguousarray(wave))[None])[0].numpy().astype(np.float64)
    profile = chroma.mean(axis=0)
    profile = profile - profile.mean()
    return np.asarray(profile / (np.linalg.norm(profile) + 1e-9))


def mean_mfcc(wave: NDArray[np.float32], coefficients: int = 20) -> Floats:
    """Mean mel-cepstrum of mono samples without the level coefficient ``[coefficients]``."""
    mel = (
        (spectrum(torch.from_numpy(np.ascontiguousarray(wave))[None], 1024).abs() @ mel_matrix(1024, 64))
        .clamp_min(1e-5)
        .log10()[0]
    )
    level = mel.mean(-1)
    mel = mel[level > level.max() - 2.0]  # silent frames say nothing of the timbre
    n = torch.arange(64) + 0.5
    basis = torch.cos(torch.pi / 64 * n[:, None] * torch.arange(1, coefficients + 1)[None])
    return np.asarray((mel @ basis).mean(0).numpy().astype(np.float64))


def tempo_agrees(wave: NDArray[np.float32], bpm: float, tolerance: float = 0.03) -> bool:
    """Whether the tempo heard in ``wave`` is ``bpm``, its double or its half, within ``tolerance``."""
    heard = estimate_tempo(wave, RATE).bpm
    return any(abs(heard * octave / bpm - 1) <= tolerance for octave in (0.5, 1.0, 2.0))


def auc(true: Sequence[float] | Floats, false: Sequence[float] | Floats) -> float:
    """Probability that a true pair scores above a false one (ties count half)."""
    a, b = np.asarray(true)[:, None], np.asarray(false)[None]
    return float((a > b).mean() + 0.5 * (a == b).mean())


def similarity_auc(similarity: NDArray[np.float64]) -> float:
    """AUC of the diagonal (prompt i, continuation i) against everything off it (shuffled pairs)."""
    off = ~np.eye(len(similarity), dtype=bool)
    return auc(np.diag(similarity), similarity[off])


def bootstrap(
    values: int, statistic: Callable[[NDArray[np.int64]], float], rounds: int = 500, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of ``statistic(indices)`` over resampled items ``0 .. values - 1``."""
    rng = np.random.default_rng(seed)
    draws = [statistic(rng.integers(0, values, values)) for _ in range(rounds)]
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def level_db(wave: NDArray[np.float32]) -> float:
    """RMS level in dB re full scale."""
    return float(10 * np.log10(np.mean(np.asarray(wave, dtype=np.float64) ** 2) + 1e-12))
