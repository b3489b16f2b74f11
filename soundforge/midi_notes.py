"""Notes from a Standard MIDI File, in seconds: for conditions that take MIDI (chords, melody)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from soundforge.errors import ConditionError

_DRUM_CHANNEL = 9
_MOST_NOTES = 200_000


@dataclass(frozen=True, slots=True)
class Note:
    """A note: `start` and `end` in seconds, MIDI `pitch` 0 to 127 (60 = middle C)."""

    start: float
    end: float
    pitch: int


def read_notes(path: str | Path) -> list[Note]:
    """All notes of a MIDI file but those of the drum channel, by start; the file's tempo changes are followed.

    Raises:
        ConditionError: missing or no MIDI file.
    """
    import mido

    try:
        file = mido.MidiFile(str(path))
        messages = [(message.type, getattr(message, "channel", 0), getattr(message, "note", 0),
                     getattr(message, "velocity", 0), message.time) for message in file]
    except (OSError, ValueError, EOFError, KeyError, IndexError, TypeError) as error:
        raise ConditionError(f"{str(path)!r} cannot be read as MIDI ({type(error).__name__}: {error}); expected a "
                             "Standard MIDI File (.mid)") from error
    return notes_of(messages)


def notes_of(messages: list[tuple[str, int, int, int, float]]) -> list[Note]:
    """Notes from messages `(type, channel, pitch, velocity, seconds since the one before)`."""
    time = 0.0
    held: dict[tuple[int, int], float] = {}
    notes: list[Note] = []
    for kind, channel, pitch, velocity, wait in messages:
        time += wait
        if kind not in ("note_on", "note_off") or channel == _DRUM_CHANNEL:
            continue
        begun = held.pop((channel, pitch), None)  # a second note-on ends the first
        if begun is not None and time > begun:
            notes.append(Note(begun, time, pitch))
        if kind == "note_on" and velocity > 0:
            held[channel, pitch] = time
        if len(notes) > _MOST_NOTES:
            raise ConditionError(f"the MIDI file has more than {_MOST_NOTES} notes; expected a piece of a song")
    notes += [Note(begun, time, pitch) for (_, pitch), begun in held.items() if time > begun]
    return sorted(notes, key=lambda note: (note.start, note.pitch))
