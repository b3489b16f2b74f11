"""Chord symbols: read as musicians write them, found in sets of notes, laid out in time. No torch, no files.

    parse_chord("Dbm7/Ab")                 # Chord(root=1, quality="m7", bass=8)
    name_chord([48, 52, 55])               # "C"
    parse_track("C@0 G@2 Am@4", bpm=None)  # [("C", 0.0), ("G", 2.0), ("Am", 4.0)]
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from soundforge.errors import ConditionError

NO_CHORD = "N"
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SYMBOL = re.compile(r"([A-G])([#b♯♭]*)([^/]*)(?:/([A-G])([#b♯♭]*))?")
_TOKEN = re.compile(r"([^\s,;@]+)@([-+]?[\d.]+(?:[eE][-+]?\d+)?)(s|b)?")

# Quality -> its notes above the root, in the order in which a set of notes is tried.
QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "m7": (0, 3, 7, 10), "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9), "m7b5": (0, 3, 6, 10), "dim": (0, 3, 6), "aug": (0, 4, 8),
}
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "": ("maj", "M", "major"), "m": ("min", "mi", "-", "minor"), "7": ("dom7", "dom"),
    "maj7": ("M7", "ma7", "Maj7", "j7", "Δ", "Δ7", "^", "^7"), "m7": ("min7", "mi7", "-7"), "6": ("maj6", "M6"),
    "m6": ("min6", "mi6", "-6"), "m7b5": ("min7b5", "mi7b5", "-7b5", "m7-5", "ø", "ø7", "hdim7", "m7(b5)"),
    "dim": ("o", "°", "mb5"), "aug": ("+", "#5"),
}
_QUALITY_OF = {spelling: quality for quality, others in _SPELLINGS.items() for spelling in (quality, *others)}
_SIMPLER = {"maj7": "", "7": "", "6": "", "aug": "", "m7": "m", "m6": "m", "m7b5": "dim", "dim": "m"}


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord whatever its spelling.

    Args:
        root: pitch class, C = 0.
        quality: one of `QUALITIES`.
        bass: pitch class of the lowest note; the root's unless the symbol has a slash.
    """

    root: int
    quality: str
    bass: int

    def __str__(self) -> str:
        slash = "" if self.bass == self.root else f"/{_NAMES[self.bass]}"
        return f"{_NAMES[self.root]}{self.quality}{slash}"

    def simpler(self) -> Iterable[Chord]:
        """What may stand for it, nearest first: without the slash, then with fewer notes."""
        chord = Chord(self.root, self.quality, self.root)
        yield chord
        while chord.quality in _SIMPLER:
            chord = Chord(self.root, _SIMPLER[chord.quality], self.root)
            yield chord


def parse_chord(symbol: str) -> Chord | None:
    """A chord from its symbol; None for no chord ("N", "N.C.").

    Raises:
        ConditionError: not a symbol of a chord that is known here.
    """
    if symbol.upper().replace(".", "") in ("N", "NC"):
        return None
    match = _SYMBOL.fullmatch(symbol)
    quality = _QUALITY_OF.get(match[3]) if match else None
    if match is None or quality is None:
        raise ConditionError(f"chord {symbol!r} is unknown; expected a root such as C, F# or Bb with nothing (major) "
                             f"or {', '.join(name for name in QUALITIES if name)}, perhaps a bass (C/E), or N for none")
    root = _pitch_class(match[1], match[2])
    return Chord(root, quality, root if match[4] is None else _pitch_class(match[4], match[5]))


def _pitch_class(letter: str, accidentals: str) -> int:
    return (_LETTERS[letter] + sum(1 if sign in "#♯" else -1 for sign in accidentals)) % 12


def name_chord(pitches: Collection[int]) -> str | None:
    """The symbol for MIDI notes that sound together, None when they make no chord that is known.

    The lowest note is preferred as the root; otherwise it becomes the bass of a slash chord.
    """
    if not pitches:
        return None
    lowest = min(pitches) % 12
    classes = {pitch % 12 for pitch in pitches}
    best: tuple[float, Chord] | None = None
    for offset in range(12):
        root = (lowest + offset) % 12
        for quality, intervals in QUALITIES.items():
            notes = {(root + interval) % 12 for interval in intervals}
            common = len(notes & classes)
            if common < 3:
                continue
            # Every missing or foreign note counts against it; so does, a little, a root that is not the bass.
            score = common - 0.9 * len(classes - notes) - 0.9 * len(notes - classes) - (0.4 if offset else 0.0)
            if best is None or score > best[0] + 1e-9:
                best = score, Chord(root, quality, lowest if lowest in notes else root)
    return None if best is None else str(best[1])


def parse_track(text: str, bpm: float | None, seconds: float = math.inf) -> list[tuple[str, float]]:
    """Chords in time from text such as `"C@0 G@2 Am@4.5"`: symbol, @, start in seconds (or in beats: `G@4b`).

    Args:
        bpm: tempo of the beats.
        seconds: chords given in beats that start then or later are left out: how many fit depends on the tempo, so a
            phrase may well be longer than a clip. Times in seconds are as they are.

    Raises:
        ConditionError: not of this form, beats without a tempo, or nothing left.
    """
    chords = []
    for token in re.split(r"[\s,;]+", text.strip()):
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ConditionError(f"chords came as {text[:60]!r}, expected symbols with start times such as "
                                 "'C@0 G@2 Am@4 F@6' (seconds) or 'C@0b G@4b' (beats)")
        if match[3] == "b" and bpm is None:
            raise ConditionError(f"chord {token!r} starts at a beat, but no tempo came; give bpm, or times in seconds")
        try:
            time = float(match[2])
        except ValueError as error:
            raise ConditionError(f"chord {token!r} has no usable start time, expected one such as C@1.5") from error
        if match[3] != "b" or bpm is None:
            chords.append((match[1], time))
        elif time * 60.0 / bpm < seconds:
            chords.append((match[1], time * 60.0 / bpm))
    if not chords:
        raise ConditionError(f"chords came as {text[:60]!r}, all of them at or after {seconds:g} s at {bpm:g} bpm; "
                             "expected some that start earlier")
    return chords


def in_beats(text: str) -> bool:
    """Whether a text is chords in time with a start in beats (`"C@0b G@4b"`)."""
    tokens = [_TOKEN.fullmatch(token) for token in re.split(r"[\s,;]+", text.strip())]
    return all(tokens) and any(match is not None and match[3] == "b" for match in tokens)


def format_track(chords: Sequence[tuple[str, float]]) -> str:
    """The text that `parse_track` reads, times in seconds."""
    return " ".join(f"{symbol}@{time:.6g}" for symbol, time in chords)


def checked_track(chords: Sequence[Any], seconds: float) -> list[tuple[str, float]]:
    """Pairs of symbol and start in seconds, by time.

    Raises:
        ConditionError: no such pairs, or a start outside 0 .. seconds.
    """
    checked = []
    for item in chords:
        pair = tuple(item) if isinstance(item, (tuple, list)) else ()
        if len(pair) != 2 or not isinstance(pair[0], str) or isinstance(pair[1], (bool, str)):
            raise ConditionError(f"a chord came as {str(item)[:40]!r}, expected (symbol, start in seconds) such as "
                                 "('Am', 2.0)")
        time = float(pair[1])
        if not math.isfinite(time) or not 0 <= time < max(seconds, 1e-9):
            raise ConditionError(f"chord {pair[0]!r} starts at {time:g} s, expected 0 to below {seconds:g} s, the "
                                 "length that the model makes")
        checked.append((pair[0], time))
    return sorted(checked, key=lambda chord: chord[1])
