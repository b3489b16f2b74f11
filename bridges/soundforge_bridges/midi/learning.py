"""A learning on the event loop: asks, waits, asks on. What is asked and understood is `learn.Learner`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from soundforge_bridges.midi.learn import Learner
from soundforge_bridges.midi.map import MidiMap

LEARN_SECONDS = 15.0


class Learning:
    """One learning, from `start` until `finished` is called with the new map.

    Args:
        base: the map to begin with.
        report: hears of questions and answers, one line each.
        finished: gets the new map.
    """

    def __init__(self, base: MidiMap, report: Callable[[str], None], finished: Callable[[MidiMap], None]) -> None:
        self._learner = Learner(base)
        self._report, self._finished = report, finished
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Ask for the next control, or end when there is none."""
        self.stop()
        if self._learner.done:
            self._finished(self._learner.map)
            return
        self._report(f"MIDI learn: {self._learner.question}; wait {LEARN_SECONDS:.0f} s to leave it")
        self._timer = asyncio.get_running_loop().call_later(LEARN_SECONDS, self._skip)

    def stop(self) -> None:
        """Ask no more; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hear(self, message: Any) -> None:
        """Take a `mido.Message` as an answer when it can be one."""
        before = self._learner.question
        line = self._learner.hear(message)
        if line:
            self._report(f"MIDI learn: {line}")
        if self._learner.question != before:
            self.start()

    def _skip(self) -> None:
        self._learner.skip()
        self.start()
