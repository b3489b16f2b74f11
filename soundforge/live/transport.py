"""Musical time as arithmetic: beats to positions on the sample clock and back.

A `Transport` is a value: tempo, rolling or not, and one anchor, the position at which it stood at a known beat.
Every change gives a new value anchored where the change happens, so beats are continuous through tempo changes and
exact to a fraction of a sample for as long as a tempo lasts. It has no clock of its own; sources say what to change.

A beat is a quarter note; a bar is `numerator * 4 / denominator` beats. Bars count from beat 0, and after a change of
the signature from the beginning of the bar in which it came. The launch grid (quantum) always counts from beat 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from soundforge.errors import RequestError
from soundforge.requests import MAX_BPM, MIN_BPM

DENOMINATORS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Transport:
    """See the module.

    Args:
        rate: of the sample clock, Hz.
        bpm: beats per minute, 20 to 999.
        rolling: False = beats stand still.
        anchor_position, anchor_beat: it stood at this beat at this position.
        numerator, denominator: time signature.
        bar_beat: a beat on which a bar begins.

    Raises:
        RequestError: tempo or signature out of range.
    """

    rate: int
    bpm: float = 120.0
    rolling: bool = True
    anchor_position: float = 0.0
    anchor_beat: float = 0.0
    numerator: int = 4
    denominator: int = 4
    bar_beat: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bpm) and MIN_BPM <= self.bpm <= MAX_BPM):
            raise RequestError(f"tempo came as {self.bpm:g}, expected {MIN_BPM:g} to {MAX_BPM:g} beats per minute")
        if not 1 <= self.numerator <= 64 or self.denominator not in DENOMINATORS:
            raise RequestError(f"signature came as {self.numerator}/{self.denominator}, expected 1 to 64 over "
                               f"{', '.join(map(str, DENOMINATORS))}")
        if not math.isfinite(self.anchor_beat) or abs(self.anchor_beat) > 1e9:
            raise RequestError(f"position came as {self.anchor_beat:g}, expected beats of at most 1e9")

    @property
    def samples_per_beat(self) -> float:
        return self.rate * 60.0 / self.bpm

    @property
    def beats_per_bar(self) -> float:
        """Beats (quarter notes) in a bar."""
        return self.numerator * 4.0 / self.denominator

    def beat_at(self, position: float) -> float:
        """The beat at a position."""
        if not self.rolling:
            return self.anchor_beat
        return self.anchor_beat + (position - self.anchor_position) / self.samples_per_beat

    def position_of(self, beat: float) -> float:
        """The position of a beat, between samples where it falls there (as if rolling)."""
        return self.anchor_position + (beat - self.anchor_beat) * self.samples_per_beat

    def sample_of(self, beat: float) -> int:
        """The sample nearest to a beat."""
        return round(self.position_of(beat))

    def samples_in(self, beats: float) -> int:
        """Length of so many beats at this tempo."""
        return round(beats * self.samples_per_beat)

    def next_boundary(self, position: float, quantum: float) -> tuple[float, int]:
        """`(beat, sample)` of the first multiple of `quantum` beats at or after `position`.

        With quantum 0, or when the transport stands (there is no grid in time then): `position` itself.
        """
        first = math.ceil(position)
        if quantum <= 0 or not self.rolling:
            return self.beat_at(first), first
        return self._next(first, quantum, 0.0)

    def next_bar(self, position: float) -> tuple[float, int]:
        """`(beat, sample)` of the first bar line at or after `position` (as if rolling)."""
        return self._next(math.ceil(position), self.beats_per_bar, self.bar_beat)

    def bar_at(self, position: float) -> float:
        """The beat on which the bar at `position` began."""
        bars = math.floor((self.beat_at(position) - self.bar_beat) / self.beats_per_bar + 1e-9)
        return self.bar_beat + bars * self.beats_per_bar

    def _next(self, first: int, step: float, origin: float) -> tuple[float, int]:
        # Judged by the rounded sample, so that a boundary whose sample is `first` itself is not passed over.
        count = math.floor((self.beat_at(first) - origin) / step)
        while self.sample_of(origin + count * step) < first:
            count += 1
        return origin + count * step, self.sample_of(origin + count * step)

    def with_tempo(self, bpm: float, position: float) -> Transport:
        """Another tempo from `position` on; the beat there stays."""
        return replace(self, bpm=bpm, anchor_position=position, anchor_beat=self.beat_at(position))

    def started(self, position: float) -> Transport:
        """Rolling from `position` on, from the beat where it stood."""
        return replace(self, rolling=True, anchor_position=position, anchor_beat=self.beat_at(position))

    def stopped(self, position: float) -> Transport:
        """Standing at the beat reached at `position`."""
        return replace(self, rolling=False, anchor_position=position, anchor_beat=self.beat_at(position))

    def located(self, beat: float, position: float) -> Transport:
        """At `beat` when the clock is at `position`."""
        return replace(self, anchor_position=position, anchor_beat=beat)

    def with_signature(self, numerator: int, denominator: int, position: float | None = None) -> Transport:
        """Another time signature; beats stay. Bars count from the bar at `position` (None: from where they did)."""
        bar = self.bar_beat if position is None else self.bar_at(position)
        return replace(self, numerator=numerator, denominator=denominator, bar_beat=bar)

    def with_rate(self, rate: int, position: float, new_position: float) -> Transport:
        """On a sample clock of another rate: the beat at `position` is the one at `new_position` there."""
        return replace(self, rate=rate, anchor_position=new_position, anchor_beat=self.beat_at(position))
