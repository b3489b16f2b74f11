"""A melody that is written down, for a checkpoint that follows pitch classes: it is made to sound, and heard."""

from __future__ import annotations

from itertools import pairwise

from soundforge.interfaces import ConditionContext, ConditionerSetup, Host
from soundforge.midi_notes import Note
from soundforge.note_sound import note_pitch
from soundforge.written_notes import WrittenNotes, hearing


class MidiMelody(WrittenNotes):
    """Feeds a chroma slot.

    Takes `"C4 E4 G4 -"` (one note a beat, from the tempo; spread evenly over the new audio without one; again and
    again; `-` is a rest), `"C4@0 60@0.5"` and `"C4@0b"` (seconds, beats; the last one is held), a sequence of
    `(note, seconds)`, or a MIDI file (a `pathlib.Path`), of which the highest note that sounds is taken.
    """

    def step_seconds(self, context: ConditionContext, bpm: float) -> float:
        """A beat."""
        return 60.0 / bpm

    def notes_of(self, symbol: str, start: float, end: float) -> list[Note]:
        """The note; none for a rest."""
        pitch = note_pitch(symbol)
        return [] if pitch is None else [Note(start, end, pitch)]

    def of_file(self, notes: list[Note]) -> list[Note]:
        """The highest note that sounds at every time."""
        return highest(notes)


def highest(notes: list[Note]) -> list[Note]:
    """The highest note that sounds at every time; parts of one note are one."""
    found: list[Note] = []
    for begin, end in pairwise(sorted({time for note in notes for time in (note.start, note.end)})):
        sounding = [note.pitch for note in notes if note.start <= begin < note.end]
        if not sounding:
            continue
        top = max(sounding)
        if found and found[-1].pitch == top and found[-1].end == begin:
            found[-1] = Note(found[-1].start, end, top)
        else:
            found.append(Note(begin, end, top))
    return found


def make_midi_melody(host: Host, setup: ConditionerSetup) -> MidiMelody:
    """Heard by the conditioner that the checkpoint names; raises CheckpointError when that takes notes itself."""
    return MidiMelody(hearing(host, setup), "midi_melody", "expected notes such as 'C4 E4 G4 -' (a beat each), "
                      "'C4@0 E4@0.5' (seconds), or a MIDI file as pathlib.Path")
