"""The counters of the audio callback, in shared memory: it writes them, anybody looks, nobody waits.

Realtime-safe: everything that the callback calls. Thread-safe: one writer (the callback), any number of readers.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from soundforge.live.ring_buffer import CACHE_LINE
from soundforge.live.shared_block import SharedBlock, make_fence


class AudioStatus:
    """Counters that the callback keeps and the control process reads at any time.

    Times are `time.perf_counter()` seconds, which all processes of a machine share.
    `position` and `clock` belong together and are written under a sequence number; the rest are single values.
    """

    _SEQUENCE, _POSITION, _BLOCKS, _UNDERRUNS, _LATE, _XRUNS, _LIMITED, _PLAYING = range(0, 8 * CACHE_LINE, CACHE_LINE)
    _BLOCK = 8 * CACHE_LINE
    _CLOCK, _PEAK_IN, _PEAK_OUT, _LONGEST, _DRIFT = range(5)
    _N_INTS, _N_FLOATS = 9 * CACHE_LINE, 8

    def __init__(self, name: str = "") -> None:
        self._block = SharedBlock(0 if name else (self._N_INTS + self._N_FLOATS) * 8, name)
        self.name = self._block.name
        self._ints: NDArray[np.int64] = self._block.array((self._N_INTS,), np.int64)
        self._floats: NDArray[np.float64] = self._block.array((self._N_FLOATS,), np.float64, self._N_INTS * 8)
        self._fence = make_fence()

    # --- written by the callback ---

    def tick(self, position: int, clock: float) -> None:
        """A block is done: the sample clock stands at `position` at `clock` (time.perf_counter seconds), which is when
        the next block is due."""
        sequence = int(self._ints[self._SEQUENCE])
        self._ints[self._SEQUENCE] = sequence + 1
        self._fence()
        self._ints[self._POSITION] = position
        self._floats[self._CLOCK] = clock
        self._fence()
        self._ints[self._SEQUENCE] = sequence + 2
        self._ints[self._BLOCKS] += 1

    def count_underrun(self) -> None:
        self._ints[self._UNDERRUNS] += 1

    def count_late(self) -> None:
        self._ints[self._LATE] += 1

    def count_xrun(self) -> None:
        self._ints[self._XRUNS] += 1

    def count_limited(self) -> None:
        self._ints[self._LIMITED] += 1

    def set_playing(self, voices: int) -> None:
        self._ints[self._PLAYING] = voices

    def meter(self, peak_in: float, peak_out: float, seconds: float) -> None:
        """Peaks of the last block, and how long the callback took (the longest is kept)."""
        self._floats[self._PEAK_IN] = peak_in
        self._floats[self._PEAK_OUT] = peak_out
        if seconds > self._floats[self._LONGEST]:
            self._floats[self._LONGEST] = seconds

    def set_block(self, n_samples: int) -> None:
        """How many samples the device asks for at a time."""
        self._ints[self._BLOCK] = n_samples

    def set_drift(self, ppm: float) -> None:
        """How much faster than nominal the input device runs than the output device."""
        self._floats[self._DRIFT] = ppm

    # --- read anywhere ---

    def clock(self) -> tuple[int, float]:
        """`(position, time.perf_counter())` of the last block, consistent with each other."""
        for _ in range(1000):
            before = int(self._ints[self._SEQUENCE])
            self._fence()
            position, at = int(self._ints[self._POSITION]), float(self._floats[self._CLOCK])
            self._fence()
            if before % 2 == 0 and int(self._ints[self._SEQUENCE]) == before:
                return position, at
            if before % 2:
                time.sleep(0)
        # The writer died between its two stores; what stands there is at most one block off.
        return int(self._ints[self._POSITION]), float(self._floats[self._CLOCK])

    def mend(self) -> None:
        """Make the sequence even again after the audio process died in the middle of a tick."""
        self._ints[self._SEQUENCE] += int(self._ints[self._SEQUENCE]) % 2

    @property
    def position(self) -> int:
        return int(self._ints[self._POSITION])

    @property
    def blocks(self) -> int:
        """The heartbeat: blocks ever processed."""
        return int(self._ints[self._BLOCKS])

    @property
    def underruns(self) -> int:
        """Blocks in which a stream voice ran dry."""
        return int(self._ints[self._UNDERRUNS])

    @property
    def late(self) -> int:
        """Starts whose position had passed."""
        return int(self._ints[self._LATE])

    @property
    def xruns(self) -> int:
        """Blocks that the device flagged as underflow or overflow."""
        return int(self._ints[self._XRUNS])

    @property
    def limited(self) -> int:
        """Blocks in which the safety limiter acted."""
        return int(self._ints[self._LIMITED])

    @property
    def playing(self) -> int:
        """Voices that sound."""
        return int(self._ints[self._PLAYING])

    @property
    def peak_in(self) -> float:
        return float(self._floats[self._PEAK_IN])

    @property
    def peak_out(self) -> float:
        return float(self._floats[self._PEAK_OUT])

    @property
    def block(self) -> int:
        """Samples of the last block."""
        return int(self._ints[self._BLOCK])

    @property
    def drift_ppm(self) -> float:
        """Of the input device's clock against the output device's, parts per million; 0 when they are one."""
        return float(self._floats[self._DRIFT])

    @property
    def longest_block_seconds(self) -> float:
        """The longest the callback ever took."""
        return float(self._floats[self._LONGEST])

    def close(self) -> None:
        self._ints = np.zeros(self._N_INTS, np.int64)
        self._floats = np.zeros(self._N_FLOATS, np.float64)
        self._block.close()
