"""Both ends of the starter codec without weights: levels from samples, and samples from levels.

``LevelAnalysis`` looks back from the end of each frame through windows of several lengths; ``HarmonicNoiseSynth``
drives fixed oscillators and bands of fixed noise. Neither looks ahead, and both stream exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 160  # samples between two settings of the synthesiser (200 Hz)
STRIDE = 4  # blocks per frame
_NOISE_BLOCKS = 512  # the noise repeats after 2.56 s
_SHORT = 320
# Window lengths and the frequencies that each is read at: bass needs length, treble needs to be quick.
_LONG = ((1024, 500.0, 7000.0), (4096, 180.0, 2000.0), (8192, 30.0, 500.0))
_FLOOR = 1e-4


def oscillator_grid(sample_rate: int) -> Tensor:
    """Frequencies in Hz, float64: 36 per octave from 30 Hz, 60 per octave from 500 Hz to 7 kHz, tuned to A = 440 Hz."""
    low = [440.0 * 2.0 ** (k / 36) for k in range(-36 * 5, 36) if 30.0 <= 440.0 * 2.0 ** (k / 36) < 500.0]
    high = [
        440.0 * 2.0 ** (k / 60) for k in range(300) if 500.0 <= 440.0 * 2.0 ** (k / 60) < min(7000.0, sample_rate / 2.5)
    ]
    return torch.tensor(low + high, dtype=torch.float64)


def _triangles(centres: Tensor, bins: Tensor) -> Tensor:
    """Weights ``[len(bins), len(centres)]`` of triangles between neighbouring ``centres``, at least one bin each."""
    edges = torch.cat([centres[:1] * 2 - centres[1:2], centres, centres[-1:] * 2 - centres[-2:-1]])
    rise = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp_min(0.0)


class LevelAnalysis(nn.Module):
    """Samples to log levels per frame: 4 short spectra in mel bands, three long ones on the pitch grid."""

    short_window: Tensor
    short_bands: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        # Windows fall within 40 samples at their end: the newest samples must be seen, there is no later look at them.
        self.register_buffer("short_window", _late_window(_SHORT), persistent=False)
        mel = torch.linspace(0, 2595 * math.log10(1 + sample_rate / 2 / 700), 50)[1:-1]
        bins = torch.linspace(0, sample_rate / 2, _SHORT // 2 + 1)
        bands = _triangles(700 * (10 ** (mel / 2595) - 1), bins)
        empty = bands.sum(0) < 1e-6
        nearest = (bins[:, None] - (700 * (10 ** (mel / 2595) - 1))[None]).abs().argmin(0)
        bands[nearest[empty], empty.nonzero().flatten()] = 1.0
        self.register_buffer("short_bands", bands / bands.sum(0), persistent=False)
        self.long_bands: list[str] = []
        grid = oscillator_grid(sample_rate).float()
        width = STRIDE * bands.shape[1]
        self.first_read: dict[int, int] = {}
        for size, lowest, highest in _LONG:
            bins = torch.linspace(0, sample_rate / 2, size // 2 + 1)
            near = grid[(grid >= lowest) & (grid < highest)]
            self.first_read[size] = int((grid < lowest).sum())
            # Linear interpolation between the two nearest bins.
            position = near / (sample_rate / size)
            left = position.floor().long()
            matrix = torch.zeros(len(bins), len(near))
            matrix[left, torch.arange(len(near))] = 1 - (position - left)
            matrix[left + 1, torch.arange(len(near))] = position - left
            self.register_buffer(f"window_{size}", _late_window(size), persistent=False)
            top = int(left.max()) + 2  # no bin above is read
            self.register_buffer(f"bands_{size}", matrix[:top].contiguous(), persistent=False)
            width += len(near)
        self.width = width
        self.mel_width = bands.shape[1]
        self.grid = len(grid)

    def forward(self, samples: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Samples [B, n * 640] -> levels [B, n, width] and the samples that later frames still need."""
        hop = BLOCK * STRIDE
        reach = max(size for size, _, _ in _LONG) - BLOCK
        with torch.no_grad():
            if past is None:
                past = samples.new_zeros(samples.shape[0], reach)
            padded = torch.cat([past, samples], dim=1)
            n = samples.shape[1] // hop
            short = padded[:, reach - (_SHORT - BLOCK) :].unfold(1, _SHORT, BLOCK)
            parts = [
                (_magnitude(short * self.short_window, _SHORT) @ self.short_bands).reshape(samples.shape[0], n, -1)
            ]
            for size, _, _ in _LONG:
                frames = padded[:, reach + hop - size :].unfold(1, size, hop)
                window, bands = getattr(self, f"window_{size}"), getattr(self, f"bands_{size}")
                parts.append(_magnitude(frames * window, bands.shape[0]) @ bands)
            levels = (torch.cat(parts, dim=-1) + _FLOOR).log10() * 0.6 + 1.2
        return levels, padded[:, padded.shape[1] - reach :]

    def on_grid(self, levels: Tensor) -> Tensor:
        """The long spectra in levels [B, n, width] laid on the oscillators' grid: [B, n, 3, K], -1 where unread."""
        start = STRIDE * self.mel_width
        rows = []
        for size, _, _ in _LONG:
            count: int = getattr(self, f"bands_{size}").shape[1]
            first: int = self.first_read[size]
            part = levels[..., start : start + count]
            rows.append(F.pad(part, (first, self.grid - first - count), value=-1.0))
            start += count
        return torch.stack(rows, dim=-2)

    def by_block(self, levels: Tensor) -> Tensor:
        """The short spectra's part of levels [B, n, width]: [B, 4 n, mel bands]."""
        short = levels[..., : STRIDE * self.mel_width]
        return short.reshape(short.shape[0], -1, self.mel_width)


