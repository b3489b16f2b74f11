"""MIDI clock as tempo and beat: 24 ticks a beat, their jitter filtered, Start, Stop, Continue and Song Position.

Pure arithmetic on arrival times. A straight line is fitted through the last two beats of ticks (least squares), so
that jitter of 2 ms becomes an error of some tenths of a millisecond; when ticks leave the line twice in a row, the
tempo has changed, and the fit begins anew from the last ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from soundforge.requests import MAX_BPM, MIN_BPM

TICKS_PER_BEAT = 24
TICKS_PER_SIXTEENTH = 6
WINDOW_TICKS = 2 * TICKS_PER_BEAT
FEW_TICKS = 6
"""Below so many ticks a tempo known from before is better than one from their own slope."""

LEFT_SECONDS, LEFT_PERIODS = 0.006, 0.25
"""A tick this far from the line (the larger of both) is no jitter of a usual interface."""

SHORTEST_PERIOD, LONGEST_PERIOD = 60.0 / MAX_BPM / TICKS_PER_BEAT / 1.5, 60.0 / MIN_BPM / TICKS_PER_BEAT * 1.5
"""Of two ticks at a tempo that exists, jitter allowed for."""

LOST_SECONDS = 1.0
TOLD_CHANGE = 0.005


@dataclass(frozen=True, slots=True)
class Followed:
    """What the clock says: at `at_seconds` it stood at `beat`. `tell` = users want to know of this change."""

    bpm: float
    beat: float
    rolling: bool
    at_seconds: float
    tell: bool


class MidiClock:
    """One clock. Times are seconds of any steady clock. Not thread-safe: it belongs to the event loop."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[int, float]] = deque(maxlen=WINDOW_TICKS)
        self._next = 0
        self._rolling = False
        self._period: float | None = None
        self._last: float | None = None
        self._stray: tuple[int, float] | None = None
        self._off = 0.0
        self._told_bpm = 0.0
        self._just_started = False
        self._lost = False

    @property
    def bpm(self) -> float | None:
        """The tempo, None before two ticks came."""
        return None if not self._period else 60.0 / (TICKS_PER_BEAT * self._period)

    def on(self, kind: str, seconds: float, position: int = 0) -> Followed | None:
        """A clock message: clock, start, stop, continue, or songpos with its `position` in sixteenths.

        Gives what follows from it, None when nothing does yet.
        """
        if kind == "clock":
            return self._tick(seconds)
        if kind in ("start", "continue"):
            if kind == "start":
                self._next = 0
            # The first tick after it is the beat meant; ticks from before may lie on another grid.
            self._forget()
            self._rolling, self._just_started = True, True
        elif kind == "songpos":
            self._next = position * TICKS_PER_SIXTEENTH
            self._forget()
            return self._standing(seconds) if not self._rolling else None
        elif kind == "stop":
            self._rolling = False
            return self._standing(seconds)
        return None

    def lost(self, seconds: float) -> bool:
        """True once when the clock rolled and nothing came for a second; the transport goes on by itself."""
        if self._rolling and not self._lost and self._last is not None and seconds - self._last > LOST_SECONDS:
            self._lost = True
            return True
        return False

    def _tick(self, seconds: float) -> Followed | None:
        self._bridge_gap(seconds)
        number, self._next = self._next, self._next + (1 if self._rolling else 0)
        if not self._rolling:
            # Many hosts tick while they stand: that tells the tempo, not the place.
            number = (self._stray or self._ticks[-1])[0] + 1 if self._ticks else 0
        self._last = seconds
        if self._strays(number, seconds):
            last, due = self._line()
            at: float | None = due + (number - last) * (self._period or 0.0)  # where the line says it belongs
        else:
            self._ticks.append((number, seconds))
            at = self._fit()
        bpm = self.bpm
        if bpm is None or at is None or not self._rolling:
            return None
        tell = self._just_started or abs(bpm - self._told_bpm) > TOLD_CHANGE * self._told_bpm
        if tell:
            self._told_bpm = bpm
        self._just_started = False
        return Followed(bpm, number / TICKS_PER_BEAT, True, at, tell)

    def _bridge_gap(self, seconds: float) -> None:
        """After a loss the beats go on as if ticks had come: the transport has run on at the last tempo."""
        if self._last is not None and seconds - self._last > LOST_SECONDS:
            if self._rolling and self._period and self._ticks:
                self._next += max(0, round((seconds - self._last) / self._period) - 1)
            self._forget()
        self._lost = False

    def _forget(self) -> None:
        """What comes next lies on another grid."""
        self._ticks.clear()
        self._stray = None

    def _strays(self, number: int, seconds: float) -> bool:
        """Whether a tick does not belong to the line. Two in a row that do not begin a new line: the tempo changed."""
        if not self._period or len(self._ticks) < FEW_TICKS:
            return False
        first, start = self._line()
        off = seconds - (start + (number - first) * self._period)
        before, self._off = self._off, off
        if abs(off) <= max(LEFT_SECONDS, LEFT_PERIODS * self._period):
            self._stray = None
            return False
        # After a pause of the machine all ticks of that time come at once: each is nearer to the line than the last.
        if abs(before) - abs(off) > 0.5 * self._period or self._stray is None:
            self._stray = (number, seconds)
            return True
        period = (seconds - self._stray[1]) / max(number - self._stray[0], 1)
        if not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
            self._stray = (number, seconds)
            return True
        self._ticks.clear()
        self._ticks.append(self._stray)
        self._period, self._stray = period, None
        return False

    def _fit(self) -> float | None:
        """Fit period and phase; gives when the last tick was due by the line, None while there is no tempo."""
        count = len(self._ticks)
        mean_n = sum(n for n, _ in self._ticks) / count
        mean_t = sum(t for _, t in self._ticks) / count
        if count >= 2 and (count >= FEW_TICKS or not self._period):
            spread = sum((n - mean_n) ** 2 for n, _ in self._ticks)
            slope = sum((n - mean_n) * (t - mean_t) for n, t in self._ticks) / spread
            self._period = slope if slope > 0 else self._period
        if not self._period:
            return None
        return mean_t + (self._ticks[-1][0] - mean_n) * self._period

    def _line(self) -> tuple[int, float]:
        """The last tick's number and when it was due."""
        at = self._fit()
        return self._ticks[-1][0], self._ticks[-1][1] if at is None else at

    def _standing(self, seconds: float) -> Followed | None:
        bpm = self.bpm
        return None if bpm is None else Followed(bpm, self._next / TICKS_PER_BEAT, False, seconds, True)
