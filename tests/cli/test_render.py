"""`soundforge render` with a real (tiny) model: lengths, continuation, the record, and once more bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import soundforge as sf
from soundforge.wav import read_clip, read_info


@pytest.fixture
def model(tiny_model: str) -> list[str]:
    return ["--model", tiny_model]


@pytest.fixture
def riff(tmp_path: Path) -> Path:
    """Half a second of noise bursts at another rate, in stereo."""
    noise = np.random.default_rng(3).normal(0, 0.1, (22_050, 2)) * (np.arange(22_050)[:, None] % 5000 < 1500)
    soundfile.write(tmp_path / "riff.flac", noise, 44_100)
    return tmp_path / "riff.flac"


def test_a_text_becomes_a_wav_with_its_request_inside(run: Any, tmp_path: Path, model: list[str]) -> None:
    told = run("render", "a test", "-o", tmp_path / "a.wav", "--seconds", 0.5, "--seed", 3, "--top-k", 20, *model)
    assert told.status == 0, told.err
    assert "real-time factor" in told.out
    clip = read_clip(tmp_path / "a.wav")
    assert clip.seconds == pytest.approx(0.5, abs=0.02)
    assert (clip.seed, clip.request.text, clip.request.sampling.top_k) == (3, "a test", 20)
    assert np.abs(clip.waveform).max() > 0


def test_bars_give_exactly_their_samples_and_the_tempo_is_in_the_file(run: Any, tmp_path: Path,
                                                                     model: list[str]) -> None:
    told = run("render", "a test", "-o", tmp_path / "a.wav", "--bars", 0.5, "--bpm", 160, *model)
    assert told.status == 0, told.err
    info = read_info(tmp_path / "a.wav")
    assert info.n_samples == info.sample_rate * 0.75
    assert info.acid is not None
    assert info.acid.bpm == 160
    assert "seed" in told.out


@pytest.mark.parametrize("what", ["text", "continue"])
def test_bars_without_a_tempo_are_refused_in_the_command_s_words(run: Any, tmp_path: Path, riff: Path,
                                                                 what: str) -> None:
    told = run("render", *(["a test"] if what == "text" else ["--continue", riff]), "-o", tmp_path / "a.wav",
               "--bars", 4)
    assert told.status == 2
    assert "--bars was given without a tempo; add --bpm 120, or give --seconds instead" in " ".join(told.err.split())
    assert "bpm=" not in told.err


def test_the_continued_audio_keeps_its_own_samples(run: Any, tmp_path: Path, model: list[str], riff: Path) -> None:
    told = run("render", "--continue", riff, "-o", tmp_path / "a.wav", "--seconds", 0.5, "--seed", 1, *model)
    assert told.status == 0, told.err
    clip = read_clip(tmp_path / "a.wav")
    prompt = sf.read(riff).resampled(clip.sample_rate).with_channels(clip.channels)
    assert clip.prompt_samples == pytest.approx(0.5 * clip.sample_rate, abs=clip.sample_rate * 0.021)
    kept = clip.prompt_samples - round(0.02 * clip.sample_rate)
    start = prompt.n_samples - clip.prompt_samples
    np.testing.assert_allclose(clip.waveform[:, :kept], prompt.samples[:, start:start + kept], atol=1e-6)
    assert clip.seconds - clip.prompt_samples / clip.sample_rate == pytest.approx(0.5, abs=0.02)


def test_only_new_leaves_the_prompt_out(run: Any, tmp_path: Path, model: list[str], riff: Path) -> None:
    told = run("render", "--continue", riff, "--only-new", "-o", tmp_path / "a.wav", "--seconds", 0.4, *model)
    assert told.status == 0, told.err
    assert read_info(tmp_path / "a.wav").seconds == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("options", [[], ["--continue"], ["--continue", "--only-new"]], ids=" ".join)
def test_again_gives_the_same_samples(run: Any, tmp_path: Path, model: list[str], riff: Path,
                                      options: list[str]) -> None:
    given = [part for option in options for part in ([option, riff] if option == "--continue" else [option])]
    first = run("render", "twice", *given, "-o", tmp_path / "a.wav", "--seconds", 0.4, *model)
    assert first.status == 0, first.err
    again = run("render", "--again", tmp_path / "a.wav", "-o", tmp_path / "b.wav")
    assert again.status == 0, again.err
    np.testing.assert_array_equal(sf.read(tmp_path / "a.wav").samples, sf.read(tmp_path / "b.wav").samples)


def test_again_without_the_audio_it_was_made_with_says_which(run: Any, tmp_path: Path, model: list[str],
                                                              riff: Path) -> None:
    run("render", "--continue", riff, "-o", tmp_path / "a.wav", "--seconds", 0.2, *model)
    riff.rename(tmp_path / "elsewhere.flac")
    told = run("render", "--again", tmp_path / "a.wav", "-o", tmp_path / "b.wav")
    assert told.status == 2
    assert "give it with --continue FILE" in told.err
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros(100), 8_000)
    changed = run("render", "--again", tmp_path / "a.wav", "--continue", other, "-o", tmp_path / "b.wav")
    assert "another hash" in changed.err
    moved = run("render", "--again", tmp_path / "a.wav", "--continue", tmp_path / "elsewhere.flac", "-o",
                tmp_path / "b.wav")
    assert moved.status == 0, moved.err


def test_sixteen_bits_and_clip_info(run: Any, tmp_path: Path, model: list[str]) -> None:
    told = run("render", "a test", "-o", tmp_path / "a.wav", "--seconds", 0.2, "--bits", 16, "--seed", 9, *model)
    assert told.status == 0, told.err
    facts = json.loads(run("clip", "info", tmp_path / "a.wav", "--json").out)
    assert (facts["bits"], facts["seed"], facts["request"]["text"]) == (16, 9, "a test")


def test_an_unknown_model_and_condition_are_named(run: Any, tmp_path: Path, model: list[str]) -> None:
    told = run("render", "hi", "-o", tmp_path / "a.wav", "--model", "no-such-model")
    assert told.status == 1
    assert "there is no model 'no-such-model'" in told.err
    told = run("render", "hi", "-o", tmp_path / "a.wav", "--condition", "wetness=3", "--seconds", 0.2, *model)
    assert told.status == 2
    assert "wetness" in told.err
    assert not (tmp_path / "a.wav").exists()


def test_no_condition_changes_what_it_should_not(run: Any, tmp_path: Path, model: list[str]) -> None:
    """Another seed gives other samples, the same seed the same: `--seed` is what is used."""
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        assert run("render", "x", "-o", tmp_path / f"{name}.wav", "--seconds", 0.3, "--seed", seed, *model).status == 0
    a, b, c = (sf.read(tmp_path / f"{name}.wav").samples for name in "abc")
    assert np.array_equal(a, c)
    assert not np.array_equal(a, b)
