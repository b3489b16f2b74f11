"""Spectral losses of the codec, and the log-mel distance by which codecs are compared."""

from __future__ import annotations

from collections.abc import Callable, Collection
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


Magnitudes = dict[int, Tensor]
"""Of one signal by FFT size, as `_size` gives them."""


def _mel(a: Magnitudes, b: Magnitudes) -> Tensor:
    """The metric's own bands and sizes."""
    total = a[SIZES[0]].new_zeros(())
    for n_fft in SIZES:
        matrix = mel_matrix(n_fft, _BANDS[n_fft]).to(total.device)
        one, other = ((part[n_fft] @ matrix).clamp_min(FLOOR).log10() for part in (a, b))
        total = total + (one - other).abs().mean()
    return total / len(SIZES)


def _root(a: Magnitudes, b: Magnitudes) -> Tensor:
    """Bin by bin, root-compressed."""
    total = a[_ROOT_SIZES[0]].new_zeros(())
    for n_fft in _ROOT_SIZES:
        one, other = ((part[n_fft] + 1e-7).sqrt() for part in (a, b))
        total = total + (one - other).abs().mean() / (one.mean() + 1e-3)
    return total / len(_ROOT_SIZES)


def _fine(a: Magnitudes, b: Magnitudes) -> Tensor:
    """Bin by bin, logarithms: what tells a clean tone from one with noise around it."""
    total = a[_FINE_SIZES[0]].new_zeros(())
    for n_fft in _FINE_SIZES:
        one, other = ((part[n_fft] + _FINE_FLOOR).log10() for part in (a, b))
        total = total + (one - other).abs().mean()
    return total / len(_FINE_SIZES)


def _energy(a: Magnitudes, b: Magnitudes) -> Tensor:
    """Wide bands, the error of each weighted by how loud it is."""
    wide = mel_matrix(_ENERGY_SIZE, _ENERGY_BANDS).to(a[_ENERGY_SIZE].device)
    one, other = (0.5 * (part[_ENERGY_SIZE].square() @ wide + FLOOR**2).log10() for part in (a, b))
    loud = 10.0**one
    return (((one - other).abs() * loud).sum((1, 2)) / (loud.sum((1, 2)) + 0.01 * loud.shape[1])).mean()


def _pitch(a: Magnitudes, b: Magnitudes) -> Tensor:
    """Semitones, each frame relative to its own level."""
    pitches = _semitones(_PITCH_SIZE).to(a[_PITCH_SIZE].device)
    one, other = ((part[_PITCH_SIZE].square() @ pitches + 1e-8) ** 0.25 for part in (a, b))
    return ((one - other).abs().mean(-1) / (one.mean(-1) + 0.02)).mean()


_TERMS: dict[str, tuple[Callable[[Magnitudes, Magnitudes], Tensor], tuple[int, ...]]] = {
    "mel": (_mel, SIZES),
    "root": (_root, _ROOT_SIZES),
    "fine": (_fine, _FINE_SIZES),
    "pitch": (_pitch, (_PITCH_SIZE,)),
    "energy": (_energy, (_ENERGY_SIZE,)),
}


def codec_losses(truth: Tensor, made: Tensor, names: Collection[str] = tuple(_TERMS)) -> dict[str, Tensor]:
    """Training losses for samples ``[B, T]``, those of ``_TERMS`` that are among ``names``.

    The bins of the long windows are what tells one pitch from the next; a mel band hears its loudest bins only.
    ``pitch`` compares each frame relative to its own level, so that a harmony under drums counts as much as one alone.
    ``energy`` asks for the right level: all other terms are least when what is uncertain, or noisy, is too quiet. No
    term looks at the phase.
    """
    terms = {name: term for name, term in _TERMS.items() if name in names}
    sizes = {n_fft for _, needed in terms.values() for n_fft in needed}
    with torch.no_grad():
        a = {n_fft: _size(truth, n_fft) for n_fft in sizes}
    b = {n_fft: _size(made, n_fft) for n_fft in sizes}
    return {name: term(a, b) for name, (term, _) in terms.items()}
