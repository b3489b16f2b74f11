"""The sample clock against the machine's clock: late callbacks, crystals that are off, pauses."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge.live.clock_line import ClockFilter, ClockLine

RATE = 48_000


def feed(clock: ClockFilter, seconds: float, ppm: float, seed: int, *, block: int = 256, begin: float = 0.0,
         position: int = 0, late: float = 0.0003) -> tuple[float, int]:
    """Blocks as a busy machine delivers them; gives the largest error of the last second, in samples, and the end."""
    source, true = random.Random(seed), RATE * (1 + ppm * 1e-6)
    worst, at = 0.0, position
    for at in range(position, position + int(seconds * RATE), block):
        due = begin + (at - position) / true
        pause = 0.02 if source.random() < 0.5 * block / RATE else 0.0  # one every other second
        clock.observe(at, due + abs(source.gauss(0, late)) + pause)
        if due > begin + seconds - 1:
            worst = max(worst, abs(clock.line.position_at(due) - at))
    return worst, at


@settings(max_examples=12)
@given(st.floats(-300, 300), st.sampled_from([64, 256, 1024]), st.integers(0, 1000))
def test_the_line_is_found_through_late_callbacks(ppm: float, block: int, seed: int) -> None:
    clock = ClockFilter(RATE)
    # Twelve seconds of late blocks of 1024 leave up to 78 ppm open (334 seeds), twenty at most 36.
    worst, _ = feed(clock, 20.0, ppm, seed, block=block)
    assert worst < 0.0008 * RATE
    assert abs(clock.deviation_ppm - ppm) < 60


def test_after_a_minute_the_rate_is_known_to_some_parts_per_million() -> None:
    clock = ClockFilter(RATE)
    feed(clock, 90.0, 123.0, 7)
    assert abs(clock.deviation_ppm - 123.0) < 5


def test_ten_hours_of_samples_and_weeks_of_uptime_cost_no_precision() -> None:
    clock = ClockFilter(RATE)
    worst, _ = feed(clock, 12.0, -80.0, 3, begin=2e6, position=96_000 * 36_000)
    assert worst < 0.0008 * RATE
    assert abs(clock.deviation_ppm + 80) < 60


def test_a_pause_begins_a_new_line_and_one_late_block_does_not() -> None:
    clock = ClockFilter(RATE)
    _, at = feed(clock, 10.0, 0.0, 1)
    before = clock.line.position_at(11.0)
    clock.observe(at + 256, 10.5)  # one callback, half a second late
    assert abs(clock.line.position_at(11.0) - before) < 1
    worst, _ = feed(clock, 5.0, 0.0, 2, begin=3600.0, position=at)  # an hour of sleep
    assert worst < 0.001 * RATE


def test_lost_samples_move_the_line_at_once() -> None:
    """An xrun: the device skipped 30 ms of time; half a second later the line is right again."""
    clock = ClockFilter(RATE)
    _, at = feed(clock, 20.0, 50.0, 4)
    rate, lost = RATE * (1 + 50e-6), int(0.03 * RATE)
    resumed = (at + lost) / rate
    for number in range(100):
        clock.observe(at + 256 * number, resumed + 256 * number / rate)
    assert abs(clock.line.position_at(resumed + 1.0) - (at + rate)) < 0.0005 * RATE


@given(st.floats(-1e6, 1e9), st.floats(0, 1e7), st.floats(44_000, 97_000), st.floats(0, 1e6))
def test_a_line_goes_both_ways(position: float, seconds: float, rate: float, later: float) -> None:
    line = ClockLine(position, seconds, rate)
    assert abs(line.time_of(line.position_at(seconds + later)) - (seconds + later)) < 1e-6
