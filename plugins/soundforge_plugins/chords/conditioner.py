"""The chords conditioner: one row of the checkpoint's embedding per frame, its last row for no condition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.checkpoints.jasco_chords import (
    KNOWN_ROWS,
    PUBLISHED_CARD,
    TABLE_NAMES,
    ChordTable,
    find_chord_table,
    read_chord_table,
    user_folder,
)
from soundforge.chord_names import NO_CHORD, checked_track, parse_chord, parse_track
from soundforge.errors import CheckpointError, ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup, Host
from soundforge.midi_notes import read_notes
from soundforge.note_sound import in_time
from soundforge_plugins.chords.from_notes import chords_of

_ANY_JASCO = "facebook/jasco-chords-drums-400M"


class ChordsConditioner:
    """Feeds a chords slot (see `soundforge.interfaces.Conditioner` for the calls).

    Takes text (`"C@0 G@2"`, `"C@0b G@4b"`, or `"Am F C G"`, a bar each), a sequence of `(symbol, start in seconds)`,
    a MIDI file (a `pathlib.Path`), or an array of whole numbers: the rows of the table, one per frame.

    Request options: `table`, a mapping of symbols to rows in place of the checkpoint's table.

    Args:
        embedding: `[card + 1, W]`; its last row is the null chord.
        folders: where the table of symbols is looked for, when symbols come.
        name: of the slot, for messages.
    """

    def __init__(self, embedding: Tensor, folders: Sequence[Path], name: str = "chords") -> None:
        self._embedding = embedding
        self._folders = tuple(folders)
        self._name = name
        self._table: ChordTable | None = None

    @property
    def card(self) -> int:
        """Rows that are chords; the row behind them is the null chord."""
        return self._embedding.shape[0] - 1

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """Rows int64 `[n_frames]`; None for None and ""."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, (np.ndarray, Tensor)):
            return self._checked_rows(value, context.n_frames)
        table = self._find_table(context.options)
        seconds = context.n_frames / context.frame_rate_hz
        if isinstance(value, Path):
            named = chords_of(read_notes(value))
            heard = [(table.nearest(symbol), start) for symbol, start in named if start < seconds]
            if not heard:
                raise ConditionError(f"{str(value)!r} has no chords in its first {seconds:g} s, expected at least "
                                     "three notes that sound together")
            value = heard
        elif isinstance(value, str):
            value = parse_track(value, context.bpm, seconds) if "@" in value else _in_bars(value, context, seconds)
        elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise ConditionError(f"condition {self._name!r} came as {type(value).__name__}, expected text such as "
                                 "'C@0 G@2', pairs of symbol and seconds, or a MIDI file as pathlib.Path")
        track = checked_track(value, seconds)
        return frame_rows([(table.row(symbol), start) for symbol, start in track], table.row(NO_CHORD),
                          context.n_frames, context.frame_rate_hz)

    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """Embeddings `[B, n_frames, W]`; null items have the null chord throughout."""
        null = torch.full((context.n_frames,), self.card)
        rows = torch.stack([null if item is None else item for item in prepared]).to(self._embedding.device)
        return Condition(F.embedding(rows, self._embedding), torch.ones(rows.shape, dtype=torch.bool,
                                                                        device=rows.device))

    def _checked_rows(self, value: Any, n_frames: int) -> Tensor:
        rows = torch.as_tensor(value)
        if rows.is_floating_point() or rows.ndim != 1 or rows.shape[0] != n_frames:
            raise ConditionError(f"condition {self._name!r} came as an array of {rows.dtype} {list(rows.shape)}, "
                                 f"expected [{n_frames}] whole numbers, one row of the chord table per frame")
        if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) > self.card):
            raise ConditionError(f"condition {self._name!r} has rows from {int(rows.min())} to {int(rows.max())}, "
                                 f"expected 0 to {self.card}")
        return rows.long()

    def _find_table(self, options: Mapping[str, Any]) -> ChordTable:
        own = options.get("table")
        if isinstance(own, Mapping):
            return _given_table(own, self.card)
        if own is not None:
            return read_chord_table(Path(own), self.card)
        if self._table is None:
            self._table = find_chord_table(self._folders, self.card)
        if self._table is None and self.card == PUBLISHED_CARD:
            return _PartialTable(self._missing())
        if self._table is None:
            raise ConditionError(self._missing())
        return self._table

    def _missing(self) -> str:
        place = self._folders[0] if self._folders else "its folder"
        return (f"condition {self._name!r} came as symbols, but the checkpoint has no table that says which symbol is "
                f"which row; run `soundforge pull {_ANY_JASCO}`, or put AudioCraft's assets/{TABLE_NAMES[1]} into "
                f"{place}")


