"""Gain that moves without a click: linear, or equal power where something else fades the other way.

Realtime-safe: all methods; the arrays are made once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Gains = NDArray[np.float32]

HALF_PI = float(np.pi / 2)


class Ramp:
    """A gain that is constant, or on its way from one value to another.

    Args:
        value: at the start.
        max_block: largest number of samples asked for at once.
    """

    def __init__(self, value: float, max_block: int) -> None:
        self.value = value
        self.target = value
        self._from, self._done, self._total = value, 0, 0
        self._equal_power = False
        self._count = np.arange(1, max_block + 1, dtype=np.float32)
        self._gains: Gains = np.empty(max_block, np.float32)
        self._other: Gains = np.empty(max_block, np.float32)

    @property
    def moving(self) -> bool:
        return self._done < self._total

    def set(self, value: float) -> None:
        """Be `value` at once."""
        self.value = self.target = value
        self._done = self._total = 0

    def to(self, target: float, n_samples: int, equal_power: bool = False) -> None:
        """Move to `target` within `n_samples`, from wherever it is now."""
        if n_samples <= 0 or target == self.value:  # of a gain that is there already equal power would make a swell
            self.set(target)
            return
        self._from, self.target = self.value, target
        self._done, self._total = 0, n_samples
        self._equal_power = equal_power

    def render(self, n: int) -> Gains | None:
        """The gains `[n]` of the next `n` samples, or None when all of them are `value`.

        The array is reused by the next call.
        """
        if not self.moving:
            return None
        gains, other = self._gains[:n], self._other[:n]
        np.add(self._count[:n], np.float32(self._done), out=gains)
        np.multiply(gains, np.float32(1.0 / self._total), out=gains)
        np.minimum(gains, np.float32(1.0), out=gains)
        if self._equal_power:
            # from * cos + to * sin: against the same ramp the other way round the power adds up to one.
            np.multiply(gains, np.float32(HALF_PI), out=gains)
            np.cos(gains, out=other)
            np.multiply(other, np.float32(self._from), out=other)
            np.sin(gains, out=gains)
            np.multiply(gains, np.float32(self.target), out=gains)
            np.add(gains, other, out=gains)
        else:
            np.multiply(gains, np.float32(self.target - self._from), out=gains)
            np.add(gains, np.float32(self._from), out=gains)
        if self._done + n >= self._total:
            gains[self._total - self._done - 1:] = self.target  # exactly, whatever sine and cosine rounded to
        self._done += n
        self.value = self.target if not self.moving else float(gains[n - 1])
        return gains
