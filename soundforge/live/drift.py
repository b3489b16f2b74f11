"""Two devices with clocks of their own: what one captures is resampled to the other's clock, for as long as it runs.

The input's callback writes into a ring; the output's callback, which keeps the sample clock, reads it through an
`Interpolator`. How fast it must read is found from the two callbacks' times, not from how full the ring is: a ring's
level jumps by whole blocks, a straight line through block times does not (`ClockFilter`, one for each side). The
difference between the lines is the true, fractional delay; a slow controller keeps it where it was at the start, so
the input's latency is constant, and its corrections (some parts per million a second) are far below hearing.

Threading: `push` on the input's callback thread, `pull` on the output's; both in one process, so the interpreter lock
orders them. Realtime-safe: both (no arrays are made).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundforge.live.adaptive_resampler import Interpolator
from soundforge.live.clock_line import ClockFilter

Block = NDArray[np.float32]

LOOP_HZ = 0.05          # bandwidth of the controller: corrections take some seconds
QUICK_HZ = 0.5          # in the first second; it falls to LOOP_HZ as 1 / time
MOST_CORRECTION = 0.002  # 2000 ppm: two bad crystals and a margin
SETTLING_SECONDS = 0.5   # the lines are found before anything is read by them
STALE_SECONDS = 0.25     # an input that has said nothing for so long does not run
SPARE_SECONDS = 0.005    # in hand against callbacks that come late


class DriftBridge:
    """See the module.

    Args:
        from_rate, to_rate: nominal rates of input and output device, Hz.
        channels: of the input.
        blocks: samples in a block of the input device and of the output device.
    """

    def __init__(self, from_rate: float, to_rate: float, channels: int, blocks: tuple[int, int]) -> None:
        self._nominal = from_rate / to_rate
        self._from_rate, self._to_rate = float(from_rate), float(to_rate)
        self._interpolator = Interpolator(self._nominal, blocks[1])
        half = self._interpolator.half
        # In hand when the output reads: a block of each side, so that either may be late by nearly one, and the filter.
        self.target = float(blocks[0] + blocks[1] * self._nominal + 2 * half + SPARE_SECONDS * from_rate)
        self._block_in = blocks[0]
        size = 1 << int(np.ceil(np.log2(8 * (self.target + blocks[0] + blocks[1] * self._nominal))))
        self._data: Block = np.zeros((channels, size), np.float32)
        self._size = size
        self._window: Block = np.zeros((channels, self._interpolator.needs(1.0, self._nominal * 1.01, blocks[1]) + 2),
                                       np.float32)
        self._written = 0
        self._read = 0.0        # position, in input samples, of the next output
        self._running = False
        self._in, self._out = ClockFilter(from_rate), ClockFilter(to_rate)
        self._given = 0
        self._correction = self._integral = 0.0
        self._started = 0.0
        self._since = -1.0      # when both sides began to run; -1 = the output has not
        self.error = 0.0        # input samples by which the delay differs from the target
        self.slips = 0

    @property
    def delay_seconds(self) -> float:
        """From the input's callback to the output's, from first sample of a block to first sample of a block."""
        return (self.target - self._block_in) / self._from_rate

    @property
    def correction_ppm(self) -> float:
        """How much faster than nominal the input is read."""
        return 1e6 * self._correction

    @property
    def fill(self) -> float:
        """Input samples that wait to be read."""
        return self._written - self._read

    def push(self, block: Block, seconds: float) -> None:
        """The input's callback: `block` `(n, channels)` came at `seconds` (time.perf_counter)."""
        self._in.observe(self._written + len(block), seconds)
        at, n = self._written % self._size, len(block)
        first = min(n, self._size - at)
        self._data[:, at:at + first] = block[:first].T
        if first < n:
            self._data[:, :n - first] = block[first:].T
        self._written += n

    def pull(self, out: Block, seconds: float) -> bool:
        """The output's callback at `seconds`: fill `out` `(n, channels)`; False while there is nothing (silence)."""
        n = len(out)
        self._out.observe(self._given, seconds)
        self._given += n
        if not self._running and not self._begin(n, seconds):
            out[...] = 0.0
            return False
        ratio = self._nominal * (1.0 + self._correction)
        whole = int(self._read)
        fraction, half = self._read - whole, self._interpolator.half
        wanted = self._interpolator.needs(fraction, ratio, n)
        oldest = whole - half + 1
        if oldest + wanted > self._written or self._written - oldest > self._size:
            self._slip(seconds)
            out[...] = 0.0
            return False
        window = self._window[:, :wanted]
        at = oldest % self._size
        first = min(wanted, self._size - at)
        window[:, :first] = self._data[:, at:at + first]
        if first < wanted:
            window[:, first:] = self._data[:, :wanted - first]
        self._read = whole + self._interpolator.render(window, fraction, ratio, out)
        self._steer(n, seconds)
        return True

    def _begin(self, n: int, seconds: float) -> bool:
        """Start reading `target` behind what has been written, once both sides have run for a while."""
        line = self._in.line
        if self._since < 0 or not self._in.known or seconds - line.seconds > STALE_SECONDS:
            self._since = seconds
        if seconds - self._since < SETTLING_SECONDS:
            return False
        read = line.position_at(self._out.line.seconds) - self.target
        oldest = int(read) - self._interpolator.half + 1
        if oldest < 0 or oldest + self._interpolator.needs(1.0, self._nominal, n) > self._written:
            return False
        self._read, self._running, self._started = read, True, seconds
        return True

    def _slip(self, seconds: float) -> None:
        """One side stood still for longer than is in hand: begin anew. Counted; it is heard."""
        self.slips += 1
        self._running, self._since = False, seconds
        self._correction = self._integral

    def _steer(self, n: int, seconds: float) -> None:
        """Move the ratio so that what is in hand stays at the target."""
        line = self._out.line
        due = line.time_of(self._given)  # when the sample after this block is due, by the smoothed clock
        self.error = self._in.line.position_at(due) - self._read - self.target
        # As the lines become better known with time, so the loop becomes slower.
        omega = 2.0 * np.pi * max(LOOP_HZ, QUICK_HZ / (1.0 + seconds - self._started))
        error, passed = self.error / self._from_rate, n / self._to_rate  # seconds
        self._integral += omega * omega * error * passed / 2.0
        self._integral = min(max(self._integral, -MOST_CORRECTION), MOST_CORRECTION)
        wanted = self._integral + 1.4 * omega * error / 2.0
        self._correction = min(max(wanted, -MOST_CORRECTION), MOST_CORRECTION)
