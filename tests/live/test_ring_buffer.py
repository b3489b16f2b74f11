"""Rings lose nothing, keep order, and survive the death of either side, whatever the block sizes."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.live.audio_protocol import COMMAND
from soundforge.live.ring_buffer import RecordRing, RingBuffer

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def ring() -> Iterator[RingBuffer]:
    made = RingBuffer(16, 2)
    yield made
    made.close()


def ramp(start: int, n: int, channels: int = 2) -> np.ndarray:
    return np.repeat(np.arange(start, start + n, dtype=np.float32)[:, None], channels, axis=1)


@given(st.lists(st.tuples(st.sampled_from(["write", "read", "skip"]), st.integers(0, 40)), max_size=60))
def test_ring_behaves_as_a_bounded_queue(steps: list[tuple[str, int]]) -> None:
    ring, model, counter = RingBuffer(16, 2), deque[float](), 0
    try:
        for action, n in steps:
            if action == "write":
                done = ring.write(ramp(counter, n))
                assert done == min(n, 16 - len(model))
                model.extend(range(counter, counter + done))
                counter += done
            elif action == "read":
                out = np.full((n, 2), -1, np.float32)
                got = ring.read(out)
                expected = [model.popleft() for _ in range(min(n, len(model)))]
                assert got == len(expected)
                assert out[:, 0].tolist() == expected + [0.0] * (n - got)
                assert (out[:, 0] == out[:, 1]).all()
            else:
                expected_skip = min(n, len(model))
                assert ring.skip(n) == expected_skip
                for _ in range(expected_skip):
                    model.popleft()
            assert ring.available == len(model)
    finally:
        ring.close()


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 30)), max_size=60))
def test_writing_in_time_keeps_the_clock_through_overruns(steps: list[tuple[int, int]]) -> None:
    """Sample number k of what the reader gets is what went by at time k, or silence; never another moment's."""
    ring, clock, heard = RingBuffer(16, 1), 0, []
    try:
        for n_in, n_out in steps:
            ring.write_in_time(ramp(clock + 1, n_in, 1))
            clock += n_in
            assert ring.written + ring.owed == clock
            out = np.empty((n_out, 1), np.float32)
            heard += out[:ring.read(out), 0].tolist()
        assert all(value in (0.0, k + 1) for k, value in enumerate(heard))
    finally:
        ring.close()


def test_overruns_are_counted_and_filled_with_silence(ring: RingBuffer) -> None:
    ring.write_in_time(ramp(1, 12))
    ring.write_in_time(ramp(13, 12))
    assert ring.overruns == 1
    assert ring.owed == 8
    out = np.empty((16, 2), np.float32)
    assert ring.read(out) == 16
    ring.write_in_time(ramp(25, 4))
    assert ring.read(out) == 12
    assert out[:12, 0].tolist() == [0.0] * 8 + [25.0, 26.0, 27.0, 28.0]


def test_seek_stays_within_the_data(ring: RingBuffer) -> None:
    ring.write(ramp(0, 10))
    ring.seek(4)
    assert (ring.position, ring.available) == (4, 6)
    ring.seek(2)
    assert ring.position == 4
    ring.seek(99)
    assert ring.available == 0


def test_a_stream_has_an_end(ring: RingBuffer) -> None:
    assert ring.end == -1
    assert ring.open_stream() == 0
    ring.write(ramp(0, 5))
    ring.end_stream()
    assert ring.end == 5
    assert ring.open_stream() == 5
    assert ring.end == -1


def test_capacity_must_be_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="expected a power of two"):
        RingBuffer(24, 1)


def test_records_come_in_order_and_a_full_ring_refuses() -> None:
    ring = RecordRing(4, COMMAND)
    try:
        assert ring.get() is None
        for k in range(4):
            assert ring.put((k, 1, 2, 3, 4, 5, 0.5, 1.5))
        assert not ring.put((9, 0, 0, 0, 0, 0, 0.0, 0.0))
        assert ring.dropped == 1
        assert [ring.get() for _ in range(4)] == [(k, 1, 2, 3, 4, 5, 0.5, 1.5) for k in range(4)]
        assert ring.get() is None
    finally:
        ring.close()


def _write_until(handle: tuple[int, int, str], total: int, die_at: int) -> None:
    import os
    import time

    ring = RingBuffer(*handle)
    while ring.written < total:
        start = ring.written
        n = min(1 + start % 97, total - start)
        # Modulo 2**20: float32 holds whole numbers exactly only up to 2**24.
        wave = (np.arange(start, start + n) % 2**20).astype(np.float32)
        if not ring.write(np.repeat(wave[:, None], ring.channels, axis=1)):
            time.sleep(0.001)
        if die_at and ring.written >= die_at:
            os._exit(9)
    ring.close()


@pytest.mark.slow
def test_two_processes_and_a_writer_that_dies() -> None:
    """A second writer goes on where the killed one stopped; the reader sees every sample once, in order."""
    import time

    total, ring = 100_000, RingBuffer(1024, 2)
    try:
        out, seen = np.empty((111, 2), np.float32), 0
        for die_at in (total // 2, 0):
            writer = SPAWN.Process(target=_write_until, args=(ring.handle(), total, die_at))
            writer.start()
            deadline = time.monotonic() + 60
            while (writer.is_alive() or ring.available) and time.monotonic() < deadline:
                n = ring.read(out)
                if not n:
                    time.sleep(0.001)
                expected = (np.arange(seen, seen + n) % 2**20).astype(np.float32)
                np.testing.assert_array_equal(out[:n, 0], expected)
                np.testing.assert_array_equal(out[:n, 1], expected)
                seen += n
            writer.join(10)
            assert writer.exitcode == (9 if die_at else 0)
        assert seen == total
    finally:
        ring.close()
