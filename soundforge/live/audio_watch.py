"""When an audio process must be replaced, and by what: the heartbeat and the rules of starting again.

One that had its device is started again at once, unless that keeps happening; one that could not open it gives way to
a silent stand-in that keeps the clock going, and the stand-in after some seconds to another try.

Threading: belongs to the event loop. No process is touched here; times are `time.monotonic()` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from soundforge.live.sleep_watch import SleepWatch

HEARTBEAT_SECONDS = 2.0     # longer than the pauses a loaded machine makes, shorter than an audience's patience
OPEN_SECONDS = 20.0
RETRY_SECONDS = 5.0
QUICK_RESTARTS = 3


class AudioWatch:
    """See the module; `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, sleep: SleepWatch | None = None) -> None:
        self._monotonic, self._sleep = monotonic, sleep or SleepWatch()
        self._began = self._beat_at = self._retry_at = 0.0
        self._beats = self._failures = 0
        self.standing_in = False
        """What runs is the stand-in."""

    def started(self, blocks: int) -> None:
        """A process was started; so many blocks had been counted then."""
        self._began = self._beat_at = self._monotonic()
        self._beats = blocks

    def opened(self) -> None:
        """Its device runs: its patience begins now, however long the opening took."""
        self._beat_at = self._monotonic()

    def look(self, blocks: int) -> float:
        """Notice how many blocks went by; gives for how many seconds the machine slept, 0.0 in ordinary life."""
        slept = self._sleep.look()
        if blocks != self._beats or slept:  # who slept cannot have heard a heart beat
            self._beats, self._beat_at = blocks, self._monotonic()
        return slept

    def silent(self, opened: bool) -> bool:
        """No block went by for longer than is bearable."""
        return self._monotonic() - self._beat_at > (HEARTBEAT_SECONDS if opened else OPEN_SECONDS)

    def try_again(self) -> bool:
        """Time to make room for another try of the real device."""
        return self.standing_in and self._monotonic() > self._retry_at

    def replace(self, was_open: bool) -> bool:
        """The process is gone; gives whether the stand-in is next."""
        now = self._monotonic()
        self._failures = 0 if now - self._began > RETRY_SECONDS else self._failures + 1
        self.standing_in = not self.standing_in and not (was_open and self._failures <= QUICK_RESTARTS)
        if self.standing_in:
            self._retry_at = now + RETRY_SECONDS
        return self.standing_in
