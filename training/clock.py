"""A training run sized in wall-clock minutes: learning rate from the share of the time that has passed."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

SUSPENDED_SECONDS = 15.0
"""No step takes that long: a process that is not heard of for longer was suspended."""


class WallClock:
    """Counts training time over restarts; ``share`` runs from 0 to 1 over the minutes given.

    Has to be asked at every step: what lies between two questions counts for at most `SUSPENDED_SECONDS`.
    """

    def __init__(self, minutes: float, spent_seconds: float = 0.0) -> None:
        self.total_seconds = minutes * 60.0
        self._spent = spent_seconds
        self._asked = time.monotonic()

    @property
    def spent_seconds(self) -> float:
        """Seconds of training so far, earlier runs included."""
        now = time.monotonic()
        self._spent += min(now - self._asked, SUSPENDED_SECONDS)
        self._asked = now
        return self._spent

    @property
    def share(self) -> float:
        """Part of the planned time that has passed, at most 1."""
        return min(1.0, self.spent_seconds / self.total_seconds)

    def learning_rate(self, peak: float, step: int, warmup_steps: int) -> float:
        """Linear warm-up by steps, then half a cosine over the whole time down to 1 % of ``peak``."""
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.share))
        return peak * min(1.0, (step + 1) / warmup_steps) * (0.01 + 0.99 * cosine)


def save_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Writes under a temporary name and renames, so that an interrupted save leaves the old checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)
