"""Spectral losses of the codec, and the log-mel distance by which codecs are compared."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

SIZES: tuple[int, ...] = (256, 512, 1024, 2048)
_BANDS: dict[int, int] = {256: 32, 512: 48, 1024: 64, 2048: 80}
FLOOR = 1e-5


@lru_cache(maxsize=16)
def mel_matrix(n_fft: int, bands: int, sample_rate: int = 32_000) -> Tensor:
    """Triangular mel filters ``[n_fft // 2 + 1, bands]``, each summing to one, so that levels compare across sizes."""

    def to_mel(hz: Tensor) -> Tensor:
        return 2595.0 * torch.log10(1.0 + hz / 700.0)

    edges = torch.linspace(float(to_mel(torch.tensor(30.0))), float(to_mel(torch.tensor(sample_rate / 2.0))), bands + 2)
    hz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rise = (bins[:, None] - hz[None, :-2]) / (hz[1:-1] - hz[:-2])
    fall = (hz[None, 2:] - bins[:, None]) / (hz[2:] - hz[1:-1])
    matrix = torch.minimum(rise, fall).clamp_min(0.0)
    # Narrow low bands may fall between two bins: give those their nearest bin.
    empty = matrix.sum(0) < 1e-6
    nearest = (bins[:, None] - hz[1:-1][None]).abs().argmin(0)
    matrix[nearest[empty], empty.nonzero().flatten()] = 1.0
    return matrix / matrix.sum(0, keepdim=True)


def spectrum(samples: Tensor, n_fft: int) -> Tensor:
    """Complex STFT ``[B, frames, bins]`` scaled so that a full-scale sine has magnitude about one half."""
    window = torch.hann_window(n_fft, device=samples.device)
    stft = torch.stft(samples, n_fft, n_fft // 4, window=window, center=True, pad_mode="constant", return_complex=True)
    return stft.transpose(1, 2) / (n_fft / 2)


def log_mel_distance(truth: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of log10 mel magnitudes over STFT sizes 256 to 2048, for samples ``[B, T]``."""
    total = truth.new_zeros(())
    for n_fft in SIZES:
        matrix = mel_matrix(n_fft, _BANDS[n_fft]).to(truth.device)
        a = (spectrum(truth, n_fft).abs() @ matrix).clamp_min(FLOOR).log10()
        b = (spectrum(other, n_fft).abs() @ matrix).clamp_min(FLOOR).log10()
        total = total + (a - b).abs().mean()
    return total / len(SIZES)


_ROOT_SIZES: tuple[int, ...] = (512, 2048, 8192)
_FINE_SIZES: tuple[int, ...] = (2048, 8192)
_FINE_FLOOR = 1e-4


_PITCH_SIZE = 8192
_ENERGY_SIZE, _ENERGY_BANDS = 2048, 12


@lru_cache(maxsize=2)
def _semitones(n_fft: int, sample_rate: int = 32_000) -> Tensor:
    """Weights ``[bins, 84]`` of power: about each pitch from C1 to B7 a triangle as wide as pitches, or bins, lie."""
    hz = 440.0 * 2.0 ** ((torch.arange(24, 108) - 69) / 12)
    apart = (hz * (2.0 ** (1 / 12) - 1)).clamp_min(sample_rate / n_fft)
    off = (torch.arange(n_fft // 2 + 1)[:, None] * (sample_rate / n_fft) - hz[None]).abs()
    weights: Tensor = (1.0 - off / apart).clamp_min(0.0)
    return weights


def _size(samples: Tensor, n_fft: int) -> Tensor:
    """Magnitudes ``[B, frames, bins]`` at half-overlapping windows, cheaper than the metric's."""
    window = torch.hann_window(n_fft, device=samples.device)
    stft = torch.stft(samples, n_fft, n_fft // 2, window=window, center=True, pad_mode="constant", return_complex=True)
    parts = torch.view_as_real(stft)
    return torch.sqrt((parts * parts).sum(-1) + 1e-9).transpose(1, 2) / (n_fft / 2)


def codec_losses(truth: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Training losses for samples ``[B, T]``: log-mel at all sizes, and bin by bin root-compressed and log magnitudes.

    The bins of the long windows are what tells one pitch from the next, and their logarithm what tells a clean tone
    from one with noise around it: a mel band hears its loudest bins only. ``pitch`` compares semitones, each frame
    relative to its own level, so that a harmony under drums counts as much as one alone. ``energy`` is the error of
    wide bands, each weighted by how loud it is: all other terms are least when what is uncertain, or noisy, is too
    quiet. No term looks at the phase.
    """
    mel = truth.new_zeros(())
    root = truth.new_zeros(())
    fine = truth.new_zeros(())
    pitch = truth.new_zeros(())
    energy = truth.new_zeros(())
    for n_fft in (*SIZES, 8192):
        with torch.no_grad():
            a = _size(truth, n_fft)
        b = _size(made, n_fft)
        if n_fft in SIZES:
            matrix = mel_matrix(n_fft, _BANDS[n_fft]).to(truth.device)
            mel = mel + ((a @ matrix).clamp_min(FLOOR).log10() - (b @ matrix).clamp_min(FLOOR).log10()).abs().mean()
        if n_fft in _ROOT_SIZES:
            root_a = (a + 1e-7).sqrt()
            root = root + (root_a - (b + 1e-7).sqrt()).abs().mean() / (root_a.mean() + 1e-3)
        if n_fft in _FINE_SIZES:
            fine = fine + ((a + _FINE_FLOOR).log10() - (b + _FINE_FLOOR).log10()).abs().mean()
        if n_fft == _ENERGY_SIZE:
            wide = mel_matrix(n_fft, _ENERGY_BANDS).to(truth.device)
            powers = (part.square() @ wide for part in (a, b))
            one, other = (0.5 * (power + FLOOR**2).log10() for power in powers)
            loud = 10.0**one
            energy = ((one - other).abs() * loud).sum((1, 2)) / (loud.sum((1, 2)) + 0.01 * loud.shape[1])
            energy = energy.mean()
        if n_fft == _PITCH_SIZE:
            pitches = _semitones(n_fft).to(truth.device)
            one, other = ((part.square() @ pitches + 1e-8) ** 0.25 for part in (a, b))
            pitch = ((one - other).abs().mean(-1) / (one.mean(-1) + 0.02)).mean()
    means = {"mel": mel / len(SIZES), "root": root / len(_ROOT_SIZES), "fine": fine / len(_FINE_SIZES)}
    return means | {"pitch": pitch, "energy": energy}
