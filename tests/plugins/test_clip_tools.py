"""Clip processors: loudness by the standard's own test signals, bars to the sample, seams without a step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from soundforge.audio import Waveform
from soundforge.errors import AudioError, RequestError
from soundforge.testing import check_clip_processor
from soundforge_plugins.clip_tools import _bars
from soundforge_plugins.clip_tools.loudness import Loudness, _high_pass, _shelf, integrated_loudness
from soundforge_plugins.clip_tools.shape import Bars, Fade, PeakSafe, true_peak


def sine(hz: float, seconds: float, db: float, rate: int = 48_000, channels: int = 1, phase: float = 0.0) -> Waveform:
    time = np.arange(round(seconds * rate)) / rate
    one = 10 ** (db / 20) * np.sin(2 * np.pi * hz * time + phase)
    return Waveform(np.repeat(one[None], channels, axis=0).astype(np.float32), rate)


def test_the_filters_are_the_standards_at_48_khz() -> None:
    shelf, high_pass = _shelf(48_000), _high_pass(48_000)
    np.testing.assert_allclose(shelf[0], [1.53512485958697, -2.69169618940638, 1.19839281085285], atol=1e-9)
    np.testing.assert_allclose(shelf[1], [1.0, -1.69065929318241, 0.73248077421585], atol=1e-9)
    np.testing.assert_allclose(high_pass[1], [1.0, -1.99004745483398, 0.99007225036621], atol=1e-9)


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
def test_a_full_scale_sine_in_one_channel_is_at_minus_3_01(rate: int) -> None:
    assert integrated_loudness(sine(997.0, 3, 0.0, rate)) == pytest.approx(-3.01, abs=0.05)


def test_stereo_at_minus_23_and_the_gates() -> None:
    # EBU Tech 3341, cases 1 and 3: a stereo sine at -23 dBFS; the quiet parts at its sides are gated out.
    assert integrated_loudness(sine(1000.0, 5, -23.0, channels=2)) == pytest.approx(-23.0, abs=0.1)
    quiet = sine(1000.0, 3, -36.0, channels=2).samples
    parts = np.concatenate([quiet, sine(1000.0, 12, -23.0, channels=2).samples, quiet], axis=1)
    assert integrated_loudness(Waveform(parts, 48_000)) == pytest.approx(-23.0, abs=0.1)
    assert integrated_loudness(Waveform(np.zeros((1, 48_000), np.float32), 48_000)) == -math.inf
    assert integrated_loudness(sine(1000.0, 0.3, -3.0)) == -math.inf


def test_loudness_reaches_its_target_and_leaves_silence() -> None:
    out = Loudness(-14.0)(sine(440.0, 2, -30.0, 32_000))
    assert integrated_loudness(out) == pytest.approx(-14.0, abs=0.05)
    silence = Waveform(np.zeros((2, 32_000), np.float32), 32_000)
    assert not Loudness()(silence).samples.any()


def test_bars_are_whole_to_the_sample_and_their_seam_has_no_step() -> None:
    wave = sine(441.3, 9.2, -6.0, 44_100)
    out = Bars(bpm=110.0)(wave)
    assert out.n_samples == round(4 * 4 * 60 / 110 * 44_100)
    joined = np.concatenate([out.samples, out.samples], axis=1)[0]
    seam = np.abs(np.diff(joined[out.n_samples - 400:out.n_samples + 400])).max()
    bare = wave.samples[0, :out.n_samples]
    assert seam < 1.5 * np.abs(np.diff(wave.samples[0])).max()
    assert abs(float(bare[0] - bare[-1])) > 2 * seam or seam < 0.07
    # A sound that ends with its last bar, give or take half a sample, keeps it.
    assert Bars(bpm=110.0)(Waveform(bare, 44_100)).n_samples == out.n_samples
    with pytest.raises(AudioError, match="expected at least one bar"):
        Bars(bpm=60.0)(sine(440.0, 3.9, -6.0))


def test_the_power_stays_through_the_seam() -> None:
    samples = np.random.default_rng(0).standard_normal(44_100 * 5).astype(np.float32) * np.float32(0.1)
    out = Bars(bpm=120.0, seam_ms=500.0)(Waveform(samples, 44_100))
    assert out.slice_samples(0, 22_050).rms() == pytest.approx(0.1, rel=0.03)


def test_fades_begin_and_end_at_nothing() -> None:
    out = Fade(0.5, 0.25)(Waveform(np.ones((2, 32_000), np.float32), 32_000)).samples
    assert abs(out[:, 0]).max() < 1e-3 and abs(out[:, -1]).max() < 1e-3
    assert np.allclose(out[:, 16_000:24_000], 1.0)
    assert out[0, 8_000] == pytest.approx(math.sqrt(0.5), abs=1e-3)


def test_peaks_between_samples_count() -> None:
    wave = sine(12_000.0, 0.5, 0.0, phase=math.pi / 4)  # its samples stay 3 dB below its peaks
    assert wave.peak() == pytest.approx(math.sqrt(0.5), abs=1e-3)
    assert true_peak(wave) == pytest.approx(1.0, abs=0.06)
    assert true_peak(PeakSafe(-1.0)(wave)) <= 10 ** (-1 / 20) + 1e-4
    quiet = sine(440.0, 0.5, -12.0)
    assert PeakSafe(-1.0)(quiet) is quiet


@pytest.mark.parametrize("process", [Loudness(), Bars(), Fade(), PeakSafe()], ids=lambda p: type(p).__name__)
def test_they_keep_the_contract(process: object) -> None:
    check_clip_processor(process)  # type: ignore[arg-type]


def test_options_are_checked_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"'bars' got option 'bmp', expected bpm, .*; did you mean 'bpm'"):
        _bars(None, {"bmp": 120})  # type: ignore[arg-type]
    for bad in ("fast", True, float("nan"), 5):
        with pytest.raises(RequestError, match="bpm came as"):
            _bars(None, {"bpm": bad})  # type: ignore[arg-type]
