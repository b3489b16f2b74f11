"""Composition and rendering: a seed fixes the piece, labels agree with what sounds, held-out parts are apart."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
from soundforge.tempo import estimate_tempo
from training.captions import Mentioned, describe
from training.compose import HELD_OUT_SEED, compose
from training.frame_labels import beat_positions, chroma_labels
from training.piece import DRUM_NAMES, SCALES, Note, Piece, Track
from training.render import SAMPLE_RATE_HZ, render
from training.samples import is_held_out
from training.soundfonts import PROGRAMS, programs_for
from training.styles import STYLES


def synth_piece(seed: int) -> Piece:
    """The first piece from `seed` on that needs neither soundfont nor samples."""
    while True:
        piece = compose(seed, 6.0)
        if all(track.source == "synth" for track in piece.tracks):
            return piece
        seed += 1


def drum_piece(bpm: float) -> Piece:
    """Four on the floor with off-beat hats, nothing else."""
    kick, hat, clap = (DRUM_NAMES.index(name) for name in ("kick", "hat", "clap"))
    notes = [Note(float(beat), 0.25, kick, 1.0) for beat in range(16)]
    notes += [Note(beat + 0.5, 0.25, hat, 0.7) for beat in range(16)]
    notes += [Note(float(beat), 0.25, clap, 0.7) for beat in range(1, 16, 2)]
    track = Track("drums", "synth", "drum machine", 5, tuple(sorted(notes, key=lambda n: n.start_beats)))
    return Piece(1, "house", bpm, 4, 1, 4, 0, "minor", (track,), 2, 2, "dark", -18.0)


def test_the_same_seed_gives_the_same_sound_and_another_seed_another() -> None:
    piece = synth_piece(10)
    again = compose(piece.seed, 6.0)
    assert again == piece
    np.testing.assert_array_equal(render(piece), render(again))
    other = synth_piece(piece.seed + 1)
    assert other != piece


def test_a_piece_is_whole_bars_at_its_tempo() -> None:
    for seed in range(40):
        piece = compose(seed, 8.0)
        bar_seconds = piece.beats_per_bar * 60.0 / piece.bpm
        assert piece.seconds == pytest.approx(piece.bars * bar_seconds)
        assert piece.seconds >= 8.0
        assert all(0 <= n.start_beats < piece.bars * piece.beats_per_bar for t in piece.tracks for n in t.notes)


def test_rendered_length_level_and_peak_are_as_labelled() -> None:
    piece = synth_piece(20)
    wave = render(piece)
    assert len(wave) == round(piece.seconds * SAMPLE_RATE_HZ)
    assert np.abs(wave).max() <= 0.981
    assert 10 * np.log10(np.mean(wave.astype(np.float64) ** 2)) == pytest.approx(piece.level_db, abs=1.5)


@pytest.mark.parametrize("bpm", [84.0, 97.3, 120.0, 128.0, 151.0])
def test_the_tempo_that_sounds_is_the_label(bpm: float) -> None:
    heard = estimate_tempo(render(drum_piece(bpm)), SAMPLE_RATE_HZ)
    assert any(abs(heard.bpm * octave / bpm - 1) < 0.01 for octave in (0.5, 1.0, 2.0))
    assert heard.confidence > 0.3


def test_beats_sound_where_the_labels_put_them() -> None:
    piece = drum_piece(120.0)
    wave = np.abs(render(piece))
    for beat in range(1, 16):
        start = round(beat * 0.5 * SAMPLE_RATE_HZ)
        assert wave[start : start + 800].max() > 3 * wave[start - 800 : start].mean()
    beats = beat_positions(120.0, 100)
    assert beats[24] < 1.0 < beats[25]  # frame 25 begins at 0.5 s


def test_repeats_of_a_loop_are_alike() -> None:
    piece = drum_piece(120.0)
    wave = render(piece)
    bar = 2 * SAMPLE_RATE_HZ
    first, second = wave[:bar], wave[bar : 2 * bar]
    assert np.corrcoef(first, second)[0, 1] > 0.9


def test_chroma_labels_hold_the_notes_that_sound() -> None:
    track = Track("lead", "synth", "organ", 3, (Note(0.0, 2.0, 60, 1.0), Note(2.0, 2.0, 69, 1.0)))
    piece = Piece(1, "folk", 60.0, 4, 1, 1, 0, "major", (track,), 0, 1, "calm", -18.0)
    chroma = chroma_labels(piece, 200)
    assert chroma[50].argmax() == 0
    assert chroma[150].argmax() == 9
    assert chroma[50].sum() == pytest.approx(1.0)


def test_pitched_notes_stay_in_key() -> None:
    inside = total = 0
    for seed in range(60):
        piece = compose(seed, 8.0)
        scale = {(piece.key + step) % 12 for step in SCALES[piece.mode]}
        for track in piece.tracks:
            if track.role in ("chords", "arp", "lead"):
                inside += sum(note.pitch % 12 in scale for note in track.notes)
                total += len(track.notes)
    assert inside / total > 0.97


@pytest.mark.slow
def test_every_style_is_composed_and_captions_name_things() -> None:
    pieces = [compose(seed, 4.0) for seed in range(400)]
    assert {piece.style for piece in pieces} == {style.name for style in STYLES}
    rng = np.random.default_rng(0)
    texts = " ".join(describe(piece, rng, 0, 1)[0] for piece in pieces)
    for word in ("bpm", "no drums", "bass", "techno", "dark", "minor"):
        assert word in texts


def test_captions_say_what_they_report() -> None:
    rng = np.random.default_rng(1)
    for seed in range(200):
        piece = compose(seed, 4.0)
        text, said = describe(piece, rng, 2, 0)
        if said.drums == 0:
            assert not piece.has_drums
        assert said.bpm in (None, piece.bpm)
        assert said.key in (None, piece.key)
        assert said.mode is None or said.key is not None
        assert set(said.instruments) <= {t.patch.removeprefix("sf ") for t in piece.tracks}
        if said == Mentioned(None, None, None, None, None, None, None, None, ()):
            assert text == ""


def test_held_out_programs_and_samples_are_not_trained_on() -> None:
    assert compose(HELD_OUT_SEED).held_out
    assert not compose(HELD_OUT_SEED - 1).held_out
    for patch, programs in PROGRAMS.items():
        if len(programs) > 1:
            assert not set(programs_for(patch, True)) & set(programs_for(patch, False)), patch
    names = sorted([f"bd_{i}" for i in range(10)] + ["loop_x"])
    assert [name for name in names if is_held_out(names, name)] == ["bd_4", "bd_9", "loop_x"]