class _PartialTable(ChordTable):
    """The few rows that are known without the published table; any other symbol says how to get it."""

    def __init__(self, missing: str) -> None:
        super().__init__(KNOWN_ROWS, "what is documented")
        self._missing = missing

    def row(self, symbol: str) -> int:
        chord = parse_chord(symbol)  # what is no chord at all is told first
        if chord is not None and chord not in {parse_chord(known) for known in self.rows}:
            raise ConditionError(f"{self._missing} (without it only {', '.join(self.rows)} are known, not {symbol!r})")
        return super().row(symbol)

    def nearest(self, symbol: str) -> str:
        return symbol  # no simplification to the few: `row` tells what is missing


def frame_rows(track: Sequence[tuple[int, float]], before: int, n_frames: int, frame_rate_hz: float) -> Tensor:
    """The row of each frame: frame i, at `i / frame_rate_hz` seconds, has the last chord that has started by then.

    Args:
        track: (row, start in seconds) by start.
        before: row of the frames before the first chord.

    Returns:
        int64 `[n_frames]`.
    """
    rows = torch.full((n_frames,), before)
    for frame in range(n_frames):
        started = [row for row, start in track if frame / frame_rate_hz >= start]
        if started:
            rows[frame] = started[-1]
    return rows


def _in_bars(text: str, context: ConditionContext, seconds: float) -> list[tuple[str, float]]:
    """`"Am F C G"`: a bar each, again and again; without a tempo once, evenly over what the model makes."""
    symbols = [symbol for symbol in re.split(r"[\s,;|]+", text.strip()) if symbol]
    if not symbols:
        raise ConditionError(f"chords came as {text[:60]!r}, expected symbols such as 'Am F C G' (a bar each), or with "
                             "start times such as 'C@0 G@2'")
    bar = seconds / len(symbols) if context.bpm is None else context.beats_per_bar * 60.0 / context.bpm
    return [chord for chord in in_time(symbols, bar, seconds)[0] if chord[1] < seconds - 1e-9]


def _given_table(rows: Mapping[str, Any], card: int) -> ChordTable:
    if NO_CHORD not in rows or not all(isinstance(r, int) and 0 <= r < card for r in rows.values()):
        raise ConditionError(f"option 'table' of condition 'chords' came with {len(rows)} entries, expected symbols "
                             f"with rows from 0 to {card - 1}, 'N' (no chord) among them")
    return ChordTable(rows, "the request")


def make_chords_conditioner(host: Host, setup: ConditionerSetup) -> ChordsConditioner:
    """The embedding that the checkpoint holds; raises CheckpointError when it is not there."""
    embedding = setup.tensors.get("emb.weight")
    if embedding is None or embedding.ndim != 2 or embedding.shape[1] != setup.slot.width:
        found = None if embedding is None else list(embedding.shape)
        raise CheckpointError(f"slot {setup.slot.name!r} takes chord embeddings of width {setup.slot.width}, but the "
                              f"checkpoint's have shape {found}; expected emb.weight [chords + 1, {setup.slot.width}]")
    folders = [user_folder()]
    if setup.folder is not None:
        folders.insert(0, setup.folder)
    return ChordsConditioner(embedding.float().to(setup.device), folders, setup.slot.name)
