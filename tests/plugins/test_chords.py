"""Chord symbols, chords from notes and MIDI files, and the chords conditioner."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.chord_names import QUALITIES, Chord, format_track, name_chord, parse_chord, parse_track
from soundforge.errors import CheckpointError, ConditionError
from soundforge.interfaces import ConditionContext, ConditionerSetup, Slot
from soundforge.midi_notes import Note, read_notes
from soundforge_plugins.chords.conditioner import ChordsConditioner, frame_rows, make_chords_conditioner
from soundforge_plugins.chords.from_notes import chords_of

chords = st.builds(Chord, st.integers(0, 11), st.sampled_from(sorted(QUALITIES)), st.integers(0, 11))


@given(chord=chords)
def test_a_chord_s_own_name_is_read_back(chord: Chord) -> None:
    assert parse_chord(str(chord)) == chord


@given(text=st.text(max_size=12))
def test_any_text_is_a_chord_or_our_error(text: str) -> None:
    try:
        parse_chord(text)
    except ConditionError as error:
        assert "\n" not in str(error).replace(repr(text), "")


@pytest.mark.parametrize(("symbol", "chord"), [
    ("C", Chord(0, "", 0)), ("Db", Chord(1, "", 1)), ("B#", Chord(0, "", 0)), ("Ebm", Chord(3, "m", 3)),
    ("F#m7b5", Chord(6, "m7b5", 6)), ("Bø", Chord(11, "m7b5", 11)), ("GΔ", Chord(7, "maj7", 7)),
    ("A-7/G", Chord(9, "m7", 7)), ("C/E", Chord(0, "", 4)), ("D°", Chord(2, "dim", 2)), ("E+", Chord(4, "aug", 4)),
    ("N", None), ("N.C.", None), ("nc", None)])
def test_spellings(symbol: str, chord: Chord | None) -> None:
    assert parse_chord(symbol) == chord


@given(root=st.integers(40, 60), quality=st.sampled_from(["", "m", "7", "maj7", "m7", "dim", "m7b5"]))
def test_a_chord_in_root_position_is_named(root: int, quality: str) -> None:
    assert name_chord([root + i for i in QUALITIES[quality]]) == str(Chord(root % 12, quality, root % 12))


@pytest.mark.parametrize(("pitches", "name"), [([52, 55, 60], "C/E"), ([55, 60, 64], "C/G"), ([60], None), ([], None),
                                               ([48, 49, 50, 51], None), ([50, 53, 57, 60, 64], "Dm7")])
def test_inversions_and_clusters(pitches: list[int], name: str | None) -> None:
    assert name_chord(pitches) == name


@given(track=st.lists(st.tuples(chords.map(str), st.floats(0, 1000).map(lambda t: float(f"{t:.6g}"))), min_size=1,
                      max_size=8))
def test_a_track_is_read_as_it_is_written(track: list[tuple[str, float]]) -> None:
    assert parse_track(format_track(track), None) == track


@given(text=st.text(max_size=30))
def test_any_track_is_read_or_our_error(text: str) -> None:
    with contextlib.suppress(ConditionError):
        assert parse_track(text, 120.0)


def test_beats_need_a_tempo() -> None:
    assert parse_track("C@0b, G@4b; Am@3s", 120.0) == [("C", 0.0), ("G", 2.0), ("Am", 3.0)]
    with pytest.raises(ConditionError, match="'G@4b' starts at a beat, but no tempo came"):
        parse_track("G@4b", None)
    # A phrase may be longer than the clip: at this tempo the last chord is not reached.
    assert parse_track("C@0b G@4b Am@8b", 120.0, 4.0) == [("C", 0.0), ("G", 2.0)]
    assert parse_track("C@0 G@4.5", 120.0, 4.0) == [("C", 0.0), ("G", 4.5)]
    with pytest.raises(ConditionError, match=r"all of them at or after 2 s at 60 bpm"):
        parse_track("C@2b", 60.0, 2.0)


def test_chords_of_notes_hold_until_the_next_and_skip_slips() -> None:
    notes = [Note(0.0, 1.0, p) for p in (48, 52, 55)] + [Note(1.0, 1.02, 61)]
    notes += [Note(1.5, 2.0, p) for p in (45, 48, 52)] + [Note(2.0, 3.0, p) for p in (45, 48, 52)]
    assert chords_of(notes) == [("C", 0.0), ("Am", 1.5)]


@pytest.fixture
def midi(tmp_path: Path) -> Path:
    file, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(120)))
    for pitches in ((60, 64, 67), (67, 71, 74, 77)):
        for pitch in pitches:
            track.append(mido.Message("note_on", note=pitch, velocity=90))
        track.append(mido.Message("note_on", channel=9, note=36, velocity=90))
        for index, pitch in enumerate(pitches):
            track.append(mido.Message("note_off", note=pitch, time=0 if index else 960))
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(60)))
    track.append(mido.Message("note_on", note=50, velocity=1))
    track.append(mido.Message("note_on", note=50, velocity=0, time=480))
    file.save(tmp_path / "song.mid")
    return tmp_path / "song.mid"


def test_midi_notes_follow_the_tempo_and_leave_drums_out(midi: Path) -> None:
    notes = read_notes(midi)
    assert [note.pitch for note in notes] == [60, 64, 67, 67, 71, 74, 77, 50]
    assert notes[3] == Note(pytest.approx(1.0), pytest.approx(2.0), 67)
    assert notes[-1].end - notes[-1].start == pytest.approx(1.0)
    with pytest.raises(ConditionError, match="cannot be read as MIDI"):
        read_notes(midi.parent / "absent.mid")
    (midi.parent / "broken.mid").write_bytes(b"MThd" + bytes(40))
    with pytest.raises(ConditionError, match="cannot be read as MIDI"):
        read_notes(midi.parent / "broken.mid")


TABLE = {"N": 0, "C": 2, "G": 4, "G7": 9, "Am": 5}
CONTEXT = ConditionContext(32_000, 50.0, 120, options={"table": TABLE})


def conditioner(card: int = 12) -> ChordsConditioner:
    return ChordsConditioner(torch.arange((card + 1) * 3).view(-1, 3).float(), [])


def test_frames_have_the_last_chord_that_has_started(midi: Path) -> None:
    rows = conditioner().prepare([("G", 1.0), ("C", 0.5)], CONTEXT)
    assert rows is not None and rows.tolist() == [0] * 25 + [2] * 25 + [4] * 70
    assert conditioner().prepare("", CONTEXT) is None and conditioner().prepare(None, CONTEXT) is None
    assert torch.equal(conditioner().prepare(midi, CONTEXT), frame_rows([(2, 0.0), (9, 1.0)], 0, 120, 50.0))
    features = conditioner().encode([rows, None], CONTEXT)
    assert features.values.shape == (2, 120, 3) and features.mask.all()
    assert features.values[0, 0].tolist() == [0, 1, 2] and features.values[1, 5].tolist() == [36, 37, 38]


def test_chords_without_times_are_a_bar_each() -> None:
    """120 frames at 50 Hz: at 150 bpm a bar of 3 beats has 60 frames; without a tempo three chords have 40 each."""
    rows = conditioner().prepare("C G Am", replace(CONTEXT, bpm=150.0, beats_per_bar=3))
    assert rows is not None and rows.tolist() == [2] * 60 + [4] * 60
    rows = conditioner().prepare("C | G | Am", CONTEXT)
    assert rows is not None and rows.tolist() == [2] * 40 + [4] * 40 + [5] * 40
    rows = conditioner().prepare("C, G", replace(CONTEXT, bpm=300.0, beats_per_bar=4))  # 40 frames a bar, and again
    assert rows is not None and rows.tolist() == [2] * 40 + [4] * 40 + [2] * 40


@pytest.mark.parametrize(("value", "words"), [
    (5, "came as int, expected text such as"), ("C C@0", "expected symbols with start times"),
    ("C@1.2.3", "no usable start time"), ([("C", "now")], "expected"), ([("C", float("nan"))], "starts at nan s"),
    ([("C", 3.0)], "expected 0 to below 2.4 s"), ([("Em", 0.0)], "it knows none"), ([1, 2], "expected"),
    (np.zeros(120), "expected \\[120\\] whole numbers"), (np.full(120, 99), "expected 0 to 12"),
    (np.zeros(7, int), "expected \\[120\\] whole numbers")])
def test_what_is_wrong_is_named(value: Any, words: str) -> None:
    with pytest.raises(ConditionError, match=words):
        conditioner().prepare(value, CONTEXT)


def test_the_checkpoint_s_embedding_must_fit() -> None:
    slot = Slot("chords", "chords", 8, "concat")
    with pytest.raises(CheckpointError, match=r"embeddings of width 8, but the checkpoint's have shape \[195, 4\]"):
        make_chords_conditioner(None, ConditionerSetup(slot, {"emb.weight": torch.zeros(195, 4)}))  # type: ignore[arg-type]
