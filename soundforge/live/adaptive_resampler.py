"""Resampling by a ratio that may change with every block, by windowed-sinc interpolation, for two clocks that drift.

Output sample k lies at input position x; it is the sum over the `2 * half` input samples around x, weighted by a
sinc under a Kaiser window. Weights for 512 fractions of a sample are tabled and the two nearest are mixed, so the
ratio can be anything, and change, without a seam: only x moves.

Realtime-safe: `Interpolator.render` makes no arrays. Not thread-safe.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]

ZERO_CROSSINGS = 16
PHASES = 512
KAISER_BETA = 9.0      # side lobes below -90 dB
PASS_BAND = 0.92       # of the lower Nyquist frequency


class Interpolator:
    """See the module.

    Args:
        ratio: nominal input samples per output sample; the filter is made for it, and good for some per cent around.
        max_block: most output samples at once.
    """

    def __init__(self, ratio: float, max_block: int) -> None:
        cutoff = PASS_BAND * min(1.0, 1.0 / ratio)
        self.half = math.ceil(ZERO_CROSSINGS / cutoff)
        taps = 2 * self.half
        # Row p holds the weights of the inputs floor(x) - half + 1 .. floor(x) + half for the fraction p / PHASES.
        offsets = np.arange(1 - self.half, self.half + 1)[None, :] - (np.arange(PHASES + 1) / PHASES)[:, None]
        window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0.0, 1.0 - (offsets / self.half) ** 2))) / np.i0(KAISER_BETA)
        table = cutoff * np.sinc(cutoff * offsets) * window
        table /= table.sum(axis=1, keepdims=True)  # exactly 1 for a constant, whatever the fraction
        self._table: Block = table.astype(np.float32)
        self._steps = np.arange(max_block, dtype=np.float64)
        self._x = np.empty(max_block)
        self._whole = np.empty(max_block)
        self._first = np.empty(max_block, np.intp)
        self._phase = np.empty(max_block, np.intp)
        self._mix = np.empty((max_block, 1), np.float32)
        self._weights = np.empty((max_block, taps), np.float32)
        self._next = np.empty((max_block, taps), np.float32)
        self._index = np.empty((max_block, taps), np.intp)
        self._span = np.arange(taps, dtype=np.intp)[None, :]
        self._channel: Block = np.empty((max_block, taps), np.float32)

    def needs(self, fraction: float, ratio: float, n: int) -> int:
        """Input samples `[i]` that `render` looks at for `n` outputs."""
        return math.floor(fraction + (n - 1) * ratio) + 2 * self.half

    def render(self, history: Block, fraction: float, ratio: float, out: Block) -> float:
        """Fill `out` `(n, channels)`; gives the input position after it.

        Args:
            history: input `[channels, m]`; number `half - 1` is the sample at or just before the first output.
            fraction: of the first output's position beyond that sample, in [0, 1).
            ratio: input samples per output sample, for this block.
            out: overwritten.
        """
        n = len(out)
        x, whole, mix = self._x[:n], self._whole[:n], self._mix[:n]
        np.multiply(self._steps[:n], ratio, out=x)
        np.add(x, fraction, out=x)
        np.floor(x, out=whole)
        first, phase = self._first[:n], self._phase[:n]
        np.copyto(first, whole, casting="unsafe")
        np.subtract(x, whole, out=x)
        np.multiply(x, PHASES, out=x)
        np.floor(x, out=whole)
        np.copyto(phase, whole, casting="unsafe")
        np.subtract(x, whole, out=x)
        np.copyto(mix[:, 0], x, casting="same_kind")
        weights, other = self._weights[:n], self._next[:n]
        np.take(self._table, phase, axis=0, out=weights, mode="clip")
        np.add(phase, 1, out=phase)
        np.take(self._table, phase, axis=0, out=other, mode="clip")
        np.subtract(other, weights, out=other)
        np.multiply(other, mix, out=other)
        np.add(weights, other, out=weights)
        index, taken = self._index[:n], self._channel[:n]
        np.add(first[:, None], self._span, out=index)
        for channel in range(out.shape[1]):
            np.take(history[channel], index, out=taken, mode="clip")
            np.multiply(taken, weights, out=taken)
            np.sum(taken, axis=1, out=out[:, channel])
        return fraction + n * ratio
