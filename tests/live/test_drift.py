"""Two devices with clocks of their own: no clicks, a bounded fill and a steady delay, whatever the crystals do."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge.live.adaptive_resampler import Interpolator
from soundforge.live.drift import DriftBridge

HZ, LEVEL = 997.0, 0.5


@dataclass
class Run:
    """What two simulated devices did to a sine that the input hears."""

    bridge: DriftBridge
    sound: np.ndarray
    true_out: float
    fills: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def clicks(self, after: float) -> float:
        """The largest deviation from a pure tone of the right pitch: a sine obeys y[n+1] + y[n-1] = 2 cos(w) y[n]."""
        y = self.sound[int(after * self.true_out):].astype(np.float64)
        return float(np.abs(y[2:] + y[:-2] - 2 * np.cos(2 * np.pi * HZ / self.true_out) * y[1:-1]).max())


def simulate(rates: tuple[int, int], ppm: tuple[float, float], blocks: tuple[int, int], seconds: float,
             late: float, seed: int, since: float = 0.0) -> Run:
    """Both devices call back when a block is due on their own clocks, late by some noise; they have run for `since`
    seconds already."""
    source = random.Random(seed)
    true_in, true_out = (rate * (1 + 1e-6 * p) for rate, p in zip(rates, ppm, strict=True))
    bridge = DriftBridge(*rates, 1, blocks)
    run = Run(bridge, np.zeros(0), true_out)
    bridge._written, bridge._given = before, _ = int(since * rates[0]), int(since * rates[1])
    begin = (since + source.uniform(0, 0.01), since + source.uniform(0, 0.01))
    heard = played = 0
    pieces, out = [], np.zeros((blocks[1], 1), np.float32)
    next_in = next_out = since
    while next_out < since + seconds:
        if next_in <= next_out:
            index = np.arange(heard, heard + blocks[0])
            bridge.push((LEVEL * np.sin(2 * np.pi * HZ * index / true_in)).astype(np.float32)[:, None], next_in)
            heard += blocks[0]
            next_in = max(next_in, begin[0] + (heard + blocks[0]) / true_in + abs(source.gauss(0, late)))
        else:
            bridge.pull(out, next_out)
            # Where the next output lies in the input, against where the input's clock truly is at that moment.
            played += blocks[1]
            due = begin[1] + (played + blocks[1]) / true_out
            run.delays.append(((due - begin[0]) * true_in - (bridge._read - before)) / true_in)
            run.fills.append(bridge.fill)
            pieces.append(out[:, 0].copy())
            next_out = max(next_out, due + abs(source.gauss(0, late)))
    run.sound = np.concatenate(pieces)
    return run


@settings(max_examples=10)
@given(st.floats(-300, 300), st.floats(-300, 300), st.sampled_from([(256, 256), (128, 512), (1024, 64)]),
       st.sampled_from([(48_000, 48_000), (44_100, 48_000), (96_000, 48_000), (48_000, 44_100)]), st.integers(0, 99))
def test_no_clicks_and_a_bounded_fill(in_ppm: float, out_ppm: float, blocks: tuple[int, int], rates: tuple[int, int],
                                      seed: int) -> None:
    run = simulate(rates, (in_ppm, out_ppm), blocks, 8.0, 0.0004, seed)
    assert run.bridge.slips == 0
    assert run.clicks(0.5) < 2e-4 * LEVEL, "a click, or the wrong pitch"
    one_second = int(1.0 * run.true_out / blocks[1])
    fills = np.array(run.fills[one_second:])
    assert fills.min() > 0 and fills.max() < 2.0 * run.bridge.target
    delays = np.array(run.delays[one_second:])
    assert np.ptp(delays) < 0.0015, "the delay wanders"


@pytest.mark.soak
@pytest.mark.parametrize("ppm", [(-300.0, 300.0), (300.0, -300.0), (50.0, -20.0), (0.0, 0.0)])
def test_ten_minutes_of_drift(ppm: tuple[float, float]) -> None:
    run = simulate((48_000, 48_000), ppm, (256, 256), 600.0, 0.0005, 1)
    assert run.bridge.slips == 0 and run.clicks(1.0) < 2e-4 * LEVEL
    assert run.bridge.correction_ppm == pytest.approx(ppm[0] - ppm[1], abs=5)
    assert np.ptp(run.delays[len(run.delays) // 10:]) < 0.0003


def test_the_correction_is_the_difference_of_the_clocks() -> None:
    run = simulate((48_000, 48_000), (200.0, -50.0), (256, 256), 25.0, 0.0003, 3)
    assert run.bridge.correction_ppm == pytest.approx(250, abs=25)
    told = run.bridge.delay_seconds + 256 / 48_000  # from a block's end, as `delays` counts
    assert np.mean(run.delays[-500:]) == pytest.approx(told, abs=0.0015), "the delay is the one that is told"


def test_after_ten_hours_it_sounds_as_in_the_first_minute() -> None:
    run = simulate((96_000, 96_000), (150.0, -150.0), (256, 256), 8.0, 0.0004, 5, since=36_000.0)
    assert run.bridge.slips == 0 and run.clicks(0.5) < 2e-4 * LEVEL
    assert np.ptp(run.delays[int(run.true_out / 256):]) < 0.0015


def test_a_device_that_stands_still_is_counted_and_comes_back() -> None:
    bridge, out = DriftBridge(48_000, 48_000, 1, (256, 256)), np.zeros((256, 1), np.float32)
    now = 0.0
    for _ in range(400):
        now += 256 / 48_000
        bridge.push(np.full((256, 1), 0.5, np.float32), now)
        bridge.pull(out, now + 0.001)
    assert bridge.slips == 0 and out.min() > 0.49
    for _ in range(400):  # the input's callbacks stop for two seconds
        now += 256 / 48_000
        bridge.pull(out, now + 0.001)
    assert bridge.slips == 1 and not out.any(), "silence, and counted once"
    for _ in range(400):
        now += 256 / 48_000
        bridge.push(np.full((256, 1), 0.5, np.float32), now)
        bridge.pull(out, now + 0.001)
    assert out.min() > 0.49 and bridge.slips == 1


@given(st.floats(0.45, 2.2), st.integers(0, 50))
@settings(max_examples=20)
def test_interpolation_is_clean_at_any_ratio_and_block_border(ratio: float, seed: int) -> None:
    source = np.random.default_rng(seed)
    kernel, hz = Interpolator(ratio, 300), 0.05 / max(1.0, ratio)  # of the input's rate
    history = np.sin(2 * np.pi * hz * np.arange(20_000)).astype(np.float32)[None]
    x, pieces = float(kernel.half), []
    for n in source.integers(1, 300, 12):
        whole = int(x)
        part = history[:, whole - kernel.half + 1:]
        out = np.zeros((n, 1), np.float32)
        assert part.shape[1] >= kernel.needs(x - whole, ratio, n)
        x = whole + kernel.render(part, x - whole, ratio, out)
        pieces.append(out[:, 0])
    sound = np.concatenate(pieces)
    want = np.sin(2 * np.pi * hz * (kernel.half + ratio * np.arange(len(sound))))
    assert np.abs(sound - want).max() < 1e-4