def _late_window(size: int) -> Tensor:
    rise = torch.sin(torch.linspace(0, math.pi / 2, size - 40)) ** 2
    window = torch.cat([rise, torch.cos(torch.linspace(0, math.pi / 2, 40)) ** 2])
    return window * (2.0 / window.sum())  # a full-scale sine has level 1


def _magnitude(frames: Tensor, bins: int) -> Tensor:
    """The first ``bins`` magnitudes of the spectra; cheaper than ``abs`` of complex numbers."""
    parts = torch.view_as_real(torch.fft.rfft(frames)[..., :bins])
    return (parts * parts).sum(-1).sqrt()


def control_for(level: Tensor) -> Tensor:
    """The control whose amplitude is that of an analysis level, far from full scale (the inverse of `_level`)."""
    return 1.28 * level - 1.3


def _level(control: Tensor) -> Tensor:
    """Control to amplitude: 0 to 0.5, steep near silence."""
    return 0.5 * torch.sigmoid(control) ** 3.0


def _even_noise(phases: NDArray[np.float64], window: Tensor, rounds: int = 30) -> Tensor:
    """Spectra ``[blocks, BLOCK + 1]`` of overlapping windowed blocks of a noise that is equally loud everywhere.

    Plain noise comes and goes by 5 dB in every band from one block to the next, on top of the level asked for. Here
    the magnitudes are set to one and the blocks joined, again and again (Griffin and Lim 1984); the noise is a ring.
    """
    spectra = torch.polar(torch.ones(phases.shape), torch.from_numpy(2 * math.pi * phases).float())
    for _ in range(rounds):
        blocks = torch.fft.irfft(spectra, n=2 * BLOCK) * window
        joined = blocks[:, :BLOCK] + blocks.roll(1, 0)[:, BLOCK:]
        spectra = torch.fft.rfft(torch.cat([joined, joined.roll(-1, 0)], dim=1) * window)
        spectra = spectra / spectra.abs().clamp_min(1e-9)
    # A windowed block of white noise of variance one has this mean power.
    return spectra * window.square().sum().sqrt()


class HarmonicNoiseSynth(nn.Module):
    """Levels of oscillators and of noise bands, once per block, to samples."""

    rates: Tensor
    phases: Tensor
    rising: Tensor
    noise: Tensor
    noise_bands: Tensor
    overlap: Tensor

    def __init__(self, sample_rate: int, bands: int = 48) -> None:
        super().__init__()
        grid = oscillator_grid(sample_rate)
        self.oscillators, self.bands = len(grid), bands
        self.width = self.oscillators + bands
        random = np.random.RandomState(7)  # its stream is fixed for all numpy versions
        cycles = grid / sample_rate
        self.register_buffer("rates", cycles * BLOCK, persistent=False)  # cycles per block, float64
        self.register_buffer("phases", torch.from_numpy(random.rand(len(grid))), persistent=False)
        # sin(p + w n) = sin p cos wn + cos p sin wn: a block is one product with fixed tables, fading in or out.
        angle = 2 * math.pi * cycles[:, None] * torch.arange(BLOCK, dtype=torch.float64)[None]
        table = torch.cat([angle.cos(), angle.sin()]).float()
        ramp = (torch.arange(BLOCK) + 1.0) / BLOCK
        self.register_buffer("rising", torch.cat([table * ramp, table * (1 - ramp)]), persistent=False)
        overlap = torch.sin(math.pi * (torch.arange(2 * BLOCK) + 0.5) / (2 * BLOCK))
        self.register_buffer("noise", _even_noise(random.rand(_NOISE_BLOCKS, BLOCK + 1), overlap), persistent=False)
        self.register_buffer("overlap", overlap, persistent=False)
        bins = torch.linspace(0, sample_rate / 2, BLOCK + 1)
        mel = torch.linspace(0, 2595 * math.log10(1 + sample_rate / 2 / 700), bands)
        spread = _triangles(700 * (10 ** (mel / 2595) - 1), bins)
        self.register_buffer(
            "noise_bands", (spread / spread.sum(1, keepdim=True).clamp_min(1e-6)).T.contiguous(), persistent=False
        )

    def forward(self, controls: Tensor, state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        """Controls [B, n blocks, width] -> samples [B, n * 160]; state: last levels, noise tail, block number."""
        batch, n, _ = controls.shape
        levels = _level(controls)
        tones, gains = levels[..., : self.oscillators], levels[..., self.oscillators :]
        if state is None:
            state = [tones.new_zeros(batch, 1, self.oscillators), tones.new_zeros(batch, 1, BLOCK), 0]
        before = torch.cat([state[0], tones[:, :-1]], dim=1)
        first: int = state[2]
        number = torch.arange(first, first + n, device=controls.device)
        # In float64 and without whole turns, so that the pitch holds for hours.
        phase = (2 * math.pi * ((number.double()[:, None] * self.rates + self.phases) % 1.0)).float()
        sin, cos = phase.sin(), phase.cos()
        wave = torch.cat([tones * sin, tones * cos, before * sin, before * cos], dim=-1) @ self.rising
        spectra = self.noise[number % _NOISE_BLOCKS] * (gains @ self.noise_bands)
        frames = torch.fft.irfft(spectra, n=2 * BLOCK) * self.overlap
        tails = torch.cat([state[1], frames[:, :-1, BLOCK:]], dim=1)
        samples = (wave + frames[..., :BLOCK] + tails).flatten(1)
        return samples, [tones[:, -1:], frames[:, -1:, BLOCK:], first + n]
