"""Chunks become one seamless stream, at any rate, for any chunking, whatever room the ring has."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.live.ring_buffer import RingBuffer
from soundforge.live.stream_feeder import StreamFeeder, StreamingResampler


def sine(n: int, rate: int, hz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(n) / rate).astype(np.float32)[None]


def push_all(resampler: StreamingResampler, wave: np.ndarray, cuts: list[int]) -> np.ndarray:
    edges = [0, *sorted(min(cut, wave.shape[1]) for cut in cuts), wave.shape[1]]
    pieces = [resampler.push(wave[:, a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate([*pieces, resampler.push(wave[:, :0], last=True)], axis=1)


@given(rate=st.sampled_from([32_000, 44_100, 48_000, 96_000]), cuts=st.lists(st.integers(0, 20_000), max_size=8),
       n=st.integers(1, 20_000))
def test_resampling_does_not_depend_on_the_chunks(rate: int, cuts: list[int], n: int) -> None:
    wave = sine(n, 32_000)
    whole = push_all(StreamingResampler(32_000, rate, 1), wave, [])
    pieces = push_all(StreamingResampler(32_000, rate, 1), wave, cuts)
    assert whole.shape[1] == round(n * rate / 32_000)
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_resampling_keeps_time_and_level(rate: int) -> None:
    made = push_all(StreamingResampler(32_000, rate, 1), sine(32_000, 32_000), [100, 2020, 5000])
    np.testing.assert_allclose(made[0, 200:-200], sine(rate, rate)[0, 200:-200], atol=2e-3)


@given(skip=st.integers(0, 3000), lengths=st.lists(st.integers(0, 2000), min_size=1, max_size=10),
       reads=st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_everything_arrives_in_order_through_a_small_ring(skip: int, lengths: list[int], reads: list[int]) -> None:
    ring = RingBuffer(1024, 2)
    reader = RingBuffer(*ring.handle())
    try:
        reader_at = reader.position
        feeder = StreamFeeder(RingBuffer(*ring.handle()), 48_000, 48_000, 1, skip)
        sent = np.arange(1, sum(lengths) + 1, dtype=np.float32)
        at = 0
        for n in lengths:
            feeder.push(sent[None, at:at + n])
            at += n
        feeder.push(np.zeros((1, 0), np.float32), last=True)
        got: list[float] = []
        for k in range(10_000):
            done = feeder.pump()
            out = np.empty((reads[k % len(reads)], 2), np.float32)
            n = reader.read(out)
            assert (out[:n, 0] == out[:n, 1]).all()
            got += out[:n, 0].tolist()
            if done and not reader.available:
                break
        assert got == sent[skip:].tolist()
        assert reader.end == reader_at + len(got)
    finally:
        reader.close()
        ring.close()


def test_an_aborted_stream_ends_with_what_is_in_the_ring() -> None:
    ring = RingBuffer(1024, 1)
    try:
        feeder = StreamFeeder(RingBuffer(*ring.handle()), 48_000, 48_000, 1)
        feeder.push(np.ones((1, 5000), np.float32))
        assert not feeder.pump()
        feeder.abort()
        assert feeder.pump()
        assert ring.end == ring.written == 1024
    finally:
        ring.close()
