"""`soundforge render` and `bench` with JASCO, MAGNeT and MultiBandDiffusion: conditions from files, and once more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile
from goldens import find_golden

from soundforge.wav import read_clip

pytestmark = pytest.mark.slow


@pytest.fixture
def jasco(tmp_path: Path) -> Path:
    """A JASCO checkpoint with its chord table."""
    case = find_golden("jasco_chords_drums_melody")
    if case is None:
        pytest.skip("no golden case jasco_chords_drums_melody")
    folder = tmp_path / "jasco"
    shutil.copytree(case, folder)
    table = json.loads((case / "case.json").read_text())["chord_indices"]
    (folder / "chord_to_index_mapping.json").write_text(json.dumps(table))
    return folder


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A MIDI file: C for a second, then G7."""
    file, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    file.tracks.append(track)
    for pitches in ((60, 64, 67), (67, 71, 74, 77)):
        track.extend(mido.Message("note_on", note=pitch, velocity=90) for pitch in pitches)
        track.extend(mido.Message("note_off", note=pitch, time=0 if index else 960)
                     for index, pitch in enumerate(pitches))
    file.save(tmp_path / "song.mid")
    return tmp_path / "song.mid"


def test_jasco_from_midi_and_audio_and_again(run: Any, tmp_path: Path, jasco: Path, song: Path) -> None:
    time = np.arange(32_000) / 32_000
    soundfile.write(tmp_path / "hum.wav", 0.4 * np.sin(2 * np.pi * 440 * time), 32_000)
    options = ("--model", jasco, "--seconds", 1, "--seed", 4, "--option", "solver=euler,steps=4")
    for chords in (song, "C@0b G7@2b"):
        told = run("render", "calm piano", "-o", tmp_path / "a.wav", "--condition", f"chords={chords}", "--melody",
                   tmp_path / "hum.wav", "--condition", f"drums={tmp_path / 'hum.wav'}", "--bpm", 120, *options)
        assert told.status == 0, told.err
        again = run("render", "--again", tmp_path / "a.wav", "-o", tmp_path / "b.wav")
        assert again.status == 0, again.err
        np.testing.assert_array_equal(read_clip(tmp_path / "a.wav").waveform, read_clip(tmp_path / "b.wav").waveform)
    assert read_clip(tmp_path / "a.wav").request.options == {"solver": "euler", "steps": 4}
    told = run("render", "calm piano", "-o", tmp_path / "a.wav", "--condition", f"chords={song}", *options)
    assert told.status == 0, told.err
    assert read_clip(tmp_path / "a.wav").request.conditions["chords"]["file"] == "song.mid"
    song.write_bytes(song.read_bytes() + b"\0")
    changed = run("render", "--again", tmp_path / "a.wav", "-o", tmp_path / "b.wav")
    assert changed.status == 2 and "not the file that the clip was made with as 'chords'" in changed.err
    song.unlink()
    gone = run("render", "--again", tmp_path / "a.wav", "-o", tmp_path / "b.wav")
    assert gone.status == 2 and "give it with --condition chords=FILE" in gone.err


def test_what_jasco_cannot_is_one_line(run: Any, tmp_path: Path, jasco: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(96_000), 32_000)
    for options, words in ((("--condition", "chords=Em@0"), "chord 'Em' is unknown to the model; with this root"),
                           (("--condition", f"drums={tmp_path / 'long.wav'}"), "has 3 s, expected at most 2 s"),
                           (("--continue", tmp_path / "long.wav"), "cannot continue audio"),
                           (("--option", "wings=2"), "'wings' is unknown to JASCO"),
                           (("--option", "steps"), "expected key=value"),
                           (("--style", tmp_path / "long.wav"), "has no slot for it")):
        told = run("render", "x", "-o", tmp_path / "a.wav", "--model", jasco, *options)
        assert told.status == 2 and words in told.err and len(told.err.strip().splitlines()) == 1, told.err


def test_another_decoder_with_options_and_again(run: Any, tmp_path: Path) -> None:
    case, mbd = find_golden("magnet"), find_golden("multiband_diffusion")
    if case is None or mbd is None:
        pytest.skip("no golden case magnet or multiband_diffusion")
    model = tmp_path / "magnet"
    shutil.copytree(case, model)
    shutil.copy(mbd / "mbd_musicgen_32khz.th", model)
    options = ("--model", model, "--seconds", 0.5, "--seed", 4, "--option", "decoding_steps=5/3/3/2,cfg_min=0.5")
    told = run("render", "x", "-o", tmp_path / "a.wav", "--decoder", "mbd:steps=2,equalise=each", *options)
    assert told.status == 0, told.err
    made = read_clip(tmp_path / "a.wav")
    assert made.request.options == {"decoding_steps": [5, 3, 3, 2], "cfg_min": 0.5}
    assert made.request.decoder == "mbd" and made.request.decoder_options == {"steps": 2, "equalise": "each"}
    again = run("render", "--again", tmp_path / "a.wav", "-o", tmp_path / "b.wav")
    assert again.status == 0, again.err
    np.testing.assert_array_equal(made.waveform, read_clip(tmp_path / "b.wav").waveform)
    for decoder, words in (("mbd:stepps=2", "'stepps' is unknown to mbd"), ("magic", "expected one of mbd"),
                           ("mbd other", "expected one name")):
        told = run("render", "x", "-o", tmp_path / "c.wav", "--decoder", decoder, *options)
        assert told.status in (1, 2) and words in told.err, told.err
    benched = run("bench", "--model", model, "--runs", 1, "--json")
    assert benched.status == 0, benched.err
    assert json.loads(benched.out)["seconds"] == 2.0  # what the model makes at once
