"""How many threads pay: two on a machine of one's own, often one where others compute too."""

from __future__ import annotations

import time

import torch


class ThreadChooser:
    """Times a few training steps with each thread count now and then, and keeps the faster.

    On two shared cores this matters: a parallel loop waits for its slower half, so two threads beside one busy process
    are slower than one thread alone.
    """

    def __init__(self, choices: tuple[int, ...] = (1, 2), every: int = 60, trial: int = 3) -> None:
        self.choices, self.every, self.trial = choices, every, trial
        self._step = 0
        self._times: dict[int, float] = {}
        self._began = 0.0
        self.current = choices[-1]

    def before_step(self) -> None:
        """To be called before every step; switches threads by itself."""
        place = self._step % self.every
        self._step += 1
        if place % self.trial == 0 and place <= self.trial * len(self.choices):
            now = time.monotonic()
            turn = place // self.trial
            if turn > 0:
                self._times[self.choices[turn - 1]] = now - self._began
            self._began = now
            if turn < len(self.choices):
                torch.set_num_threads(self.choices[turn])
            else:
                self.current = min(self._times, key=lambda count: self._times[count])
                torch.set_num_threads(self.current)
