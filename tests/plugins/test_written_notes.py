"""Chords and melodies that are written down, in a chroma slot: the pitch classes the model is given are those meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch

import soundforge as sf
from soundforge.chord_names import parse_chord
from soundforge.errors import CheckpointError, ConditionError, PluginError
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import ConditionContext, ConditionerSetup, Slot
from soundforge.midi_notes import Note
from soundforge.note_sound import chord_notes, in_time, note_pitch, sounded
from soundforge.testing import check_conditioner
from soundforge_plugins.chroma.melody import highest

STARTER = Slot("chroma", "starter_chroma", 12, "sum", 50.0)
MELODY = Slot("chroma", "chroma", 12, "prepend", options={
    "sample_rate": 32_000, "radix2_exp": 14, "winhop": 4096, "argmax": True, "length_frames": 60})
CONTEXT = ConditionContext(32_000, 50.0, 200, bpm=120.0, seed=1)
C, D, E, F, G, A = 0, 2, 4, 5, 7, 9


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return create_host()


def features(host: PluginHost, name: str, value: Any, slot: Slot = STARTER,
             context: ConditionContext = CONTEXT) -> torch.Tensor:
    made = host.conditioner(name, ConditionerSetup(slot))
    return made.encode([made.prepare(value, context)], context).values[0]


def classes(features: torch.Tensor, seconds: float, rate: float = 50.0, level: float = 0.4) -> set[int]:
    """Pitch classes that stand out at a time."""
    return set(torch.nonzero(features[int(seconds * rate)] > level).flatten().tolist())


def test_a_chord_a_bar_is_in_the_features_bar_by_bar(host: PluginHost) -> None:
    values = features(host, "chords", "Am F")  # bars of 2 s at 120 BPM
    assert classes(values, 1.0) == {A, C, E} and classes(values, 3.0) == {F, A, C}


def test_without_a_tempo_they_are_spread_over_the_new_audio(host: PluginHost) -> None:
    values = features(host, "chords", "C G Am F", context=replace(CONTEXT, bpm=None))
    assert [classes(values, at) for at in (0.5, 1.5, 2.5, 3.5)] == [{C, E, G}, {G, 11, D}, {A, C, E}, {F, A, C}]


def test_times_beats_pairs_and_rests(host: PluginHost) -> None:
    by_text = features(host, "chords", "C@0 N@1 G@2")
    assert classes(by_text, 0.5) == {C, E, G} and not classes(by_text, 1.5) and classes(by_text, 3.5) == {G, 11, D}
    torch.testing.assert_close(features(host, "chords", "C@0b N@2b G@4b"), by_text)
    torch.testing.assert_close(features(host, "chords", [("C", 0), ("N", 1), ("G", 2)]), by_text)


def test_a_melody_beat_by_beat_again_and_again(host: PluginHost) -> None:
    values = features(host, "midi_melody", "C4 E4 G4 -")  # beats of half a second
    strongest = [int(values[int((beat + 0.5) * 25)].argmax()) for beat in (0, 1, 2, 4, 5, 6)]
    assert strongest == [C, E, G, C, E, G]
    assert not classes(values, 1.75)


def midi_file(path: Path, *notes: tuple[int, float, float]) -> Path:
    file = mido.MidiFile(ticks_per_beat=1000)
    events = sorted([(start, 1, pitch) for pitch, start, _ in notes] + [(end, 0, pitch) for pitch, _, end in notes])
    track, now = mido.MidiTrack(), 0.0
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    for time, on, pitch in events:
        track.append(mido.Message("note_on" if on else "note_off", note=pitch, velocity=90,
                                  time=round((time - now) * 1000)))
        now = time
    file.tracks.append(track)
    file.save(path)
    return path


def test_midi_files(host: PluginHost, tmp_path: Path) -> None:
    path = midi_file(tmp_path / "song.mid", (48, 0, 2), (64, 0, 2), (67, 0, 1), (48, 2, 4), (53, 2, 4), (69, 2, 4))
    chords, melody = features(host, "chords", path), features(host, "midi_melody", path)
    assert classes(chords, 0.5) == {C, E, G} and classes(chords, 3.0) == {C, F, A}
    assert [int(melody[round(at * 50)].argmax()) for at in (0.5, 1.5, 3.0)] == [G, E, A]


def test_the_highest_note_that_sounds() -> None:
    notes = [Note(0, 3, 60), Note(1, 2, 72), Note(4, 5, 50)]
    assert highest(notes) == [Note(0, 1, 60), Note(1, 2, 72), Note(2, 3, 60), Note(4, 5, 50)]


def test_a_melody_checkpoints_slot_hears_one_class_at_a_time(host: PluginHost) -> None:
    """MusicGen Melody's features: the strongest class alone, 60 frames of 0.128 s, the null melody is C throughout."""
    values = features(host, "midi_melody", "A4@0 E4@2", MELODY)
    assert values.shape == (60, 12) and torch.equal(values.sum(-1), torch.ones(60))
    assert int(values[6].argmax()) == A and int(values[24].argmax()) == E
    chord = features(host, "chords", "F@0", MELODY)
    assert int(chord[10].argmax()) == F  # the root stands out
    made = host.conditioner("chords", ConditionerSetup(MELODY))
    assert torch.equal(made.encode([None], CONTEXT).values[0].argmax(-1), torch.zeros(60, dtype=torch.long))


