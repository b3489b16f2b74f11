"""What is heard in a clip, as numbers; no model in here. Waves are mono float32 at 32 kHz."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import find_peaks
from torch import Tensor

from soundforge.nn.starter_conditions import chroma_features
from soundforge.tempo import estimate_tempo, onset_envelope
from training.evaluation.material import RATE, Wave
from training.metrics import level_db
from training.piece import SCALES

Floats = NDArray[np.float64]


def tempo_error(wave: Wave, bpm: float) -> float:
    """Smallest relative difference of the tempo heard to ``bpm``, its half and its double."""
    heard = estimate_tempo(wave, RATE).bpm
    return min(abs(heard * octave / bpm - 1) for octave in (0.5, 1.0, 2.0))


def strong_onsets(wave: Wave) -> Floats:
    """Seconds of the onsets that stand out: peaks of the onset strength above a third of its 98th percentile."""
    envelope, rate = onset_envelope(wave, RATE)
    height = max(float(np.quantile(envelope, 0.98)) / 3.0, 1e-3)
    peaks, _ = find_peaks(envelope, height=height, distance=round(0.05 * rate))
    return np.asarray(peaks / rate, dtype=np.float64)


def on_grid(prompt: Wave, wave: Wave, bpm: float, start_beat: float, tolerance: float = 0.035) -> float:
    """Share of the strong onsets of ``wave``, which follows ``prompt``, near the grid that the prompt implies.

    The grid: eighths of the prompt's tempo and bar phase, and the places in the beat where the prompt itself has
    strong onsets (swing, triplets, sixteenths). NaN without onsets.
    """
    beat = 60.0 / bpm
    first = start_beat * beat

    def place(seconds: Floats) -> Floats:
        return np.asarray((seconds + first) % beat, dtype=np.float64)

    grid = np.concatenate([[0.0, beat / 2], place(strong_onsets(prompt))])
    heard = place(strong_onsets(wave) + len(prompt) / RATE)
    if not len(heard):
        return float("nan")
    gap = np.abs(heard[:, None] - grid[None])
    gap = np.minimum(gap, beat - gap).min(axis=1)
    return float((gap <= tolerance).mean())


def drift_db(wave: Wave, seconds: float = 4.0) -> float:
    """How much louder the last ``seconds`` are than the first."""
    n = round(seconds * RATE)
    return level_db(wave[-n:]) - level_db(wave[:n])


def click_at(wave: Wave, sample: int, seconds: float = 0.02) -> tuple[float, float]:
    """Percentile (0 to 1), among all places of ``wave``, of the jump and of the spectral flux at ``sample``."""
    n = round(seconds * RATE)
    jumps = np.abs(np.diff(wave.astype(np.float64)))
    blocks = jumps[: len(jumps) // n * n].reshape(-1, n).max(axis=1)
    here = jumps[max(0, sample - n // 2) : sample + n // 2].max()
    size, hop = 512, 128
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), size)[::hop]
    spectra = np.log10(np.abs(np.fft.rfft(frames * np.hanning(size))) + 1e-3)
    flux = np.maximum(0.0, np.diff(spectra, axis=0)).sum(axis=1)
    middle = (sample - size // 2) // hop
    near = flux[max(0, middle - 2) : middle + 3].max()
    smooth = np.array([flux[max(0, i - 2) : i + 3].max() for i in range(len(flux))])
    return float((blocks <= here).mean()), float((smooth <= near).mean())


def longest_repeat(codes: Tensor, first: int) -> int:
    """Frames of the longest run in ``codes`` ``[K, n]``, from frame ``first`` on, that stood there before in all books.

    Counted over all lags; overlapping repeats (a held tone) count too.
    """
    values = codes.numpy()
    longest = 0
    n = values.shape[1]
    for lag in range(1, n):
        same = (values[:, lag:] == values[:, :-lag]).all(axis=0)
        same[: max(0, first - lag)] = False
        if not same.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
        longest = max(longest, int((edges[1::2] - edges[::2]).max()))
    return longest


def percussive_ratio(wave: Wave) -> float:
    """Percussive over harmonic energy in dB, parted by median filters (Fitzgerald 2010)."""
    size, hop = 2048, 512
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    harmonic = median_filter(power, size=(17, 1))
    percussive = median_filter(power, size=(1, 17))
    mask = percussive**2 / (percussive**2 + harmonic**2 + 1e-18)
    return float(10 * np.log10(((power * mask).sum() + 1e-9) / ((power * (1 - mask)).sum() + 1e-9)))


def centroid_hz(wave: Wave) -> float:
    """Spectral centroid, frames weighted by their magnitude."""
    frames = wave[: len(wave) // 2048 * 2048].reshape(-1, 2048).astype(np.float64)
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(2048))).sum(axis=0)
    return float((magnitude * np.linspace(0, RATE / 2, 1025)).sum() / (magnitude.sum() + 1e-9))


def frame_chroma(wave: Wave) -> Floats:
    """Pitch classes per frame of 20 ms as the shipped conditioner hears them ``[n, 12]``."""
    tensor = torch.from_numpy(np.ascontiguousarray(wave))
    return chroma_features(tensor, RATE, len(wave) // 640, 50.0).numpy().astype(np.float64)


def chroma_cosine(given: Floats, made: Floats) -> float:
    """Mean cosine frame by frame where something was given."""
    n = min(len(given), len(made))
    a, b = given[:n], made[:n]
    sounding = a.max(axis=1) > 0
    if not sounding.any():
        return float("nan")
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-9
    return float(((a * b).sum(axis=1) / norm)[sounding].mean())


def share_in_scale(wave: Wave, key: int, mode: str) -> float:
    """Share of the chroma energy that falls on the scale's classes."""
    chroma = frame_chroma(wave).sum(axis=0)
    scale = [(key + step) % 12 for step in SCALES[mode]]
    return float(chroma[scale].sum() / (chroma.sum() + 1e-9))
