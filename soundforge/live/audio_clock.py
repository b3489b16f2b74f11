"""The sample clock as the control process sees it: where it stands now, and the line that ties it to our clock.

Threading: `look` and `reopened` belong to the event loop; everything else may be read anywhere.
"""

from __future__ import annotations

import time

from soundforge.live.audio_status import AudioStatus
from soundforge.live.clock_line import ClockFilter, ClockLine

LONGEST_GUESS_SECONDS = 20.0  # beyond the last block; nothing is opened for longer


class SampleClock:
    """See the module.

    Args:
        status: the callback's counters.
        rate: Hz, until a device says otherwise.
    """

    def __init__(self, status: AudioStatus, rate: int) -> None:
        self.rate = rate
        self._status, self._filter = status, ClockFilter(rate)

    def reopened(self, rate: int) -> None:
        """A device begins to run at this rate: it has another crystal."""
        self.rate, self._filter = rate, ClockFilter(rate)

    def look(self) -> None:
        """Notice where the last block stood; call it every few milliseconds while a device runs."""
        position, clock = self._status.clock()
        if clock:
            self._filter.observe(position, clock)

    def now(self) -> float:
        """Where it stands, between blocks as well."""
        position, clock = self._status.clock()
        if not clock:
            return float(position)
        return position + min(time.perf_counter() - clock, LONGEST_GUESS_SECONDS) * self.rate

    @property
    def line(self) -> ClockLine:
        """Against `time.perf_counter()`, its jitter filtered. A value."""
        if not self._filter.known:
            return ClockLine(float(self._status.position), time.perf_counter(), self.rate)
        return self._filter.line

    @property
    def drift_ppm(self) -> float:
        """How much faster than nominal it runs, in parts per million of the machine's clock."""
        return self._filter.deviation_ppm
