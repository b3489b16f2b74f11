"""Clips in the hands of others: ExifTool reads every chunk, SoX and libsndfile every sample."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from needs import need

from soundforge import Clip
from soundforge.library import Library
from soundforge.requests import GenerateRequest

pytestmark = pytest.mark.rig
RATE = 48_000


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three bars of 3/4 that began on beat 8, as the server writes them."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (2, round(4.5 * RATE))).astype(np.float32)
    made = Clip(wave, RATE, GenerateRequest(text="warm dub", tags={"start_beat": 8.0}), seed=5, model="starter",
                bpm=120.0, beats_per_bar=3, codes=np.zeros((4, 225), np.int64))
    return Library(tmp_path / "library").save_clip(made, "clip-0001").path


def test_exiftool_reads_tempo_loop_texts_and_origin(clip: Path) -> None:
    need("clips in ExifTool", "exiftool", packages="libimage-exiftool-perl")
    told = subprocess.run(["exiftool", "-j", "-n", str(clip)], capture_output=True, text=True, check=True, timeout=60)
    tags = json.loads(told.stdout)[0]
    assert "Warning" not in tags and "Error" not in tags
    assert (tags["Tempo"], tags["Beats"], tags["AcidizerFlags"]) == (120, 9, 4), "4 = stretch, a loop"
    assert sorted(tags["Meter"].split()) == ["3", "4"] and tags["NumSampleLoops"] == 1
    assert tags["TimeReference"] == 4 * RATE and tags["Originator"] == "SoundForge"
    assert tags["Description"] == tags["Comment"] == "warm dub" and tags["Title"] == "clip-0001"
    assert tags["Software"].startswith("SoundForge") and tags["SampleRate"] == RATE
    assert tags["NumberOfSamples"] == round(4.5 * RATE)


def test_sox_and_libsndfile_read_the_same_samples(clip: Path, tmp_path: Path) -> None:
    need("clips in SoX", "sox", packages="sox")
    copied = tmp_path / "copied.wav"
    subprocess.run(["sox", str(clip), str(copied)], check=True, timeout=60)
    ours, rate = soundfile.read(clip, dtype="float32")
    theirs, _ = soundfile.read(copied, dtype="float32")
    assert rate == RATE and ours.shape == theirs.shape == (round(4.5 * RATE), 2)
    np.testing.assert_allclose(theirs, ours, atol=1e-7)
