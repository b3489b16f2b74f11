"""Tempo and phase of a recording: onset strength, its autocorrelation under a tempo prior, and a fit of the phase.

numpy only. Made for loops of a few seconds with a steady tempo; where nothing pulses the confidence says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENVELOPE_HZ = 200.0
_PRIOR_BPM = 118.0
_PRIOR_OCTAVES = 0.65  # spread of the prior
_MULTIPLES = ((1.0, 1.0), (2.0, 0.7), (4.0, 0.9), (0.5, 0.5), (0.25, 0.4), (3.0, 0.15), (1.5, 0.6), (2 / 3, -0.1))
"""Lags in beats at which a tempo's onsets should recur, and what that counts for. Chosen on composed pieces in four
folds: the tempo, octave allowed, is then right in 0.95 of those left out (0.91 without the one and a half beats)."""


@dataclass(frozen=True, slots=True)
class TempoEstimate:
    """What was heard.

    Args:
        bpm: beats per minute.
        beat_offset_seconds: time of the first beat, 0 <= offset < 60 / bpm.
        bar_offset_seconds: time of the first bar line (four beats assumed), or None when no beat stands out.
        confidence: 0 (nothing pulses) to about 1 (a drum machine).
    """

    bpm: float
    beat_offset_seconds: float
    bar_offset_seconds: float | None
    confidence: float


def onset_envelope(waveform: NDArray[np.floating], sample_rate: int) -> tuple[Floats, float]:
    """Onset strength of mono samples ``[T]``: rises of the log spectrum, and its rate in Hz.

    Entry ``i`` belongs to the time ``i / rate`` (the middle of its analysis window has passed an onset there).
    """
    hop = max(1, round(sample_rate / _ENVELOPE_HZ))
    size = 1 << int(np.ceil(np.log2(sample_rate * 0.02)))
    signal = np.asarray(waveform, dtype=np.float64)
    padded = np.concatenate([np.zeros(size // 2), signal, np.zeros(size // 2)])
    count = max(1, 1 + (len(padded) - size) // hop)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))
    # Sixteen bands, evenly spaced in octaves: a hi-hat counts as much as a kick.
    edges = np.unique(np.geomspace(1, spectrum.shape[1] - 1, 17).astype(int))
    bands = np.add.reduceat(spectrum, edges[:-1], axis=1)
    level = np.log10(1e-4 * (spectrum.max() + 1e-9) + bands)
    rise = np.maximum(0.0, np.diff(level, axis=0, prepend=level[:1])).sum(axis=1)
    envelope: Floats = np.convolve(rise, np.hanning(5) / np.hanning(5).sum(), mode="same")
    return envelope, sample_rate / hop


def _autocorrelation(signal: Floats) -> Floats:
    centred = signal - signal.mean()
    n = 1 << int(np.ceil(np.log2(2 * len(centred))))
    spectrum = np.fft.rfft(centred, n)
    raw = np.fft.irfft(spectrum * np.conj(spectrum), n)[: len(centred)]
    # Unbiased up to half the length: a loop heard twice must count in full at its own period.
    return np.asarray(raw / np.maximum(len(centred) - np.arange(len(centred)), len(centred) / 4), dtype=np.float64)


def _at(values: Floats, position: NDArray[Any]) -> Floats:
    return np.asarray(np.interp(position, np.arange(len(values)), values, right=0.0), dtype=np.float64)


def estimate_tempo(waveform: NDArray[np.floating], sample_rate: int) -> TempoEstimate:
    """Tempo of mono samples ``[T]``, 45 to 200 BPM; ambiguous octaves go to the more usual one."""
    if len(waveform) < sample_rate * 0.5 or not np.any(np.abs(waveform) > 1e-5):
        return TempoEstimate(120.0, 0.0, None, 0.0)
    envelope, rate = onset_envelope(waveform, sample_rate)
    correlation = _autocorrelation(envelope)
    correlation = correlation / max(correlation[0], 1e-12)
    candidates = np.geomspace(45.0, 200.0, 900)
    lag = 60.0 / candidates * rate
    score = np.zeros_like(candidates)
    weights = 0.0
    for multiple, weight in _MULTIPLES:
        inside = lag * multiple < len(correlation) * 0.8
        score += np.where(inside, weight * _at(correlation, np.minimum(lag * multiple, len(correlation) - 1)), 0.0)
        weights += weight
    prior = np.exp(-0.5 * (np.log2(candidates / _PRIOR_BPM) / _PRIOR_OCTAVES) ** 2)
    best = int(np.argmax(np.maximum(score, 0.0) * prior))
    bpm = _refine(correlation, candidates[best], rate)
    confidence = float(np.clip(score[best] / weights * 1.6, 0.0, 1.0))
    beat, bar = _phase(envelope, rate, bpm, waveform, sample_rate)
    return TempoEstimate(bpm, beat, bar, confidence)


def _refine(correlation: Floats, bpm: float, rate: float) -> float:
    """The tempo from the longest multiple of the beat that fits, where an error of the lag matters least."""
    for multiple in (1, 2, 4, 8):
        lag = 60.0 / bpm * rate * multiple
        if lag > len(correlation) * 0.75:
            break
        reach = max(2.0, lag * 0.03 / multiple**0.5)
        grid = np.linspace(lag - reach, lag + reach, 81)
        values = _at(correlation, grid)
        top = int(np.argmax(values))
        if values[top] > 0.15 and 0 < top < 80:
            bpm = 60.0 * rate * multiple / float(grid[top])
    return bpm


def _phase(
    envelope: Floats, rate: float, bpm: float, waveform: NDArray[np.floating], sample_rate: int
) -> tuple[float, float | None]:
    """First beat and first bar line: where a comb of beats collects most onsets, where the bass falls in the bar."""
    period = 60.0 / bpm * rate
    offsets = np.arange(0.0, period, 0.5)
    beats = np.arange(int(len(envelope) / period) + 1)
    comb = np.array([_at(envelope, offset + beats * period).sum() for offset in offsets])
    half = np.array([_at(envelope, offset + (beats + 0.5) * period).sum() for offset in offsets])
    offset = float(offsets[int(np.argmax(comb + 0.25 * half))])
    # Kicks and bass notes mark the beat against the off-beat, and the first beat of the bar.
    low = _low_onsets(waveform, sample_rate, rate, len(envelope))
    on = _at(low, offset + beats * period).sum()
    off = _at(low, offset + (beats + 0.5) * period).sum()
    straight = _at(envelope, offset + (beats + 0.5) * period).sum() / max(
        _at(envelope, offset + beats * period).sum(), 1e-9
    )
    if off > 1.5 * on and straight > 0.4:
        offset = (offset + period / 2) % period
    strength = 0.5 * _at(envelope, offset + beats * period) / (envelope.max() + 1e-9) + _at(
        low, offset + beats * period
    ) / (low.max() + 1e-9)
    if len(beats) < 6:
        return offset / rate, None
    by_place = np.array([strength[place::4].mean() for place in range(4)])
    # Backbeats are loud too: the bar starts where a strong low onset is and the beat after it is weaker in the bass.
    place = int(np.argmax(by_place - 0.3 * np.roll(by_place, -1)))
    if by_place.max() - by_place.min() < 0.02:
        place = 0
    return offset / rate, (offset + place * period) / rate


def _low_onsets(waveform: NDArray[np.floating], sample_rate: int, rate: float, length: int) -> Floats:
    """Rises of the level below 150 Hz at the envelope's rate."""
    hop = round(sample_rate / rate)
    size = 1 << int(np.ceil(np.log2(sample_rate * 0.04)))
    padded = np.concatenate([np.zeros(size // 2), np.asarray(waveform, dtype=np.float64), np.zeros(size)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:length]
    top = max(2, int(150.0 * size / sample_rate) + 1)
    # The root, not the logarithm: noise reaches down here too, and a kick must stand out from it.
    level = np.sqrt(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))[:, 1:top].sum(axis=1))
    rise = np.maximum(0.0, np.diff(level, prepend=level[:1]))
    smooth: Floats = np.convolve(rise, np.ones(7) / 7, mode="same")
    return np.pad(smooth, (0, max(0, length - len(smooth))))
