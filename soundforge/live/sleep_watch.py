"""Sees that the machine slept, or that this process stood still: nobody may be blamed for the silence meanwhile.

Two signs. Where the monotonic clock goes on during sleep (Windows, a stopped process), one look is far from the last.
Where it stands (Linux, macOS), the wall clock is ahead of it by more than before; a wall clock that was set looks the
same, and is told in the same words.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STILL_SECONDS = 1.0  # between two looks that are some milliseconds apart in ordinary life
JUMP_SECONDS = 5.0   # of the wall clock; a time server moves it in smaller steps


class SleepWatch:
    """See the module; `monotonic` and `wall` give seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._last = monotonic()
        self._ahead = wall() - self._last

    def look(self) -> float:
        """Seconds that were lost since the last look, 0.0 in ordinary life. Call it often."""
        now = self._monotonic()
        ahead = self._wall() - now
        still, self._last = now - self._last, now
        jumped, self._ahead = ahead - self._ahead, ahead
        lost = still if still > STILL_SECONDS else 0.0
        return lost + (jumped if jumped > JUMP_SECONDS else 0.0)
