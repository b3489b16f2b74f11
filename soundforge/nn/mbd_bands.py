"""Splitting a waveform into frequency bands, and what MultiBandDiffusion does with them.

Windowed-sinc low-pass filters with cut-offs evenly spaced in mel; a band is the difference of two neighbouring
low-passes, the last one what is left, so that the bands add up to the signal. Edges are continued by their first
and last sample. Filtering runs in blocks, so beside the signal it keeps its spectrum and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_ZERO_CROSSINGS = 8
_BLOCK_FILTERS = 8  # a block of the fast convolution is about this many filter lengths, where it is cheapest
_SHORT = 32  # half lengths up to this are convolved directly


def mel_cutoffs(sample_rate: float, n_bands: int) -> list[float]:
    """The n_bands - 1 inner edges in Hz of bands evenly spaced in mel between 0 and half the sample rate."""
    # In float32, as the filters of the published files were made.
    top = 2595 * torch.log10(1 + torch.tensor(sample_rate / 2) / 700)
    mels = torch.linspace(0.0, top.item(), n_bands + 1)
    hz: list[float] = (700 * (10 ** (mels / 2595) - 1)).tolist()
    return hz[1:-1]


def lowpass_filters(sample_rate: float, cutoffs_hz: Sequence[float]) -> Tensor:
    """Filters `[n, 2 * half + 1]`, all as long as the one with the lowest cut-off, each with sum 1."""
    relative = [cutoff / sample_rate for cutoff in cutoffs_hz]
    half = int(_ZERO_CROSSINGS / min(relative) / 2)
    window = torch.hann_window(2 * half + 1, periodic=False)
    time = torch.arange(-half, half + 1)
    filters = []
    for cutoff in relative:
        phase = 2 * cutoff * math.pi * time
        sinc = torch.where(phase == 0, torch.ones_like(phase), torch.sin(phase) / phase)
        taps = 2 * cutoff * window * sinc
        filters.append(taps / taps.sum())
    return torch.stack(filters)


class BandSplitter:
    """Splits waveforms `[..., n]` into bands.

    Args:
        sample_rate: Hz.
        n_bands: number of bands, at least 1.
        filters: `[n_bands - 1, length]` in place of the computed ones (published files carry them).

    Raises:
        ValueError: no band, or filters of another number or of even length.
    """

    def __init__(self, sample_rate: float, n_bands: int, filters: Tensor | None = None) -> None:
        if n_bands < 1:
            raise ValueError(f"{n_bands} bands were asked for, expected at least 1")
        if filters is None and n_bands > 1:
            filters = lowpass_filters(sample_rate, mel_cutoffs(sample_rate, n_bands))
        if n_bands > 1 and (filters is None or filters.shape[0] != n_bands - 1 or filters.shape[1] % 2 == 0):
            found = None if filters is None else list(filters.shape)
            raise ValueError(f"the band filters have shape {found}, expected [{n_bands - 1}, an odd length]")
        self.n_bands = n_bands
        self.filters = filters

    def bands(self, wave: Tensor) -> Iterator[Tensor]:
        """The bands one after the other, lowest first, each of the shape of `wave`."""
        if self.filters is None:
            yield wave
            return
        below = torch.zeros_like(wave)
        filters = self.filters.to(wave.device, wave.dtype)
        through = _filtering(wave, filters.shape[1])
        for taps in filters:
            low = through(taps)
            yield low - below
            below = low
        yield wave - below


def _filtering(wave: Tensor, length: int) -> Callable[[Tensor], Tensor]:
    """What gives `wave` `[..., n]` through any symmetric filter of this length; its spectra are taken once for all."""
    half = length // 2
    rows = wave.reshape(-1, 1, wave.shape[-1])
    padded = F.pad(rows, (half, half), mode="replicate")
    if half <= _SHORT:
        return lambda taps: F.conv1d(padded, taps[None, None]).view(wave.shape)
    # Powers of two, because transforms of other lengths take up to three times as long.
    block = 1 << (min(_BLOCK_FILTERS * length, padded.shape[-1]) - 1).bit_length()
    advance = block - length + 1
    spectra = [torch.fft.rfft(padded[..., start : start + block], block) for start in range(0, wave.shape[-1], advance)]

    def through(taps: Tensor) -> Tensor:
        response = torch.fft.rfft(taps, block).conj()
        # The last taps - 1 samples of a circular convolution are wrapped around and not taken.
        pieces = [torch.fft.irfft(spectrum * response, block)[..., :advance] for spectrum in spectra]
        return torch.cat(pieces, dim=-1)[..., : wave.shape[-1]].view(wave.shape)

    return through


@dataclass(frozen=True)
class BandRescale:
    """Undoes the scaling per band under which a diffusion model was trained.

    Args:
        splitter: its bands.
        gain: `[n_bands]`, factor per band.
        offset: `[n_bands]`, mean per band, added after it.
    """

    splitter: BandSplitter
    gain: Tensor
    offset: Tensor

    def __call__(self, wave: Tensor) -> Tensor:
        """`[B, C, n]` in the diffusion's scale to `[B, C, n]` in the waveform's."""
        out = torch.zeros_like(wave)
        gains, offsets = self.gain.to(wave), self.offset.to(wave)
        for index, band in enumerate(self.splitter.bands(wave)):
            out += band * gains[index] + offsets[index]
        return out


def match_bands(wave: Tensor, reference: Tensor, splitter: BandSplitter, *, strictness: float = 1.0,
                each: bool = False) -> Tensor:
    """`wave` with the standard deviation of every band brought to that of `reference`.

    Args:
        wave: `[B, C, n]`.
        reference: `[B, C, n]`.
        splitter: the bands of the equaliser.
        strictness: 0 leaves it as it is, 1 matches fully.
        each: measure every item by itself; else the batch as a whole, as the reference implementation does.
    """
    out = torch.zeros_like(reference)
    for have, want in zip(splitter.bands(wave), splitter.bands(reference), strict=True):
        out += have * _ratio(want, have, each) ** strictness
    return out


def _ratio(want: Tensor, have: Tensor, each: bool) -> Tensor:
    if each:
        above, below = want.std(dim=(1, 2), keepdim=True), have.std(dim=(1, 2), keepdim=True)
    else:
        above, below = want.std(), have.std()
    # A band with nothing in it cannot be raised to anything.
    return torch.where(below > 0, above / below, torch.zeros_like(below))
