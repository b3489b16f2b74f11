"""Independent generations in one step loop: other texts, seeds, lengths, prompts and sampling, one product per layer.

A step of one request reads all weights of the network for a row or two. Many requests together read them once. Each
keeps its own window, random numbers and guidance; only the steps behind its prefill run as rows of a shared
`StaticStep`, where every row has its own position. So each gives what it gives alone, up to the order in which sums are
rounded. Rows that become free are taken by those who wait; at the end the last rows close ranks, and steps get shorter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from soundforge.engine.generate import Generation
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.threads import StepThreads
from soundforge.engine.window import Window
from soundforge.errors import CancelledError
from soundforge.nn.static_step import StaticStep
from soundforge.nn.step_graphs import StepGraphs

MOST_ROWS = 32
"""Rows of one step: 16 guided requests."""

ROOM_STEP = 256
"""Positions are allocated in steps of this many."""


@dataclass
class _Seat:
    """A generation that runs, and its rows of the shared step."""

    index: int
    generation: Generation
    rows: list[int]
    window: Window | None = None  # whose state is in the rows
    codes: list[Tensor] = field(default_factory=list)


def row_count(generation: Generation) -> int:
    """Rows of the network that a generation needs: its items times the rows of its guidance."""
    return sum(part.state.batch_size for part in generation.window.passes)


def _stepped(seat: _Seat) -> Tensor | CancelledError | None:
    """One more column of a generation; its codes when it is done, its error when it was cancelled, else None."""
    try:
        seat.codes.append(seat.generation.step())
    except CancelledError as error:
        return error
    return torch.cat(seat.codes, dim=-1) if seat.generation.done else None


class Together:
    """Runs generations of one model side by side. Not thread-safe.

    Args:
        runtime: of all of them; not quantised (its states are in float).
        most_rows: rows of one step; a generation that needs more alone gets them.
        capture: see `StepGraphs`.
    """

    def __init__(self, runtime: LanguageModelRuntime, most_rows: int = MOST_ROWS, capture: bool | None = None) -> None:
        self._runtime = runtime
        self._most_rows = most_rows
        self._capture = capture
        self._seats: list[_Seat] = []

    @torch.inference_mode()
    def run(self, generations: Sequence[Generation]) -> list[Tensor | CancelledError]:
        """All their codes, `[B, K, n]` each; the error for one that was cancelled, which does not touch the others."""
        if not generations:
            return []
        needs = [row_count(generation) for generation in generations]
        room = max(max(needs), min(self._most_rows, sum(needs)))
        capacity = max(part.state.capacity for g in generations for part in g.window.passes)
        self._step = StaticStep(self._runtime.decoder.lm, room, -(-capacity // ROOM_STEP) * ROOM_STEP)
        self._graphs = StepGraphs(self._step, self._capture)
        self._seats = []
        waiting = deque(enumerate(generations))
        done: dict[int, Tensor | CancelledError] = {}
        free = room
        while waiting or self._seats:
            while waiting and needs[waiting[0][0]] <= free:
                index, generation = waiting.popleft()
                self._seats.append(_Seat(index, generation, list(range(room - free, room - free + needs[index]))))
                free -= needs[index]
            for seat in list(self._seats):
                ended = _stepped(seat)
                if ended is not None:
                    done[seat.index] = ended
                    self._leave(seat)
                    free += len(seat.rows)
            self._advance()
        return [done[index] for index in range(len(generations))]

    def _advance(self) -> None:
        """The next column of everybody through the network."""
        stepping = [seat for seat in self._seats if not seat.generation.window.done]
        for seat in stepping:
            if seat.window is not seat.generation.window:
                self._load(seat)
        if not stepping:
            return
        longest, rows = 0, 1 + max(row for seat in self._seats for row in seat.rows)
        for seat in stepping:
            first = 0
            window = seat.generation.window
            for part, (columns, sum_at) in zip(window.passes, window.inputs(window.known), strict=True):
                mine = seat.rows[first:first + columns.shape[0]]
                first += columns.shape[0]
                self._step.codes[mine] = columns
                self._step.positions[mine] = part.state.position
                self._step.sum_at[mine] = 0 if sum_at is None else sum_at.to(self._step.dtype)
                part.state.position += 1
                longest = max(longest, part.state.position)
        with StepThreads(self._runtime.decoder.threads):
            logits = self._graphs.run(rows, longest)
        for seat in stepping:
            window, first, given = seat.generation.window, 0, []
            for part in window.passes:
                given.append(logits[seat.rows[first:first + part.state.batch_size]])
                first += part.state.batch_size
            window.take(given, window.known)

    def _load(self, seat: _Seat) -> None:
        """A window that was prefilled by itself moves into the shared rows."""
        seat.window = seat.generation.window
        first = 0
        for part in seat.window.passes:
            rows = seat.rows[first:first + part.state.batch_size]
            first += part.state.batch_size
            if self._step.load(part.state, rows):
                self._graphs.forget()
            # Its own copy would only be held: nothing reads it any more.
            part.state.keys_values = [kept[:, :, :, :0].clone() for kept in part.state.keys_values]

    def _leave(self, seat: _Seat) -> None:
        """Close the gap that a generation leaves, so that the rows in use stay the first ones."""
        self._seats.remove(seat)
        gone = seat.rows[0]
        for other in self._seats:
            if other.rows[0] > gone:
                filled = max((part.state.position for part in other.generation.window.passes), default=0)
                for i, row in enumerate(other.rows):
                    self._step.move(row, row - len(seat.rows), filled)
                    other.rows[i] = row - len(seat.rows)