@pytest.mark.parametrize("name", ["chords", "midi_melody"])
def test_they_keep_the_contract_in_front_of_the_sequence_too(host: PluginHost, name: str) -> None:
    """In the starter's slot `plugin check` checks them."""
    descriptor = host.registries.conditioners[name]
    value, other = descriptor.example_values()
    check_conditioner(host.conditioner(name, ConditionerSetup(MELODY)), value, other=other, slot=MELODY,
                      descriptor=descriptor)


@pytest.mark.parametrize(("name", "value", "what"), [
    ("chords", "Hm", "chord 'Hm' is unknown"), ("chords", "C@x", "expected symbols with start times"),
    ("chords", 5, "came as int, expected chords"), ("chords", "N N", "without any note"),
    ("chords", ", ,", "expected chords"),
    ("chords", "C@500", "expected 0 to below 120"), ("midi_melody", "H4", "note 'H4' is unknown"),
    ("midi_melody", "128", "note '128' is unknown"), ("midi_melody", "C99", "is unknown"),
    ("midi_melody", {}, "came as dict, expected notes"), ("midi_melody", "- -", "without any note"),
    ("midi_melody", Path("none.mid"), "cannot be read as MIDI"),
])
def test_what_is_refused(host: PluginHost, name: str, value: Any, what: str) -> None:
    with pytest.raises(ConditionError, match=what):
        features(host, name, value)


def test_note_names() -> None:
    names = ("C4", "Bb3", "f#5", "60", "C", "-", "C-1")
    assert [note_pitch(name) for name in names] == [60, 58, 78, 60, 60, None, 0]


def test_in_time_covers_what_is_asked_for_in_whole_rounds() -> None:
    track, seconds = in_time(["a", "b"], 0.5, 2.2)
    assert seconds == 3.0 and track[:3] == [("a", 0.0), ("b", 0.5), ("a", 1.0)] and len(track) == 6
    assert in_time(["a"] * 10, 60.0, 30.0)[1] == 600.0  # never less than one round
    assert in_time(["a"], 1.0, 1e9)[1] == 120.0


def test_sounds_are_bounded_and_as_long_as_asked() -> None:
    chord = parse_chord("Bm7b5/D")
    assert chord is not None
    wave = sounded([*chord_notes(chord, 0, 1), *chord_notes(chord, 0.5, 9)], 2.0)
    assert wave.n_samples == 64_000 and wave.peak() <= 1.0 and np.isfinite(wave.samples).all()


def test_a_slot_whose_own_conditioner_takes_notes_is_refused(host: PluginHost) -> None:
    with pytest.raises((CheckpointError, PluginError), match="expected one that hears audio"):
        host.conditioner("midi_melody", ConditionerSetup(replace(STARTER, conditioner="midi_melody")))


def test_the_starter_plays_something_else_for_them() -> None:
    with sf.load("starter", device="cpu") as engine:
        plain, chords, melody = (engine.generate(seconds=0.5, bpm=120, seed=3, conditions=conditions) for conditions in
                                 ({}, {"chords": "Am F C G"}, {"midi_melody": "C4 E4 G4"}))
    assert not np.array_equal(plain.codes, chords.codes) and not np.array_equal(chords.codes, melody.codes)
