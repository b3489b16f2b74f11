"""The chroma conditioner: the reference's features, padding, tiling and null melody, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_cases import FolderHost, conditioner_of, context, lm_case, projected, slot_of

from soundforge import Clip, Waveform
from soundforge.errors import AudioError, CheckpointError, ConditionError
from soundforge.interfaces import ConditionContext, ConditionerSetup
from soundforge.nn.chroma import ChromaExtractor, chroma_filter_bank
from soundforge_plugins.chroma.conditioner import ChromaConditioner, make_chroma_conditioner

NOTES = {"C": 261.63, "E": 329.63, "A": 440.0}


def _tone(hz: float, seconds: float, rate: int = 32000) -> Waveform:
    return Waveform(np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate).astype(np.float32) * 0.5, rate)


def _conditioner(length: int | None = 235, window: int = 1 << 14) -> ChromaConditioner:
    return ChromaConditioner(ChromaExtractor(32000, window=window), length)


@pytest.mark.parametrize("golden", ["musicgen_melody"], indirect=True)
def test_features_are_the_references(golden: Path) -> None:
    case = lm_case(golden)
    chroma = conditioner_of(case.parts, "chroma")
    case.close("out.chroma_norm", chroma.extractor.normalised(case["in.melody_wav"]))
    case.close("out.chroma", chroma.extractor.one_hot(case["in.melody_wav"]))
    assert chroma.length == case.about["chroma_len"]


@pytest.mark.parametrize("golden", ["musicgen_melody"], indirect=True)
def test_conditions_with_and_without_melody_are_the_references(golden: Path) -> None:
    case = lm_case(golden)
    chroma, item = conditioner_of(case.parts, "chroma"), slot_of(case.parts, "chroma")
    melody = chroma.prepare(case.wave("in.melody_wav"), context())
    mixed = chroma.encode([melody, None], context())
    case.close("out.melody_cond", projected(item, mixed))
    case.close("out.melody_mask", mixed.mask.float())
    case.close("out.melody_cond_all_none", projected(item, chroma.encode([None], context())))


@pytest.mark.parametrize("golden", ["hf_musicgen_melody"], indirect=True)
def test_the_transformers_variant_is_the_references(golden: Path) -> None:
    case = lm_case(golden)
    chroma = conditioner_of(case.parts, "chroma")
    waves = [chroma.prepare(case.wave(name), context()) for name in ("in.melody_wav", "in.melody_wav_2")]
    for name, batch in (("in.input_features", waves), ("in.input_features_single", waves[:1])):
        wanted = case[name]
        found = chroma.encode(batch, context()).values
        assert found.shape[1] == case.parts.config["chroma_length"] == 40
        tiled = wanted.repeat(1, math.ceil(40 / wanted.shape[1]), 1)[:, :40]
        assert torch.equal(found, tiled)


def test_the_filter_bank_has_the_published_shape_and_norm() -> None:
    bank = chroma_filter_bank(32000, 1 << 14)
    assert bank.shape == (12, 8193) and bank.dtype == np.float32
    octaves = np.log2(np.arange(1, 8193) * 32000 / 16384 / 27.5)
    weight = np.exp(-0.5 * ((octaves - 5) / 2) ** 2)
    np.testing.assert_allclose(np.linalg.norm(bank[:, 1:], axis=0), weight, rtol=1e-4)


@pytest.mark.parametrize(("note", "bin_"), [("C", 0), ("E", 4), ("A", 9)])
def test_a_note_lights_its_own_class(note: str, bin_: int) -> None:
    features = _conditioner().encode([_prepared(_tone(NOTES[note], 3.0))], context()).values
    assert features.shape == (1, 235, 12) and set(features[0].argmax(-1).tolist()) == {bin_}


def _prepared(wave: Waveform) -> torch.Tensor:
    prepared = _conditioner().prepare(wave, context())
    assert prepared is not None
    return prepared


def test_a_shorter_melody_in_a_batch_is_followed_by_class_c() -> None:
    long, short = _prepared(_tone(NOTES["A"], 4.0)), _prepared(_tone(NOTES["E"], 1.0))
    classes = _conditioner(None).encode([long, short], context()).values.argmax(-1)
    assert set(classes[0].tolist()) == {9}
    assert classes[1, 2] == 4 and set(classes[1, -8:].tolist()) == {0}


def test_other_rates_channels_and_clips_are_taken() -> None:
    tone = _tone(NOTES["A"], 2.0, 44100)
    stereo = Waveform(np.stack([tone.samples[0], tone.samples[0]]), 44100)
    for value in (tone, stereo, Clip(tone.samples, 44100)):
        prepared = _conditioner().prepare(value, context())
        assert prepared is not None and prepared.shape == (64000,)
        assert int(_conditioner().encode([prepared], context()).values[0, 3].argmax()) == 9


@pytest.mark.parametrize("n_samples", [1, 2, 100, 16383, 16384, 16385, 40_000])
def test_any_length_works(n_samples: int) -> None:
    wave = Waveform(np.full(n_samples, 0.1, dtype=np.float32), 32000)
    condition = _conditioner().encode([_prepared(wave)], context())
    assert condition.values.shape == (1, 235, 12) and bool(condition.mask.all())
    assert bool((condition.values.sum(-1) == 1).all())


@pytest.mark.parametrize(("value", "words"), [
    ("hum.wav", "came as str, expected audio"), (np.zeros(100), "came as ndarray"),
    (Waveform(np.zeros(0, dtype=np.float32), 32000), "no samples"),
])
def test_what_is_no_melody_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ConditionError, match=words):
        _conditioner().prepare(value, context())


def test_source_separation_is_used_and_checked() -> None:
    seen: list[Waveform] = []

    def keep_the_tune(wave: Waveform) -> Waveform:
        seen.append(wave)
        return _tone(NOTES["E"], 2.0, 44100)

    where = context(options={"source_separation": keep_the_tune})
    prepared = _conditioner().prepare(_tone(NOTES["A"], 2.0), where)
    assert len(seen) == 1 and set(_conditioner().encode([prepared], where).values[0].argmax(-1).tolist()) == {4}
    with pytest.raises(ConditionError, match="came as str, expected a callable"):
        _conditioner().prepare(_tone(440, 1.0), context(options={"source_separation": "demucs"}))
    with pytest.raises(ConditionError, match="got option 'demucs', expected source_separation"):
        _conditioner().prepare(None, context(options={"demucs": True}))
    with pytest.raises(ConditionError, match="gave a int"):
        _conditioner().prepare(_tone(440, 1.0), context(options={"source_separation": lambda wave: 3}))
    with pytest.raises(AudioError):
        Waveform(np.array([np.nan], dtype=np.float32), 32000)


@given(start=st.integers(0, 4000), n_samples=st.integers(1, 70_000), seconds=st.sampled_from([0.5, 1.2, 2.0]))
def test_beyond_the_window_the_wave_is_read_on_periodically(start: int, n_samples: int, seconds: float) -> None:
    """The reference's positions: from int(offset in seconds * rate), modulo the true length."""
    wave = torch.arange(n_samples, dtype=torch.float32)
    where = ConditionContext(32000, 50.0, 300, window_start_frames=start, window_seconds=seconds)
    found = _conditioner(None, 1 << 10)._in_window(wave, where)
    first = int(start / 50.0 * 32000)
    wanted = (np.arange(first, first + int(seconds * 32000)) % n_samples).astype(np.float32)
    np.testing.assert_array_equal(found.numpy(), wanted)


