"""Filters, delay, reverb, side-chain and saturation on float32 mono signals ``[T]`` at 32 kHz."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

Samples = NDArray[Any]  # float32 throughout
_RATE = 32_000


@lru_cache(maxsize=512)
def _sections(kind: str, low_hz: int, high_hz: int) -> NDArray[np.float32]:
    corner = [low_hz, high_hz] if kind == "bandpass" else [low_hz]
    sections: NDArray[np.float32] = butter(
        2 if kind != "bandpass" else 1, corner if len(corner) > 1 else corner[0], kind, fs=_RATE, output="sos"
    ).astype(np.float32)
    return sections


def _grid(frequency_hz: float) -> int:
    """Rounds to a 3 % grid, so that filter designs are shared between notes."""
    return int(1.03 ** round(np.log(min(max(frequency_hz, 30.0), 15_500.0)) / np.log(1.03)))


def lowpass(signal: Samples, cutoff_hz: float) -> Samples:
    """Second-order low-pass."""
    filtered: Samples = sosfilt(_sections("lowpass", _grid(cutoff_hz), 0), signal).astype(np.float32)
    return filtered


def highpass(signal: Samples, cutoff_hz: float) -> Samples:
    """Second-order high-pass."""
    filtered: Samples = sosfilt(_sections("highpass", _grid(cutoff_hz), 0), signal).astype(np.float32)
    return filtered


def bandpass_noise(signal: Samples, low_hz: float, high_hz: float) -> Samples:
    """Second-order band-pass (the name says its main use)."""
    low = _grid(low_hz)
    filtered: Samples = sosfilt(_sections("bandpass", low, max(low + 20, _grid(high_hz))), signal).astype(np.float32)
    return filtered


def echo(signal: Samples, delay_samples: int, mix: float, feedback: float) -> Samples:
    """Up to six repeats, each darker than the one before by what ``feedback`` takes."""
    out = signal.copy()
    gain = mix
    for repeat in range(1, 7):
        offset = delay_samples * repeat
        if offset >= len(signal) or gain < 0.01:
            break
        out[offset:] += np.float32(gain) * signal[: len(signal) - offset]
        gain *= feedback
    return out


def reverb(signal: Samples, rng: np.random.Generator) -> Samples:
    """The wet part alone: convolution with decaying noise, darker towards its end."""
    seconds = float(rng.uniform(0.25, 1.6))
    n = int(seconds * _RATE)
    time = np.arange(n, dtype=np.float32) / _RATE
    noise = rng.standard_normal(n).astype(np.float32)
    early = np.exp(-time * (9.0 / seconds)) * noise
    late = np.exp(-time * (5.0 / seconds)) * lowpass(noise, float(rng.uniform(1500, 5000)))
    impulse = (early + late) * np.minimum(1.0, time / 0.004)
    impulse /= np.sqrt(np.sum(impulse**2)) + 1e-9
    wet: Samples = fftconvolve(signal, impulse)[: len(signal)].astype(np.float32)
    return wet


def duck(n_samples: int, kick_samples: NDArray[np.int64], depth: float, release_s: float) -> Samples:
    """Gain curve ``[T]`` that falls to ``1 - depth`` at every kick and recovers exponentially."""
    gain = np.ones(n_samples, dtype=np.float32)
    n = int(release_s * 4 * _RATE)
    dip = (depth * np.exp(-np.arange(n) / (release_s * _RATE))).astype(np.float32)
    for start in kick_samples:
        end = min(n_samples, int(start) + n)
        if end > start:
            gain[start:end] = np.minimum(gain[start:end], 1.0 - dip[: end - int(start)])
    return gain


def saturate(signal: Samples, drive: float) -> Samples:
    """Soft clipping at constant level for small signals times ``1 + drive``, scaled back by its peak."""
    peak = float(np.abs(signal).max()) + 1e-9
    return (np.tanh(signal * np.float32((1.0 + drive) / peak)) * np.float32(peak / np.tanh(1.0 + drive))).astype(
        np.float32
    )
