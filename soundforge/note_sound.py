"""Notes as a plain sound: for conditions that understand a melody or chords by hearing them.

What a checkpoint was trained to follow is pitch classes heard in audio. Notes that are written down are therefore
made to sound, as sines in one octave, and heard by the checkpoint's own conditioner: its features are then the ones
it was trained with, whatever their window, rate, or null condition are. No torch here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from soundforge.audio import Waveform
from soundforge.chord_names import QUALITIES, Chord
from soundforge.errors import ConditionError
from soundforge.midi_notes import Note

RATE = 32_000
LOWEST_PITCH = 60
LEVEL = 0.2
ROOT_LEVEL = 1.1
"""A chord's root stands out a little: features that keep the strongest class alone keep the root."""
RAMP_SECONDS = 0.005
LONGEST_SECONDS = 120.0
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NOTE = re.compile(r"([A-Ga-g])([#b♯♭]*)(-?\d)?")
RESTS = ("-", "r", "rest", "n", "n.c.", "nc")


def note_pitch(name: str) -> int | None:
    """MIDI pitch of a name such as "C4", "Bb3", "f#5" or "60"; the octave may be left out (4). None for a rest ("-").

    Raises:
        ConditionError: no note.
    """
    if name.lower() in RESTS:
        return None
    if name.isascii() and name.isdigit() and int(name) <= 127:
        return int(name)
    match = _NOTE.fullmatch(name)
    pitch = -1
    if match is not None:
        shift = sum(1 if sign in "#♯" else -1 for sign in match[2])
        pitch = 12 * (int(match[3] or 4) + 1) + _LETTERS[match[1].upper()] + shift
    if not 0 <= pitch <= 127:
        raise ConditionError(f"note {name[:20]!r} is unknown; expected a name such as C4, F#3 or Bb, a MIDI number "
                             "from 0 to 127, or - for a rest")
    return pitch


def chord_notes(chord: Chord, start: float, end: float) -> list[Note]:
    """The notes of a chord, its root first."""
    classes = [(chord.root + interval) % 12 for interval in QUALITIES[chord.quality]]
    if chord.bass not in classes:
        classes.append(chord.bass)
    return [Note(start, end, LOWEST_PITCH + pitch_class) for pitch_class in classes]


def sounded(notes: Sequence[Note], seconds: float) -> Waveform:
    """Notes as sines of their pitch classes in the octave above middle C, mono.

    Args:
        notes: those that begin together: the first of them is taken as the root.
        seconds: length, above 0.
    """
    total = max(1, math.ceil(seconds * RATE))
    out = np.zeros(total, dtype=np.float64)
    roots: set[float] = set()
    for note in notes:
        first, last = round(note.start * RATE), min(round(note.end * RATE), total)
        if first < 0 or last <= first:
            continue
        hz = 440.0 * 2 ** ((LOWEST_PITCH + note.pitch % 12 - 69) / 12)
        n = last - first
        ramp = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (RAMP_SECONDS * RATE))
        level = LEVEL * (1.0 if note.start in roots else ROOT_LEVEL)
        roots.add(note.start)
        out[first:last] += level * ramp * np.sin(2 * np.pi * hz * np.arange(n) / RATE)
    return Waveform((out / max(1.0, np.abs(out).max())).astype(np.float32), RATE)


def example_sounds() -> tuple[Waveform, ...]:
    """Two different sounds of 3.2 s, for conditioners that take audio: `ConditionerDescriptor(examples=...)`."""
    return sounded([Note(0.0, 1.6, 69), Note(1.6, 3.2, 72)], 3.2), sounded([Note(0.0, 3.2, 64)], 3.2)


def in_time(names: Sequence[str], step_seconds: float, seconds: float) -> tuple[list[tuple[str, float]], float]:
    """Names at even steps, again and again: pairs of name and start, and the length that whole rounds take.

    Args:
        step_seconds: length of one.
        seconds: that must be covered, as far as whole rounds fit into two minutes (at least one).
    """
    round_seconds = len(names) * step_seconds
    rounds = max(1, min(math.ceil(seconds / round_seconds - 1e-9), int(LONGEST_SECONDS / round_seconds)))
    return [(name, (r * len(names) + index) * step_seconds) for r in range(rounds)
            for index, name in enumerate(names)], rounds * round_seconds
