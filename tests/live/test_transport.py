"""Beats and samples: there and back, never backwards, whatever the tempo does meanwhile."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.errors import RequestError
from soundforge.live.transport import Transport

tempos = st.floats(20, 999)
rates = st.sampled_from([44_100, 48_000, 96_000])
positions = st.integers(0, 96_000 * 3600 * 10)  # ten hours


@given(rates, tempos, positions)
def test_round_trip_within_a_thousandth_of_a_sample(rate: int, bpm: float, position: int) -> None:
    transport = Transport(rate, bpm)
    assert abs(transport.position_of(transport.beat_at(position)) - position) < 1e-3


@given(rates, tempos, positions, st.sampled_from([0.25, 1, 3, 4, 16]))
def test_a_boundary_is_on_the_grid_and_the_next_one(rate: int, bpm: float, position: int, quantum: float) -> None:
    transport = Transport(rate, bpm)
    beat, sample = transport.next_boundary(position, quantum)
    assert abs(beat / quantum - round(beat / quantum)) < 1e-9
    assert sample >= position
    assert sample - position <= quantum * transport.samples_per_beat + 1
    assert abs(sample - transport.position_of(beat)) <= 0.5
    assert transport.next_boundary(sample, quantum)[0] == beat, "a boundary that is reached is not passed over"


@given(rates, st.lists(st.tuples(tempos, st.integers(1, 10**6)), min_size=1, max_size=20))
def test_tempo_changes_while_rolling_keep_beats_continuous(rate: int, changes: list[tuple[float, int]]) -> None:
    transport, position, before, beats = Transport(rate), 0, 0.0, 0.0
    for bpm, samples in changes:
        beats += samples / transport.samples_per_beat
        position += samples
        assert transport.beat_at(position) > before
        before = transport.beat_at(position)
        transport = transport.with_tempo(bpm, position)
        assert abs(transport.beat_at(position) - before) < 1e-9
    assert math.isclose(transport.beat_at(position), beats, rel_tol=1e-9)


def test_stop_start_and_locate() -> None:
    transport = Transport(48_000, 120.0).stopped(48_000)
    assert transport.beat_at(10**6) == 2.0
    assert transport.next_boundary(100.5, 4) == (2.0, 101), "no grid while it stands"
    transport = transport.started(96_000)
    assert transport.beat_at(96_000 + 24_000) == 3.0
    assert transport.located(16.0, 200_000).next_boundary(200_001, 4) == (20.0, 200_000 + 96_000)


def test_a_new_rate_keeps_the_beat() -> None:
    transport = Transport(48_000, 120.0).with_rate(44_100, 48_000, 44_100)
    assert transport.beat_at(88_200) == 4.0


def test_bars_follow_the_signature() -> None:
    assert Transport(48_000).with_signature(6, 8).beats_per_bar == 3.0
    assert Transport(48_000).with_signature(7, 8).beats_per_bar == 3.5


@pytest.mark.parametrize(("bpm", "shown"), [(19.9, "19.9"), (1000.0, "1000"), (math.nan, "nan"), (math.inf, "inf")])
def test_absurd_tempos(bpm: float, shown: str) -> None:
    with pytest.raises(RequestError, match=f"tempo came as {shown}, expected 20 to 999"):
        Transport(48_000, bpm)


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 4), (4, 3), (65, 4)])
def test_absurd_signatures(numerator: int, denominator: int) -> None:
    with pytest.raises(RequestError, match=f"signature came as {numerator}/{denominator}"):
        Transport(48_000).with_signature(numerator, denominator)
