"""Chords that are played on a keyboard become the chords of the next clip. Pure logic: no ports, no clock of its own.

A phrase of some beats goes round: a chord takes the place in it where the transport stood, on the nearest line of a
grid (a chord that is struck just before the beat means the beat). Chords of the last time round stay until they are
played anew. The condition is text such as `"C@0b Am@4b F@8b G@12b"`, times in beats from the start of the phrase.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from soundforge.chord_names import name_chord

CONDITION = "chords"


@dataclass(frozen=True, slots=True)
class ChordInput:
    """Where chords are played.

    Args:
        channel: 1 to 16; its notes do nothing else.
        beats: length of the phrase.
        grid: chords start on multiples of it, in beats.
    """

    channel: int
    beats: float = 16.0
    grid: float = 1.0


class ChordTrack:
    """The phrase as it has been played so far."""

    def __init__(self, chosen: ChordInput) -> None:
        self._beats, self._grid = chosen.beats, chosen.grid
        self._held: set[int] = set()
        self._played: list[tuple[float, str]] = []
        self._text = ""

    def note_on(self, note: int, beat: float) -> str | None:
        """A key goes down at a beat of the transport; gives the condition's text when that changed it."""
        self._held.add(note)
        name = name_chord(self._held)
        if name is None:
            return None
        # Inversions sound alike to a model that follows chords, and its table need not have them.
        symbol = name.partition("/")[0]
        place = round(beat / self._grid) * self._grid
        if self._played and place < self._played[-1][0]:
            self._played.clear()  # the transport was set back: another piece begins
        # Fingers do not come down together: what is named on the same line of the grid replaces what was there.
        self._played = [(at, chord) for at, chord in self._played if place - self._beats < at < place]
        self._played.append((place, symbol))
        text = self._written()
        if text == self._text:
            return None
        self._text = text
        return text

    def note_off(self, note: int) -> None:
        """A key goes up; the chord holds until the next one."""
        self._held.discard(note)

    def release_all(self) -> None:
        """The keyboard has gone: no key is held."""
        self._held.clear()

    def _written(self) -> str:
        places = {at % self._beats: chord for at, chord in self._played}
        track = sorted(places.items())
        if track[0][0] > 0:
            track.insert(0, (0.0, track[-1][1]))  # the phrase goes round, and its last chord holds into it
        kept = [track[0], *(after for before, after in itertools.pairwise(track) if after[1] != before[1])]
        return " ".join(f"{chord}@{at:.6g}b" for at, chord in kept)
