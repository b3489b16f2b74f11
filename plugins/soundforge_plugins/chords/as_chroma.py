"""Chords for a checkpoint that follows pitch classes: they are made to sound, and heard by its own conditioner."""

from __future__ import annotations

from soundforge.chord_names import parse_chord
from soundforge.interfaces import ConditionContext, ConditionerSetup, Host
from soundforge.midi_notes import Note
from soundforge.note_sound import chord_notes
from soundforge.written_notes import WrittenNotes, hearing


class ChordsAsChroma(WrittenNotes):
    """Feeds a chroma slot.

    Takes `"Am F C G"` (one chord a bar, from the tempo; spread evenly over the new audio without one; again and
    again), `"C@0 G@2"` and `"C@0b G@4b"` (seconds, beats; the last one is held), a sequence of `(symbol, seconds)`, or
    a MIDI file (a `pathlib.Path`).
    """

    def step_seconds(self, context: ConditionContext, bpm: float) -> float:
        """A bar."""
        return context.beats_per_bar * 60.0 / bpm

    def notes_of(self, symbol: str, start: float, end: float) -> list[Note]:
        """The notes of a chord; none for "N"."""
        chord = parse_chord(symbol)
        return [] if chord is None else chord_notes(chord, start, end)


def make_chords_as_chroma(host: Host, setup: ConditionerSetup) -> ChordsAsChroma:
    """Heard by the conditioner that the checkpoint names; raises CheckpointError when that takes chords itself."""
    return ChordsAsChroma(hearing(host, setup), "chords", "expected chords such as 'Am F C G' (a bar each), 'C@0 G@2' "
                          "(seconds), or a MIDI file as pathlib.Path")
