"""Waveforms: what is taken, what is refused, and the operations on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from soundforge.audio import (
    Waveform,
    equal_power_crossfade,
    match_gain,
    mix_channels,
    peak_db,
    read,
    resample,
    splice,
)
from soundforge.errors import AudioError


def sine(seconds: float, rate: int, hz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate).astype(np.float32)[None]


def test_mono_gets_a_channel_axis_and_float64_becomes_float32() -> None:
    wave = Waveform(np.zeros(10), 8000)
    assert wave.samples.shape == (1, 10) and wave.samples.dtype == np.float32
    assert (wave.channels, wave.n_samples, wave.seconds) == (1, 10, 10 / 8000)


@pytest.mark.parametrize(("samples", "rate", "said"), [
    (np.zeros((1, 4), np.int16), 8000, "int16"),
    (np.zeros((1, 1, 4)), 8000, "shape"),
    (np.array([0.0, np.nan]), 8000, "NaN"),
    (np.array([0.0, np.inf]), 8000, "NaN or infinite"),
    (np.zeros((1000, 2)), 8000, "transpose"),
    (np.zeros((0, 5)), 8000, "0 channels"),
    (np.zeros(4), 0, "sample rate"),
    (np.zeros(4), 44100.5, "sample rate"),
    (np.zeros(4), float("nan"), "sample rate"),
    (np.zeros(4), "fast", "sample rate"),
], ids=str)
def test_unusable_audio_is_refused(samples: np.ndarray, rate: object, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        Waveform(samples, rate)  # type: ignore[arg-type]


def test_audio_is_never_scaled_or_clamped() -> None:
    loud = np.array([[-3.0, 2.5]], np.float32)
    np.testing.assert_array_equal(Waveform(loud, 8000).samples, loud)
    np.testing.assert_array_equal(np.asarray(Waveform(loud, 8000)), loud)


def test_read_gives_channels_first(tmp_path: Path) -> None:
    stereo = np.stack([np.linspace(-1, 1, 100), np.linspace(1, -1, 100)]).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", stereo.T, 44100, subtype="FLOAT")
    wave = read(tmp_path / "a.wav")
    assert wave.sample_rate == 44100
    np.testing.assert_array_equal(wave.samples, stereo)


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_read_refuses_what_is_no_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match="cannot read"):
        read(path)
    with pytest.raises(AudioError, match="cannot read"):
        read(tmp_path / "absent.wav")


@given(st.integers(0, 5000), st.sampled_from([8000, 22050, 44100, 48000]), st.sampled_from([16000, 32000, 44100]))
def test_resampled_length_is_the_documented_one(n: int, from_rate: int, to_rate: int) -> None:
    assert resample(np.zeros((1, n), np.float32), from_rate, to_rate).shape == (1, round(n * to_rate / from_rate))


def test_resampling_keeps_a_sine() -> None:
    out = resample(sine(1.0, 48000), 48000, 32000)
    np.testing.assert_allclose(out[:, 500:-500], sine(1.0, 32000)[:, 500:-500], atol=1e-4)


@pytest.mark.parametrize(("have", "want"), [(1, 1), (1, 2), (2, 1), (2, 4), (6, 2)])
def test_channel_mixing(have: int, want: int) -> None:
    samples = np.arange(1, have + 1, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    out = mix_channels(samples, want)
    assert out.shape == (want, 3)
    if want == 1:
        np.testing.assert_allclose(out, samples.mean(0, keepdims=True))
    elif have == 1:
        np.testing.assert_array_equal(out, np.ones((want, 3)))
    else:
        np.testing.assert_array_equal(out[: min(have, want)], samples[: min(have, want)])


def test_crossfade_keeps_the_power_of_unrelated_material() -> None:
    rng = np.random.default_rng(1)
    old, new = rng.standard_normal((2, 1, 200_000)).astype(np.float32)
    power = np.square(equal_power_crossfade(old, new)).reshape(10, -1).mean(1)
    np.testing.assert_allclose(power, 1.0, atol=0.03)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 60))
def test_a_splice_loses_no_time(a: int, b: int, overlap: int) -> None:
    prompt, new = np.full((1, a), 1.0, np.float32), np.full((1, b), 2.0, np.float32)
    used = min(overlap, a, b)
    joined = splice(prompt, new, overlap)
    assert joined.shape == (1, a + b - used)
    np.testing.assert_array_equal(joined[0, : a - used], 1.0)
    np.testing.assert_array_equal(joined[0, a:], 2.0)


def test_gain_matching_is_limited_and_leaves_silence_alone() -> None:
    loud, quiet = sine(0.1, 8000), sine(0.1, 8000) * 0.7
    assert match_gain(loud, quiet) == pytest.approx(1 / 0.7, rel=1e-3)
    assert match_gain(loud, quiet * 0.01) == pytest.approx(10 ** (6 / 20), rel=1e-3)
    assert match_gain(loud, np.zeros((1, 100), np.float32)) == 1.0


def test_peak_db() -> None:
    assert peak_db(np.array([[0.5, -1.0]], np.float32)) == 0.0
    assert peak_db(np.zeros((1, 0), np.float32)) == -120.0
