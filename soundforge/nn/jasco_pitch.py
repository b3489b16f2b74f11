"""The strongest pitch of every frame of a recording, for melody conditions.

Harmonic summation over a short-time spectrum: a pitch is as salient as its partials are strong, each counted less
than the one below it. Meant for one voice (a hummed tune, a lead); no source separation.
"""

from __future__ import annotations

import numpy as np

from soundforge.audio import Waveform

_RATE_HZ = 16_000
_WINDOW = 2048  # 128 ms: three periods of the lowest pitches that matter
_PARTIALS = 8
_QUIET_DB = -40.0  # below the loudest frame: taken as silence
_CLEAR = 0.15  # share of the spectrum's magnitude that a pitch's partials must hold


def strongest_pitches(wave: Waveform, n_frames: int, frame_rate_hz: float, lowest: int, count: int) -> list[int | None]:
    """MIDI notes by frame, None where nothing or nothing pitched sounds.

    Args:
        wave: mono.
        n_frames, frame_rate_hz: frame i is centred at `i / frame_rate_hz` seconds.
        lowest, count: candidates are the MIDI notes `lowest` to `lowest + count - 1`.
    """
    samples = wave.resampled(_RATE_HZ).samples[0]
    padded = np.pad(samples, (_WINDOW // 2, _WINDOW))
    window = np.hanning(_WINDOW)
    weights = _harmonic_weights(lowest, count)
    powers, scores = np.zeros(n_frames), np.zeros((n_frames, count))
    for frame in range(n_frames):
        start = round(frame / frame_rate_hz * _RATE_HZ)
        piece = padded[start : start + _WINDOW]
        if start >= samples.shape[0] or piece.shape[0] < _WINDOW:
            break
        spectrum = np.abs(np.fft.rfft(piece * window, 2 * _WINDOW))
        powers[frame] = float(np.square(spectrum).sum())
        total = float(spectrum.sum())
        scores[frame] = weights @ spectrum / total if total > 0 else 0.0
    loudest = float(powers.max(initial=0.0))
    if loudest <= 0:
        return [None] * n_frames
    heard = (powers > loudest * 10 ** (_QUIET_DB / 10)) & (scores.max(axis=1) > _CLEAR)
    return [int(lowest + scores[frame].argmax()) if heard[frame] else None for frame in range(n_frames)]


def _harmonic_weights(lowest: int, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """`[count, bins]`: what each bin of the spectrum adds to each pitch."""
    bins = _WINDOW + 1
    spacing = _RATE_HZ / (2 * _WINDOW)
    weights = np.zeros((count, bins))
    for index in range(count):
        fundamental = 440.0 * 2 ** ((lowest + index - 69) / 12)
        for partial in range(1, _PARTIALS + 1):
            centre = fundamental * partial
            # A quarter tone to either side, at least the width of the window's main lobe.
            reach = max(centre * (2 ** (1 / 24) - 1), 1.5 * spacing)
            low, high = int(np.ceil((centre - reach) / spacing)), int((centre + reach) / spacing)
            if high < bins:
                weights[index, low : high + 1] = np.maximum(weights[index, low : high + 1], 0.84 ** (partial - 1))
    return weights
