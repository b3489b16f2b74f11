"""Audio rings between processes: shared memory, one writer, one reader, nobody waits.

A ring holds float32 samples `(n_samples, channels)` and two int64 counters that only ever grow: samples written
and samples read. At 96 kHz they last three million years. The writer alone moves `written`, the reader alone
moves `read`; either side may die and come back at any point, because each copies samples first and moves its
counter afterwards. What a dead writer had copied but not counted was never there.

Threading: one writer thread and one reader thread, in any processes. Realtime-safe: `write`, `write_in_time`,
`read`, `skip`, `drain`, `seek` and the properties (no lock anybody waits for, no system call).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundforge.live.shared_block import SharedBlock, make_fence

Block = NDArray[np.float32]

HEADER_BYTES = 512
CACHE_LINE = 8  # int64 values; each counter has a line of its own, or both sides would fight for one
WRITTEN, READ, END, OVERRUN, GAP = (i * CACHE_LINE for i in range(5))
OPEN_END = -1


class RingBuffer:
    """One side's view of a ring.

    Args:
        capacity: samples, a power of two, when creating.
        channels: of each sample.
        name: attach to this existing block instead of creating one.

    Raises:
        DeviceError: the block cannot be created or found.
        ValueError: capacity is no power of two.
    """

    def __init__(self, capacity: int, channels: int, name: str = "") -> None:
        if capacity < 2 or capacity & (capacity - 1):
            raise ValueError(f"ring capacity came as {capacity}, expected a power of two")
        self.capacity, self.channels = capacity, channels
        self._block = SharedBlock(0 if name else HEADER_BYTES + capacity * channels * 4, name)
        self.name = self._block.name
        self._head: NDArray[np.int64] = self._block.array((HEADER_BYTES // 8,), np.int64)
        self._data: Block = self._block.array((capacity, channels), np.float32, HEADER_BYTES)
        self._mask = capacity - 1
        self._fence = make_fence()
        if not name:
            self._head[END] = OPEN_END

    def handle(self) -> tuple[int, int, str]:
        """What another process needs: `RingBuffer(*handle)`."""
        return self.capacity, self.channels, self.name

    @property
    def written(self) -> int:
        """Samples ever written."""
        return int(self._head[WRITTEN])

    @property
    def position(self) -> int:
        """Samples ever read or skipped."""
        return int(self._head[READ])

    @property
    def available(self) -> int:
        """Samples that can be read now."""
        return int(self._head[WRITTEN]) - int(self._head[READ])

    @property
    def space(self) -> int:
        """Samples that can be written now."""
        return self.capacity - self.available

    @property
    def overruns(self) -> int:
        """Blocks that did not fit (see `write_in_time`)."""
        return int(self._head[OVERRUN])

    # --- the writer's side ---

    def write(self, samples: Block) -> int:
        """Write what fits of `(n, channels)`; gives how many samples that was."""
        n = min(len(samples), self.space)
        if n <= 0:
            return 0
        start = self.written
        at = start & self._mask
        first = min(n, self.capacity - at)
        self._data[at:at + first] = samples[:first]
        if first < n:
            self._data[:n - first] = samples[first:n]
        self._fence()
        self._head[WRITTEN] = start + n
        return n

    def write_in_time(self, samples: Block) -> None:
        """Write a block so that `written` stays the number of samples that went by, whatever the reader does.

        What does not fit is counted as one overrun and owed as silence, which is written when there is room:
        the reader may lose sound, never the time at which the rest happened.
        """
        owed = int(self._head[GAP])
        if owed:
            owed -= self._write_zeros(owed)
            self._head[GAP] = owed
        done = 0 if owed else self.write(samples)
        if done < len(samples):
            self._head[GAP] = owed + len(samples) - done
            self._head[OVERRUN] += 1

    def owe(self, n: int) -> None:
        """Declare that `n` samples went by unheard; `write_in_time` fills them with silence."""
        self._head[GAP] += max(n, 0)

    @property
    def owed(self) -> int:
        """Samples of silence that `write_in_time` still has to write."""
        return int(self._head[GAP])

    def _write_zeros(self, wanted: int) -> int:
        n = min(wanted, self.space)
        if n <= 0:
            return 0
        start = self.written
        at = start & self._mask
        first = min(n, self.capacity - at)
        self._data[at:at + first] = 0.0
        self._data[:n - first] = 0.0
        self._fence()
        self._head[WRITTEN] = start + n
        return n

    def open_stream(self) -> int:
        """Begin a stream: forget the old end; gives the count at which the new stream starts."""
        self._head[END] = OPEN_END
        return self.written

    def end_stream(self) -> None:
        """Declare that the stream ends with what has been written by now."""
        self._fence()
        self._head[END] = self._head[WRITTEN]

    # --- the reader's side ---

    @property
    def end(self) -> int:
        """Count at which the stream ends, or -1 while it is open."""
        return int(self._head[END])

    def read(self, out: Block) -> int:
        """Fill `out` `(n, channels)`: with what there is, then zeros. Gives how many samples were real."""
        wanted = len(out)
        start = self.position
        n = min(wanted, int(self._head[WRITTEN]) - start)
        n = max(n, 0)
        self._fence()
        at = start & self._mask
        first = min(n, self.capacity - at)
        out[:first] = self._data[at:at + first]
        if first < n:
            out[first:n] = self._data[:n - first]
        if n < wanted:
            out[n:] = 0.0
        self._fence()
        self._head[READ] = start + n
        return n

    def skip(self, n: int) -> int:
        """Pass over at most `n` samples; gives how many."""
        n = max(0, min(n, self.available))
        self._head[READ] += n
        return n

    def drain(self) -> int:
        """Pass over all there is; gives how many samples."""
        return self.skip(self.capacity)

    def seek(self, count: int) -> None:
        """Go forward to `count`, where a stream starts; counts that lie behind or ahead of the data are limited."""
        self._head[READ] = min(max(count, self.position), self.written)

    def close(self) -> None:
        """Give the memory up (and unlink it where it was created). Safe to call twice."""
        self._head = np.zeros(HEADER_BYTES // 8, np.int64)
        self._data = np.zeros((self.capacity, self.channels), np.float32)
        self._block.close()


class RecordRing:
    """A ring of fixed-size records (a numpy structured dtype), for commands into and events out of the callback.

    Same rules as `RingBuffer`. A full ring refuses the record; the writer decides what that means.
    """

    def __init__(self, capacity: int, dtype: np.dtype[np.void], name: str = "") -> None:
        if capacity < 2 or capacity & (capacity - 1):
            raise ValueError(f"ring capacity came as {capacity}, expected a power of two")
        self.capacity = capacity
        self._block = SharedBlock(0 if name else HEADER_BYTES + capacity * dtype.itemsize, name)
        self.name = self._block.name
        self._head: NDArray[np.int64] = self._block.array((HEADER_BYTES // 8,), np.int64)
        self._data: NDArray[np.void] = self._block.array((capacity,), dtype, HEADER_BYTES)
        self._mask = capacity - 1
        self._fence = make_fence()
        self.dropped = 0

    def handle(self) -> tuple[int, str]:
        return self.capacity, self.name

    @property
    def available(self) -> int:
        return int(self._head[WRITTEN]) - int(self._head[READ])

    def put(self, record: tuple[float, ...]) -> bool:
        """Append one record; False (and counted in `dropped`) when the ring is full."""
        if self.available >= self.capacity:
            self.dropped += 1
            return False
        written = int(self._head[WRITTEN])
        self._data[written & self._mask] = record
        self._fence()
        self._head[WRITTEN] = written + 1
        return True

    def get(self) -> tuple[float, ...] | None:
        """The oldest record as a plain tuple, or None."""
        position = int(self._head[READ])
        if int(self._head[WRITTEN]) <= position:
            return None
        self._fence()
        record: tuple[float, ...] = self._data[position & self._mask].item()
        self._fence()
        self._head[READ] = position + 1
        return record

    def close(self) -> None:
        """Give the memory up. Safe to call twice."""
        self._head = np.zeros(HEADER_BYTES // 8, np.int64)
        self._data = np.zeros(0, self._data.dtype)
        self._mask = -1
        self._block.close()
