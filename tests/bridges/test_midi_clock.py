"""MIDI clock: exact without jitter, within 3 ms with it, through tempo changes, jumps, stops and losses."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge_bridges.midi.clock import TICKS_PER_BEAT, Followed, MidiClock


def run(clock: MidiClock, start: float, bpm: float, ticks: int, jitter: float = 0.0,
        seed: int = 1) -> list[tuple[float, Followed | None]]:
    """Ticks at an even pace from `start`; gives when each was really due and what the clock said."""
    source = random.Random(seed)
    period = 60.0 / bpm / TICKS_PER_BEAT
    return [(start + i * period, clock.on("clock", start + i * period + source.uniform(-jitter, jitter)))
            for i in range(ticks)]


@pytest.mark.parametrize("bpm", [20.0, 93.7, 120.0, 300.0, 999.0])
def test_an_even_clock_is_exact(bpm: float) -> None:
    clock = MidiClock()
    clock.on("start", 100.0)
    said = run(clock, 100.0, bpm, 200)
    assert said[0][1] is None, "one tick has no tempo"
    for number, (due, followed) in list(enumerate(said))[1:]:
        assert followed is not None and followed.rolling
        assert followed.beat == number / 24 and followed.at_seconds == pytest.approx(due, abs=1e-6)
        assert followed.bpm == pytest.approx(bpm, rel=1e-6)
    assert [followed.tell for _, followed in said if followed].count(True) == 1, "told once, not 24 times a beat"


@given(st.floats(60, 200), st.integers(0, 10_000))
def test_two_milliseconds_of_jitter(bpm: float, seed: int) -> None:
    """After two beats at least 95 % of the positions lie within 3 ms of the sender's (here nearly all within 1.5)."""
    clock = MidiClock()
    clock.on("start", 5.0)
    late = [(due, followed) for due, followed in run(clock, 5.0, bpm, 400, 0.002, seed)[48:] if followed]
    errors = sorted(abs(followed.at_seconds - due) for due, followed in late)
    assert len(errors) == 352 and errors[int(0.95 * len(errors))] < 0.0015
    assert all(followed.bpm == pytest.approx(bpm, rel=0.005) for _, followed in late)


@pytest.mark.parametrize(("old", "new"), [(120, 90), (90, 120), (120, 60), (60, 120), (120, 124), (174, 87)])
def test_a_tempo_change_is_followed_within_a_beat(old: float, new: float) -> None:
    clock = MidiClock()
    clock.on("start", 0.0)
    before = run(clock, 0.0, old, 100, 0.001)
    # the next tick comes one new period after the last
    start = before[-1][0] + 60 / new / 24
    after = run(clock, start, new, 96, 0.001, seed=2)
    for number, (due, followed) in enumerate(after):
        assert followed is not None and followed.beat == pytest.approx((100 + number) / 24)
        if number >= 48:
            assert followed.bpm == pytest.approx(new, rel=0.01)
            assert abs(followed.at_seconds - due) < 0.003
        elif number >= 24:
            assert followed.bpm == pytest.approx(new, rel=0.03)
            assert abs(followed.at_seconds - due) < 0.006
    assert any(followed.tell for _, followed in after if followed)


def test_a_pause_of_the_machine_is_no_tempo_change() -> None:
    """Ticks of 150 ms come at once, late; before and after they come in time."""
    clock = MidiClock()
    clock.on("start", 0.0)
    period = 60 / 120 / 24
    tempos = []
    for number in range(200):
        due = number * period
        late = max(due, 2.15) - due if 2.0 <= due < 2.15 else 0.0
        followed = clock.on("clock", due + late)
        if followed and number > 48:
            tempos.append(followed.bpm)
            assert abs(followed.at_seconds - due) < 0.05
    assert max(tempos) < 140 and min(tempos) > 100, "no absurd tempo"
    assert tempos[-1] == pytest.approx(120, rel=0.002)


def test_stop_continue_and_song_position() -> None:
    clock = MidiClock()
    clock.on("start", 0.0)
    last = run(clock, 0.0, 120, 48)[-1][1]
    assert last is not None and last.beat == pytest.approx(47 / 24)
    stopped = clock.on("stop", 1.0)
    assert stopped is not None
    assert (stopped.rolling, stopped.beat, stopped.tell) == (False, 2.0, True)
    assert all(followed is None for _, followed in run(clock, 1.02, 120, 30)), "it ticks on while it stands"
    assert clock.on("continue", 2.0) is None
    first = run(clock, 2.01, 120, 5)[0][1]
    assert first is not None and (first.beat, first.rolling, first.tell) == (2.0, True, True)
    assert first.at_seconds == pytest.approx(2.01)
    clock.on("stop", 3.0)
    moved = clock.on("songpos", 3.1, 64)
    assert moved is not None and (moved.beat, moved.rolling) == (16.0, False)
    clock.on("continue", 3.2)
    first = run(clock, 3.25, 120, 5)[0][1]
    assert first is not None and first.beat == 16.0 and first.bpm == pytest.approx(120)
    clock.on("start", 4.0)
    first = run(clock, 4.05, 120, 5)[0][1]
    assert first is not None and first.beat == 0.0


def test_a_lost_clock_is_told_once_and_comes_back_in_place() -> None:
    clock = MidiClock()
    assert not clock.lost(100.0)
    clock.on("start", 0.0)
    run(clock, 0.0, 120, 49)
    assert not clock.lost(1.5) and clock.lost(2.5) and not clock.lost(3.0)
    # three seconds later: six beats at 120 have passed on our own count
    again = run(clock, 4.0, 120, 60)
    assert again[0][1] is not None and again[0][1].beat == pytest.approx(8.0)
    assert again[-1][1] is not None and again[-1][1].at_seconds == pytest.approx(again[-1][0], abs=1e-6)
    assert clock.lost(100.0), "a second loss is told as well"
    clock.on("stop", 101.0)
    assert not clock.lost(200.0), "a clock that stands may be silent"


@given(st.lists(st.tuples(st.sampled_from(["clock", "clock", "clock", "start", "stop", "continue", "songpos"]),
                          st.floats(0, 3), st.integers(0, 16383)), max_size=150))
def test_any_sequence(messages: list[tuple[str, float, int]]) -> None:
    """Whatever comes, in whatever time (equal times too): positions are finite and tempos positive."""
    clock, now = MidiClock(), 0.0
    for kind, wait, position in messages:
        now += wait
        followed = clock.on(kind, now, position)
        clock.lost(now)
        if followed is not None:
            assert followed.bpm > 0 and followed.beat >= 0 and abs(followed.at_seconds - now) < 1000
