"""The tempo estimator on loops whose tempo and phase are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from soundforge.tempo import estimate_tempo

RATE = 32_000


def clicks(bpm: float, seconds: float, first: float = 0.0, rate: int = RATE) -> NDArray[np.float32]:
    """A click per beat, an accent with bass on every fourth."""
    out = np.zeros(int(seconds * rate), dtype=np.float32)
    rng = np.random.default_rng(0)
    time = np.arange(int(0.05 * rate)) / rate
    beat = 0
    while (start := int((first + beat * 60 / bpm) * rate)) + len(time) < len(out):
        hit = 0.3 * rng.standard_normal(len(time)) * np.exp(-time / 0.01)
        if beat % 4 == 0:
            hit = hit + np.sin(2 * np.pi * 60 * time) * np.exp(-time / 0.03)
        out[start : start + len(time)] += hit.astype(np.float32)
        beat += 1
    return out


@pytest.mark.parametrize("bpm", [72.0, 90.0, 100.0, 123.0, 140.0])
@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_tempo_within_one_percent(bpm: float, rate: int) -> None:
    heard = estimate_tempo(clicks(bpm, 6.0, rate=rate), rate)
    assert any(abs(heard.bpm * octave / bpm - 1) < 0.01 for octave in (0.5, 1.0, 2.0))


@pytest.mark.parametrize("first", [0.0, 0.1, 0.33])
def test_beat_phase_within_twenty_milliseconds(first: float) -> None:
    heard = estimate_tempo(clicks(120.0, 6.0, first), RATE)
    assert heard.bpm == pytest.approx(120.0, rel=0.01)
    error = (heard.beat_offset_seconds - first + 0.25) % 0.5 - 0.25
    assert abs(error) < 0.02


def test_bar_line_falls_on_the_accent() -> None:
    heard = estimate_tempo(clicks(120.0, 8.0, 0.1), RATE)
    assert heard.bar_offset_seconds is not None
    assert (heard.bar_offset_seconds - 0.1 + 1.0) % 2.0 - 1.0 == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("wave", [np.zeros(64_000, dtype=np.float32), np.zeros(1, dtype=np.float32)])
def test_silence_has_no_confidence(wave: NDArray[np.float32]) -> None:
    assert estimate_tempo(wave, RATE).confidence == 0.0


def test_noise_has_less_confidence_than_a_beat() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(4 * RATE).astype(np.float32)
    assert estimate_tempo(noise, RATE).confidence < estimate_tempo(clicks(110.0, 4.0), RATE).confidence
