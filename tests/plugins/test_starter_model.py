"""The shipped starter: what is in the package builds, runs and keeps the tempo of what it hears."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import soundforge as sf
from soundforge.host import create_host
from soundforge.interfaces import ConditionerSetup, LoadOptions
from soundforge.nn.starter_conditions import style_summary
from soundforge.requests import GenerateRequest
from soundforge.tempo import estimate_tempo
from soundforge.testing.codecs import check_codec
from soundforge.testing.conditioners import check_conditioner
from soundforge_plugins.starter.codec import WEIGHTS, load_starter_codec
from soundforge_plugins.starter.family import load_starter

RATE = 32_000
pytestmark = pytest.mark.skipif(not (WEIGHTS / "lm.safetensors").is_file(), reason="the package holds no weights")


def drum_loop(bpm: float, seconds: float) -> sf.Waveform:
    """Kick on the beat, hat between, clap on two and four."""
    out = np.zeros(int(seconds * RATE), dtype=np.float32)
    rng = np.random.default_rng(0)
    time = np.arange(4800) / RATE
    kick = np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-time / 0.02)))) * np.exp(-time / 0.06)
    noise = rng.standard_normal(4800)
    hat = 0.25 * np.diff(noise, prepend=0.0) * np.exp(-time / 0.02)
    clap = 0.3 * noise * np.exp(-time / 0.05)
    for half in range(int(seconds * bpm / 30)):
        hit = hat if half % 2 else kick + (clap if half % 4 == 2 else 0.0)
        start = int(half * 30 / bpm * RATE)
        out[start : start + 4800] += 0.5 * hit[: len(out) - start].astype(np.float32)
    return sf.Waveform(out, RATE)


def test_files_are_small_and_say_what_they_are() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 40e6
    config = json.loads((WEIGHTS / "config.json").read_text(encoding="utf-8"))
    for key in ("version", "licence", "provenance", "delays", "window_seconds", "defaults", "sample_rate"):
        assert config[key]
    assert len(config["delays"]) == config["lm"]["n_codebooks"] <= config["codec"]["n_codebooks"]


def test_silence_stays_silent_even_after_sound() -> None:
    codec = load_starter_codec(None)
    samples = torch.zeros(1, 1, 2 * RATE)
    samples[0, 0, :RATE] = torch.from_numpy(drum_loop(120.0, 1.0).samples[0])
    made = codec.decode(codec.encode(samples))
    assert float(made[..., RATE + RATE // 2 :].abs().max()) < 1e-3
    assert float(made[..., :RATE].abs().max()) > 0.1


def test_codec_keeps_level_and_pitch_area() -> None:
    codec = load_starter_codec(None)
    tone = 0.3 * (2 * (220.0 * torch.arange(2 * RATE) / RATE % 1) - 1)
    made = codec.decode(codec.encode(tone[None, None]))[0, 0, RATE:]
    assert 0.7 < float(made.std() / tone.std()) < 1.4
    peak = float(torch.fft.rfft(made * torch.hann_window(RATE)).abs()[:330].argmax())
    assert peak == pytest.approx(220.0, rel=0.06)  # about a semitone


def test_a_drum_loop_is_carried_on_at_its_tempo() -> None:
    engine = sf.load("starter")
    prompt = drum_loop(120.0, 4.0)
    kept = 0
    for seed in range(3):
        clip = engine.extend(prompt, seconds=4, seed=seed, bpm=120.0, only_new=True)
        heard = estimate_tempo(clip.waveform[0], clip.sample_rate).bpm
        kept += any(abs(heard * octave / 120.0 - 1) < 0.03 for octave in (0.5, 1.0, 2.0))
    assert kept >= 2


def test_the_same_seed_gives_the_same_clip_and_another_one_another() -> None:
    engine = sf.load("starter")
    first, again, other = (engine.generate("techno drums", seconds=0.5, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.waveform, again.waveform)
    assert not np.array_equal(first.waveform, other.waveform)


@pytest.mark.parametrize("text", [None, "techno"])
def test_a_live_continuation_knows_the_sound_and_level_of_its_capture(text: str | None) -> None:
    engine = sf.load("starter")
    loop = drum_loop(120.0, 3.0)
    capture = engine.open_prompt(text, bpm=120.0)
    for start in range(0, loop.n_samples, 4000):
        capture.feed(loop.samples[:, start : start + 4000])
    run = capture.continue_(GenerateRequest(text=text, seconds=0.5, bpm=120.0, seed=1))
    window = run._generation.window
    style = window.conditions.values["style"][0]
    assert style is not None
    torch.testing.assert_close(style, style_summary(
        engine.model.codec.decode_latent(capture.codes[None, :, -150:]).transpose(1, 2)))  # type: ignore[union-attr]
    assert window.conditions.values["level"][0] == pytest.approx(
        10 * np.log10((loop.samples[:, : capture.n_frames * 640] ** 2).mean()), abs=0.1)
    if text is not None:  # it leads away from that sound, and sets no tempo or key behind a capture
        said = window.conditions.values["text"][0]
        assert said.style is not None and said.bpm is None and said.key is None
        assert not torch.allclose(said.style, style[0])
    assert sum(chunk.samples.shape[1] for chunk in run) == RATE // 2


def test_a_condition_that_joins_others_enters_without_reading_everything_again() -> None:
    engine = sf.load("starter")
    capture = engine.open_prompt(bpm=120.0)
    capture.feed(drum_loop(120.0, 2.0).samples)
    run = capture.continue_(GenerateRequest(seconds=2.0, bpm=120.0, seed=1, conditions={"style": "off"}))
    window, sounds = run._generation.window, iter(run)
    next(sounds)
    passes, before = window.passes, window.guided_logits()
    run.update(conditions={"style": None})  # the capture's own again
    assert window.passes is passes
    next(sounds)
    assert not torch.equal(window.guided_logits(), before)
    run.update(conditions={"text": "dark techno"})  # weighted apart: another row
    assert window.passes is not passes


@pytest.mark.parametrize("name", ["text", "transport", "chroma", "style", "level"])
def test_conditioners_of_the_package_keep_the_contract(name: str) -> None:
    host = create_host()
    parts = load_starter(host, None, LoadOptions())
    weights = next(item for item in parts.slots if item.slot.name == name)
    setup = ConditionerSetup(weights.slot, tensors=weights.tensors, codec=parts.codec, config=parts.config)
    conditioner = host.conditioner(weights.slot.conditioner, setup)
    value, other = {"text": ("dark techno", "harp"), "transport": (120.0, 90.0), "level": (-20.0, -30.0)}.get(
        name, (drum_loop(100.0, 3.0), drum_loop(140.0, 3.0)))
    check_conditioner(conditioner, value, slot=weights.slot, other=None if name == "chroma" else other,
                      descriptor=host.registries.conditioners[weights.slot.conditioner])


def test_codec_of_the_package_keeps_the_contract() -> None:
    check_codec(load_starter_codec(None))
