"""Between the sample clock and the machine's clock: a straight line, kept by a filter over noisy observations.

The audio callback tells at which `time.perf_counter()` it ran and which position it was at. Those times are late by
whatever the machine was busy with, never early by much; and the sound card's crystal is off by some parts per million.
The filter (a delay-locked loop of second order) gives a line through them that is good to some tens of microseconds,
and its slope is the true rate: MIDI clock, Link and JACK are converted along it, so their drift against the card
never adds up.

Threading: `ClockFilter` belongs to one thread; a `ClockLine` is a value that any thread may keep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_HZ, SLOW_HZ = 2.0, 0.05  # bandwidth in the first second, and in the end; between them it falls as 1 / time
CAREFUL_SECONDS, QUICK_SECONDS = 0.5, 3.0
JUMP_SECONDS = 0.1     # an observation this far off is no lateness any more ...
JUMPS_IN_A_ROW = 5     # ... when so many in a row say so: the device stood still, or the machine slept
SHIFT_SECONDS, SHIFT_LASTS, SHIFT_COUNT = 0.002, 0.15, 8
LATE_SECONDS = 0.001   # what one observation may pull by once the line is found
MAX_DEVIATION = 0.01   # of a crystal, generously


@dataclass(frozen=True, slots=True)
class ClockLine:
    """At `seconds` (time.perf_counter) the sample clock stood at `position`; it runs at `rate` samples a second."""

    position: float
    seconds: float
    rate: float

    def position_at(self, seconds: float) -> float:
        """Where the sample clock stands at a time."""
        return self.position + (seconds - self.seconds) * self.rate

    def time_of(self, position: float) -> float:
        """When the sample clock stands at a position."""
        return self.seconds + (position - self.position) / self.rate


class ClockFilter:
    """See the module.

    Args:
        rate: nominal, Hz.
    """

    def __init__(self, rate: float) -> None:
        self._nominal = float(rate)
        self.line = ClockLine(0.0, 0.0, self._nominal)
        self._known = False
        self._began = 0.0
        self._jumps = 0
        self._side, self._since, self._same, self._least_late = 0, 0.0, 0, 0.0

    @property
    def known(self) -> bool:
        """Anything was observed yet."""
        return self._known

    @property
    def deviation_ppm(self) -> float:
        """How much faster than its nominal rate the sample clock runs, in parts per million of the machine's clock."""
        return 1e6 * (self.line.rate / self._nominal - 1.0)

    def observe(self, position: float, seconds: float) -> None:
        """At `seconds` the sample clock was seen at `position`. Times must not go backwards."""
        line = self.line
        passed = seconds - line.seconds
        if not self._known:
            self._begin(position, seconds, self._nominal)
            return
        if passed <= 0:
            return
        predicted = line.position_at(seconds)
        error = position - predicted
        if abs(error) > JUMP_SECONDS * self._nominal:
            self._jumps += 1
            if self._jumps >= JUMPS_IN_A_ROW:
                self._begin(position, seconds, line.rate)
            return
        self._jumps = 0
        quick = seconds - self._began < QUICK_SECONDS
        if not quick and self._shifted(error, seconds):
            self.line = ClockLine(predicted + self._least_late, seconds, line.rate)
            self._same = 0
            return
        limit = (LATE_SECONDS if seconds - self._began > CAREFUL_SECONDS else JUMP_SECONDS) * self._nominal
        error = min(max(error, -limit), limit)
        # Critically damped enough (damping 1/sqrt 2) at this bandwidth, whatever the distance between observations.
        bandwidth = max(SLOW_HZ, FIRST_HZ / (1.0 + seconds - self._began))
        omega = min(2.0 * math.pi * bandwidth * passed, 0.7)
        rate = line.rate + omega * omega * error / passed
        low, high = self._nominal * (1.0 - MAX_DEVIATION), self._nominal * (1.0 + MAX_DEVIATION)
        self.line = ClockLine(predicted + math.sqrt(2.0) * omega * error, seconds, min(max(rate, low), high))

    def _shifted(self, error: float, seconds: float) -> bool:
        """Every observation of a while is off the same way: samples were lost (an xrun), and the line lies elsewhere.

        Mere lateness does not look so, because the callbacks between two late ones are on time.
        """
        side = 0 if abs(error) < SHIFT_SECONDS * self._nominal else (1 if error > 0 else -1)
        if side == 0 or side != self._side:
            self._side, self._since, self._same, self._least_late = side, seconds, 0, error
            return False
        self._same += 1
        self._least_late = max(self._least_late, error)
        return self._same >= SHIFT_COUNT and seconds - self._since > SHIFT_LASTS

    def _begin(self, position: float, seconds: float, rate: float) -> None:
        self.line = ClockLine(float(position), seconds, rate)
        self._known, self._began, self._jumps = True, seconds, 0
        self._side, self._since, self._same = 0, seconds, 0
