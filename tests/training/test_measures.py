"""What the evaluation measures is there where it was put, and is not where it was not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")
from training.evaluation import measures, report, sound
from training.evaluation.material import RATE, Wave, repeated, shaped_noise

RNG = np.random.default_rng(0)


def clicks(bpm: float, seconds: float, first_beat: float = 0.0) -> Wave:
    """Short noise bursts on every beat; the wave begins at ``first_beat``."""
    out = np.zeros(round(seconds * RATE), dtype=np.float32)
    burst = (RNG.standard_normal(800) * np.exp(-np.arange(800) / 150)).astype(np.float32) * 0.5
    beat = np.ceil(first_beat - 1e-9)
    while (start := round((beat - first_beat) * 60 / bpm * RATE)) < len(out) - 800:
        out[start : start + 800] += burst
        beat += 1
    return out


def tone(hz: float, seconds: float = 2.0) -> Wave:
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_onsets_on_and_off_the_grid() -> None:
    prompt = clicks(120.0, 4.0, first_beat=0.5)
    assert measures.on_grid(prompt, clicks(120.0, 4.0, first_beat=8.5), 120.0, 0.5) > 0.9
    assert measures.on_grid(prompt, clicks(120.0, 4.0, first_beat=8.75), 120.0, 0.5) < 0.2
    assert np.isnan(measures.on_grid(prompt, np.zeros(RATE, dtype=np.float32), 120.0, 0.5))
    assert measures.tempo_error(prompt, 120.0) < 0.02
    assert measures.tempo_error(prompt, 60.0) < 0.02
    assert measures.tempo_error(prompt, 100.0) > 0.1


def test_drums_are_percussive_and_tones_are_not() -> None:
    assert measures.percussive_ratio(clicks(120.0, 3.0)) > measures.percussive_ratio(tone(440.0, 3.0)) + 20
    assert measures.centroid_hz(tone(4000.0)) > 10 * measures.centroid_hz(tone(200.0))


def test_a_click_stands_out_and_a_smooth_place_does_not() -> None:
    wave = tone(220.0, 4.0)
    broken = wave.copy()
    broken[2 * RATE :] *= -1.0
    broken[2 * RATE] = 0.9
    assert min(measures.click_at(broken, 2 * RATE)) > 0.97
    noisy = wave + 0.01 * RNG.standard_normal(len(wave))
    rising = (noisy * np.linspace(0.2, 1.0, len(wave))).astype(np.float32)
    assert measures.click_at(rising, 2 * RATE)[0] < 0.7


def test_the_longest_repeat_counts_frames_of_all_codebooks() -> None:
    codes = torch.randint(0, 1024, (4, 100))
    codes[:, 60:80] = codes[:, 10:30]
    assert measures.longest_repeat(codes, 50) == 20
    assert measures.longest_repeat(codes, 70) == 10
    codes[2, 70] += 1
    assert measures.longest_repeat(codes, 50) == 10


def test_chroma_of_a_tone_is_its_own_and_not_another() -> None:
    a, b = (measures.frame_chroma(tone(hz)) for hz in (440.0, 466.16))
    assert measures.chroma_cosine(a, a) == pytest.approx(1.0, abs=1e-6)
    assert measures.chroma_cosine(a, b) < 0.5
    assert measures.share_in_scale(tone(440.0), 9, "minor") > 0.9
    assert measures.share_in_scale(tone(440.0), 8, "major") < 0.3


def test_drift_is_the_change_of_level() -> None:
    wave = tone(300.0, 10.0) * np.linspace(1.0, 0.5, 10 * RATE, dtype=np.float32)
    assert -6.0 < measures.drift_db(wave) < -3.0


def test_noise_between_partials_and_pulses_at_the_frame_rate_are_heard() -> None:
    pure = sound.tone("saw", 220.0)
    noisy = pure + (RNG.standard_normal(len(pure)) * 0.02).astype(np.float32)
    assert sound.off_partials_db(noisy, 220.0) > sound.off_partials_db(pure, 220.0) + 20
    pulsing = noisy * (1 + 0.2 * np.sin(2 * np.pi * 50 * np.arange(len(pure)) / RATE)).astype(np.float32)
    assert sound.buzz_db(pulsing) > sound.buzz_db(noisy) + 6
    hit = np.zeros(RATE, dtype=np.float32)
    hit[9000:9400] = 0.5
    assert sound.onset_seconds(hit) == pytest.approx(9000 / RATE, abs=0.002)


def test_baselines_keep_what_they_say() -> None:
    prompt = clicks(120.0, 2.0)
    np.testing.assert_array_equal(repeated(prompt, 2 * len(prompt))[len(prompt) :], prompt)
    assert np.std(shaped_noise(prompt, len(prompt), RNG)) == pytest.approx(np.std(prompt), rel=0.05)


def test_figures_have_intervals_and_leave_out_what_was_not_measured() -> None:
    figure = report.mean([1.0, 0.0, float("nan"), 1.0, 1.0])
    assert figure.value == 0.75
    assert figure.items == 4
    assert figure.low <= figure.value <= figure.high
    assert report.two_auc([2.0, 3.0], [0.0, 1.0]).value == 1.0
    assert report.pair_auc(np.eye(6)).value == 1.0
    text = report.table({"row": {"a": figure, "b": "x"}, "other": {"b": "y"}}, "corner")
    assert text.splitlines()[0] == "| corner | a | b |"
    assert text.splitlines()[3] == "| other |  | y |"
