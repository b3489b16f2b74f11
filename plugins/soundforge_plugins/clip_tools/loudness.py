"""Integrated loudness after ITU-R BS.1770-4, and gain to a target.

K-weighting is two biquads, given in the standard at 48 kHz; for other rates they are derived from the analogue
prototype, with the constants that give the standard's coefficients back at 48 kHz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from soundforge import Waveform
from soundforge.requests import check_number

BLOCK_SECONDS, STEP_SECONDS = 0.4, 0.1
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
Biquad = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Loudness:
    """Gain to a loudness in LUFS. Peaks may exceed 1 afterwards: put `peak_safe` behind it.

    Sound that is shorter than 0.4 s or below -70 LUFS has no loudness by the standard and stays as it is.

    Args:
        lufs: target, -60 to 0.
    """

    lufs: float = -16.0

    def __post_init__(self) -> None:
        check_number("lufs", self.lufs, -60.0, 0.0)

    def __call__(self, wave: Waveform) -> Waveform:
        have = integrated_loudness(wave)
        if not math.isfinite(have):
            return wave
        return Waveform(wave.samples * np.float32(10 ** ((self.lufs - have) / 20)), wave.sample_rate)


def integrated_loudness(wave: Waveform) -> float:
    """Gated loudness in LUFS; -inf when no block of 0.4 s is above -70 LUFS. Every channel has weight 1."""
    block, step = round(BLOCK_SECONDS * wave.sample_rate), round(STEP_SECONDS * wave.sample_rate)
    if wave.n_samples < block:
        return -math.inf
    weighted = _weighted(wave)
    summed = np.concatenate([[0.0], np.cumsum(np.square(weighted).sum(axis=0))])
    starts = np.arange(0, wave.n_samples - block + 1, step)
    power = np.maximum(summed[starts + block] - summed[starts], 0.0) / block
    loud = power[power > _power(ABSOLUTE_GATE)]
    if loud.size == 0:
        return -math.inf
    loud = loud[loud > loud.mean() * 10 ** (RELATIVE_GATE / 10)]
    return float(-0.691 + 10 * np.log10(loud.mean()))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _weighted(wave: Waveform) -> NDArray[np.float64]:
    """Samples as the ear weighs them: convolved with the impulse responses of both filters."""
    # numpy has no recursive filter, and scipy is no dependency of the package.
    samples, shelf, high_pass = wave.samples.astype(np.float64), *_impulses(wave.sample_rate)
    size = 1 << (wave.n_samples + len(shelf) + len(high_pass)).bit_length()
    response = np.fft.rfft(shelf, size) * np.fft.rfft(high_pass, size)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples, size, axis=-1) * response, size, axis=-1)[:, :wave.n_samples])


@lru_cache(maxsize=4)
def _impulses(rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of shelf and high pass, cut where they have died away (both: within 0.2 s)."""
    return _impulse(*_shelf(rate)), _impulse(*_high_pass(rate))


def _impulse(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    b, (_, a1, a2) = numerator.tolist(), denominator.tolist()
    out, last, before = [], 0.0, 0.0
    for n in range(48_000):
        last, before = (b[n] if n < 3 else 0.0) - a1 * last - a2 * before, last
        out.append(last)
    return np.array(out)


def _shelf(rate: int) -> Biquad:
    """The head: about 4 dB more above 1.7 kHz."""
    k = math.tan(math.pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + k / q + k * k
    return (np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]) / scale,
            np.array([1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]))


def _high_pass(rate: int) -> Biquad:
    """What lies below about 40 Hz counts little."""
    k = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    scale = 1 + k / q + k * k
    return np.array([1.0, -2.0, 1.0]), np.array([1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale])
