"""The shared part of conditions that are written notes (chords, a melody) and feed a slot that hears audio.

What is written is made to sound (`soundforge.note_sound`) and given to the slot's own conditioner, which the host
builds by name. No torch here.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundforge.chord_names import checked_track, parse_track
from soundforge.errors import CheckpointError, ConditionError
from soundforge.interfaces import Condition, ConditionContext, Conditioner, ConditionerSetup, Host
from soundforge.midi_notes import Note, read_notes
from soundforge.note_sound import LONGEST_SECONDS, in_time, sounded

EDGE_SECONDS = 0.5
"""How much longer the sound is than what is generated: who hears it looks a little ahead."""


class WrittenNotes(ABC):
    """Written notes for a slot that hears audio (see `soundforge.interfaces.Conditioner` for the calls).

    Args:
        heard_by: the conditioner that feeds the slot from audio.
        name: what the user says, for messages.
        expected: what it takes, for messages.
    """

    def __init__(self, heard_by: Conditioner, name: str, expected: str) -> None:
        self._heard_by, self._name, self._expected = heard_by, name, expected

    @abstractmethod
    def step_seconds(self, context: ConditionContext, bpm: float) -> float:
        """How long one symbol of `"A B C"` lasts."""

    @abstractmethod
    def notes_of(self, symbol: str, start: float, end: float) -> list[Note]:
        """The notes of one symbol; raises ConditionError."""

    def of_file(self, notes: list[Note]) -> list[Note]:
        """Of a MIDI file's notes those that are meant."""
        return notes

    def prepare(self, value: Any, context: ConditionContext) -> Any:
        """What the slot's own conditioner makes of the sound; None for None and ""."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        notes, seconds = self._notes(value, context)
        if not notes:
            raise ConditionError(f"condition {self._name!r} came without any note, {self._expected}")
        return self._heard_by.prepare(sounded(notes, seconds), replace(context, options={}))

    def encode(self, prepared: Sequence[Any | None], context: ConditionContext) -> Condition:
        """As the slot's own conditioner."""
        return self._heard_by.encode(prepared, replace(context, options={}))

    def _notes(self, value: Any, context: ConditionContext) -> tuple[list[Note], float]:
        """The notes, and the length of the sound that they make."""
        frames = max(1, context.n_frames - max(0, context.new_start))
        new = frames / context.frame_rate_hz
        long = context.window_start_frames is not None  # of which only the first window's length is known
        seconds = LONGEST_SECONDS if long else min(new + EDGE_SECONDS, LONGEST_SECONDS)
        if isinstance(value, Path):
            notes = self.of_file([note for note in read_notes(value) if note.start < seconds])
            return notes, min(seconds, max((note.end for note in notes), default=seconds))
        if isinstance(value, str) and "@" not in value:
            symbols = [symbol for symbol in re.split(r"[\s,;|]+", value.strip()) if symbol]
            if not symbols:
                raise ConditionError(f"condition {self._name!r} came as {value[:60]!r}, {self._expected}")
            step = new / len(symbols) if context.bpm is None else self.step_seconds(context, context.bpm)
            track, seconds = in_time(symbols, step, seconds)
        elif isinstance(value, str):
            track = checked_track(parse_track(value, context.bpm), LONGEST_SECONDS)
        elif isinstance(value, (list, tuple)) and value:
            pairs = [value] if isinstance(value, tuple) and isinstance(value[0], (str, int)) else value
            track = checked_track([_named(pair) for pair in pairs], LONGEST_SECONDS)
        else:
            raise ConditionError(f"condition {self._name!r} came as {type(value).__name__}, {self._expected}")
        seconds = max(seconds, track[-1][1] + 0.1)
        ends = [*(start for _, start in track[1:]), seconds]
        return [note for (symbol, start), end in zip(track, ends, strict=True)
                for note in self.notes_of(symbol, start, end)], seconds


def _named(pair: Any) -> Any:
    """A pair of a number (MIDI pitch) and a start with the number as text."""
    if isinstance(pair, (tuple, list)) and len(pair) == 2 and type(pair[0]) is int:
        return str(pair[0]), pair[1]
    return pair


def hearing(host: Host, setup: ConditionerSetup) -> Conditioner:
    """The conditioner that the checkpoint names for a slot, and that hears audio.

    Raises:
        CheckpointError: the slot names one that takes written notes.
    """
    if setup.slot.conditioner in ("chords", "midi_melody"):
        raise CheckpointError(f"slot {setup.slot.name!r} names {setup.slot.conditioner!r} as its conditioner, expected "
                              "one that hears audio, such as 'chroma'")
    return host.conditioner(setup.slot.conditioner, setup)