def test_within_the_window_the_features_are_tiled_instead() -> None:
    wave = _prepared(_tone(NOTES["A"], 1.0))
    short = _conditioner(None).encode([wave], context()).values
    assert torch.equal(_conditioner(20).encode([wave], context()).values, short.repeat(1, 3, 1)[:, :20])


@pytest.mark.parametrize("golden", ["musicgen_melody"], indirect=True)
def test_a_checkpoint_trained_on_all_classes_gets_all(golden: Path) -> None:
    """AudioCraft's `argmax: false`: the features before the argmax; silence is zero then."""
    case = lm_case(golden)
    item = slot_of(case.parts, "chroma")
    slot = replace(item.slot, options={**item.slot.options, "argmax": False})
    setup = ConditionerSetup(slot, item.tensors, case.folder, "audiocraft", case.parts.config)
    chroma = make_chroma_conditioner(FolderHost(), setup)
    found = chroma.encode([chroma.prepare(case.wave("in.melody_wav"), context()), None], context()).values
    case.close("out.chroma_norm", found[:1, :8])
    assert not found[1].any()
    with pytest.raises(ConditionError, match="width 24, but chroma with 12"):
        make_chroma_conditioner(FolderHost(), replace(setup, slot=replace(slot, width=24)))
    with pytest.raises(CheckpointError, match=r"window of the checkpoint has shape \[16384\], expected \[4096\]"):
        make_chroma_conditioner(FolderHost(), replace(setup, slot=replace(slot, options={**slot.options,
                                                                                         "radix2_exp": 12})))
