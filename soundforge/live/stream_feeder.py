"""From the model's chunks to the playback ring: streaming resampler, channel map, back-pressure.

The worker hands over chunks as they are made and never waits; one thread moves them into the rings as room comes.

Threading: `StreamFeeder.push`, `finish` and `abort` from the worker, `pump` from the feeding thread; a lock that
the audio callback never sees is between them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray

from soundforge.audio import Samples, mix_channels
from soundforge.live.ring_buffer import RingBuffer

Block = NDArray[np.float32]

PUMP_SECONDS = 0.01


class StreamingResampler:
    """Chunks `[C, n]` from one rate to another; the pieces joined are the whole resampled, without seams."""

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self._stream = (None if from_rate == to_rate
                        else soxr.ResampleStream(from_rate, to_rate, channels, "float32", quality="HQ"))
        self._ratio = to_rate / from_rate
        self._came = self._gave = 0

    def push(self, samples: Samples, last: bool = False) -> Samples:
        """What is final by now, `[C, m]`; with `last` all of it, `round(n * ratio)` samples in total."""
        if self._stream is None:
            return samples
        self._came += samples.shape[1]
        made = np.asarray(self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last), np.float32).T
        if last:
            missing = round(self._came * self._ratio) - self._gave - made.shape[1]
            made = np.pad(made, ((0, 0), (0, missing))) if missing > 0 else made[:, :made.shape[1] + missing]
        self._gave += made.shape[1]
        return np.ascontiguousarray(made)


class StreamFeeder:
    """One job's way into one ring.

    Args:
        ring: the playback ring, already attached; the feeder closes it.
        from_rate, to_rate: of the model and of the device, Hz.
        channels: of the model.
        skip_samples: drop so many at the device's rate before the first one.
    """

    def __init__(self, ring: RingBuffer, from_rate: int, to_rate: int, channels: int, skip_samples: int = 0) -> None:
        self.ring = ring
        self.count = ring.open_stream()
        self._resampler = StreamingResampler(from_rate, to_rate, channels)
        self._to_rate = to_rate
        self._skip = skip_samples
        self._pending: deque[Block] = deque()
        self._lock = threading.Lock()
        self._ending = False
        self._waiting = 0
        self.aborted = False
        """Nobody hears the rest of this stream; what is pushed is dropped."""
        self.begun = False
        """It has, or had, something to be heard."""

    def push(self, samples: Samples, last: bool = False) -> None:
        """Take samples `[C, n]` at the model's rate."""
        if self.aborted:
            return
        made = mix_channels(self._resampler.push(samples, last), self.ring.channels)
        dropped = min(self._skip, made.shape[1])
        self._skip -= dropped
        block = np.ascontiguousarray(made[:, dropped:].T)
        with self._lock:
            if len(block) and not self.aborted:
                self.begun = True
                self._pending.append(block)
                self._waiting += len(block)
            self._ending |= last

    def abort(self) -> None:
        """End the stream with what is in the ring."""
        with self._lock:
            self.aborted = True

    @property
    def ahead_seconds(self) -> float:
        """Sound that waits here or in the ring to be played."""
        return (self._waiting + self.ring.available) / self._to_rate

    def pump(self) -> bool:
        """Move what fits into the ring; True when this stream is complete (its ring is closed then)."""
        with self._lock:
            if self.aborted:
                self._pending.clear()
                self._waiting = 0
                self._ending = True
            while self._pending:
                block = self._pending[0]
                done = self.ring.write(block)
                self._waiting -= done
                if done < len(block):
                    self._pending[0] = block[done:]
                    return False
                self._pending.popleft()
            if not self._ending:
                return False
            self.ring.end_stream()
            self.ring.close()
            return True


class FeedingThread:
    """Pumps all feeders every few milliseconds; `on_closed(job)` is called on it when one is complete."""

    def __init__(self, on_closed: Callable[[str], None]) -> None:
        self._feeders: dict[str, StreamFeeder] = {}
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="stream feeder", daemon=True)
        self._thread.start()

    def add(self, job: str, feeder: StreamFeeder) -> None:
        with self._lock:
            self._feeders[job] = feeder
        self._wake.set()

    def abort(self, job: str) -> None:
        """End a job's stream, if it has one that is not complete."""
        with self._lock:
            feeder = self._feeders.get(job)
        if feeder is not None:
            feeder.abort()

    def stop(self) -> None:
        """End the thread; streams that are not complete stay as they are."""
        self._running = False
        self._wake.set()
        self._thread.join()
        for feeder in self._feeders.values():
            feeder.ring.close()

    def _run(self) -> None:
        while self._running:
            self._wake.wait(PUMP_SECONDS if self._feeders else None)
            self._wake.clear()
            with self._lock:
                feeders = list(self._feeders.items())
            for job, feeder in feeders:
                if feeder.pump():
                    with self._lock:
                        self._feeders.pop(job, None)
                    self._on_closed(job)
