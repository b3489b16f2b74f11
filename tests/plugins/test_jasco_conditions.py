"""Drums and melody as JASCO takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from soundforge.audio import Waveform
from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.errors import ConditionError
from soundforge.interfaces import ConditionContext
from soundforge_plugins.jasco.drums import DrumsConditioner, blurred
from soundforge_plugins.jasco.melody import MelodyConditioner

CONTEXT = ConditionContext(32_000, 50.0, 100)


@pytest.mark.parametrize("golden", ["jasco_chords_drums"], indirect=True)
def test_dropped_drums_are_silence_through_the_codec(golden: Path) -> None:
    tensors = load_file(golden / "case.safetensors")
    drums = DrumsConditioner(load_codec_folder(golden / "encodec_32khz"), 3, 16)
    wave = drums.prepare(Waveform(tensors["in.drums_wav"].numpy(), 32_000), CONTEXT)
    assert wave is not None and wave.shape == (64_000,) and drums.prepare(None, CONTEXT) is None
    some = drums.encode([wave, None], CONTEXT)
    torch.testing.assert_close(some.values[:1], tensors["out.drum_latents_blurred"], atol=5e-6, rtol=0)
    assert some.values[1].abs().max() > 0.1
    assert not drums.encode([None, None], CONTEXT).values.any()
    stereo = drums.prepare(Waveform(np.repeat(tensors["in.drums_wav"].numpy(), 2, axis=0), 32_000), CONTEXT)
    torch.testing.assert_close(stereo, wave)
    gone = ConditionContext(32_000, 50.0, 100, options={"source_separation": lambda w: Waveform(w.samples * 0, 32_000)})
    assert not drums.prepare(Waveform(tensors["in.drums_wav"].numpy(), 32_000), gone).any()  # type: ignore[union-attr]


@pytest.mark.parametrize(("n", "factor"), [(100, 3), (99, 3), (7, 4), (5, 1), (2, 3)])
def test_blur_is_the_mean_of_blocks_with_a_mirrored_end(n: int, factor: int) -> None:
    latents = torch.randn(2, n, 3)
    out = blurred(latents, factor)
    assert out.shape == latents.shape
    first = latents[:, :factor].mean(dim=1) if n >= factor else None
    if first is not None:
        torch.testing.assert_close(out[:, 0], first)
    if (n, factor) == (100, 3):
        torch.testing.assert_close(out[:, 99], latents[:, [99, 98, 97]].mean(dim=1))


def melody(bins: int = 53) -> MelodyConditioner:
    return MelodyConditioner(bins)


def with_options(**options: Any) -> ConditionContext:
    return ConditionContext(32_000, 50.0, 100, options=options)


def test_a_tune_from_audio_and_out_of_range_by_octaves() -> None:
    time = np.arange(48_000) / 32_000
    wave = Waveform(np.sin(2 * np.pi * np.where(time < 0.7, 440.0, 523.25) * time) * 0.5, 32_000)
    matrix = melody().prepare(wave, CONTEXT)
    assert matrix is not None and matrix.shape == (53, 100) and matrix.sum(dim=0).max() == 1
    notes = [int(column.argmax()) + 43 if column.any() else None for column in matrix.T]
    assert notes[5:30] == [69] * 25 and notes[42:70] == [72] * 28 and notes[80:] == [None] * 20
    high = melody(12).prepare(wave, with_options(lowest_pitch=48))
    assert high is not None and int(high[:, 10].argmax()) == 69 - 60
    assert melody().encode([matrix, None], CONTEXT).values.shape == (2, 100, 53)


def test_a_matrix_at_another_rate_is_read_at_its_times() -> None:
    matrix = np.zeros((53, 172), np.float32)
    matrix[7, :86] = 1
    out = melody().prepare(matrix, with_options(frame_rate_hz=86))
    assert out is not None and out[7].tolist() == [1.0] * 50 + [0.0] * 50
    short = melody().prepare(matrix[:, :20], with_options(frame_rate_hz=50))
    assert short is not None and short[7].tolist() == [1.0] * 20 + [0.0] * 80


@pytest.mark.parametrize(("value", "options", "words"), [
    ("la", {}, "came as str, expected audio, a salience matrix"),
    (np.zeros((53, 86)), {}, r"has 86 frames, expected 100 \(2 s at 50 Hz\)"),
    (np.zeros((53, 100), int), {}, r"expected floats \[53, 100\]"),
    (np.full((53, 100), np.nan), {}, "NaN or infinity"),
    (np.zeros((53, 400)), {"frame_rate_hz": 86}, "expected at most 2 s"),
    (np.zeros((53, 100)), {"frame_rate_hz": "fast"}, "expected a number of Hz"),
    (Waveform(np.zeros((1, 96_000)), 32_000), {}, "has 3 s, expected at most 2 s"),
    (Waveform(np.zeros((1, 32_000)), 32_000), {"lowest_pitch": 300}, "expected a MIDI note")])
def test_what_is_wrong_is_named(value: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConditionError, match=words):
        melody().prepare(value, with_options(**options))
