"""Chords from notes: what sounds together for long enough gets a name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from soundforge.chord_names import name_chord
from soundforge.midi_notes import Note

SHORTEST_SECONDS = 0.12
"""What is shorter is a passing note or fingers that did not come down together."""


def chords_of(notes: Sequence[Note]) -> list[tuple[str, float]]:
    """Chords with their starts in seconds. A chord holds until another one is recognised."""
    edges = sorted({time for note in notes for time in (note.start, note.end)})
    chords: list[tuple[str, float]] = []
    index = 0
    ordered = sorted(notes, key=lambda note: note.start)
    ends: dict[int, float] = {}
    for begin, end in itertools.pairwise(edges):
        while index < len(ordered) and ordered[index].start <= begin:
            ends[ordered[index].pitch] = max(ends.get(ordered[index].pitch, 0.0), ordered[index].end)
            index += 1
        sounding = {pitch for pitch, stop in ends.items() if stop > begin}
        if end - begin < SHORTEST_SECONDS:
            continue
        name = name_chord(sounding)
        if name is not None and (not chords or chords[-1][0] != name):
            chords.append((name, begin))
    return chords
