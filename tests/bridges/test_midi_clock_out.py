"""MIDI clock out: what is sent when, by arithmetic and by a real thread; and our own follower understands it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.live.clock_line import ClockLine
from soundforge.live.session_transport import Timeline
from soundforge.live.transport import Transport
from soundforge_bridges.midi.clock import MidiClock
from soundforge_bridges.midi.clock_out import ClockOut, ClockWriter

RATE = 48_000


def at(bpm: float = 120.0, rolling: bool = True, beat: float = 0.0, seconds: float = 0.0) -> Timeline:
    """A transport that stands at a beat at a time."""
    return Timeline(Transport(RATE, bpm, rolling, seconds * RATE, beat), ClockLine(0.0, 0.0, float(RATE)))


def play(writer: ClockWriter, timeline: Timeline, begin: float, end: float) -> list[tuple[float, str, int]]:
    """Everything that is sent from `begin` to before `end`, each at its time."""
    sent, now = [], begin
    while True:
        *head, last = writer.next(timeline, now)
        sent += [(max(due, now), kind, position) for due, kind, position in head]
        if last[0] >= end:
            return sent
        now = max(now, last[0])
        sent.append((now, "clock", 0))
        writer.sent(timeline)


@given(st.floats(20, 999), st.floats(0, 2000), st.floats(0, 3))
def test_ticks_lie_on_the_beats(bpm: float, beat: float, begin: float) -> None:
    timeline, writer = at(bpm, beat=beat, seconds=begin), ClockWriter()
    sent = play(writer, timeline, begin, begin + 4 * 60 / bpm)
    ticks = [due for due, kind, _ in sent if kind == "clock"]
    places = np.array([timeline.beat_at(due) * 24 for due in ticks])
    assert np.abs(places - np.round(places)).max() < 1e-4
    assert (np.diff(np.round(places)) == 1).all()
    start = [(kind, position) for _, kind, position in sent[:3] if kind != "clock"]
    first = round(places[0])
    assert first % 6 == 0, "the first tick is on a sixteenth"
    assert start == ([("start", 0)] if first == 0 else [("songpos", first // 6), ("continue", 0)])


def test_stop_locate_and_ticks_that_go_on() -> None:
    writer = ClockWriter()
    play(writer, at(), 0.0, 2.0)
    standing = at(rolling=False, beat=4.0)
    sent = play(writer, standing, 2.0, 3.0)
    assert sent[0][1] == "stop" and [kind for _, kind, _ in sent].count("clock") == 48
    again = play(writer, at(beat=4.0, seconds=3.0), 3.0, 4.0)
    assert [entry[1:] for entry in again[:3]] == [("songpos", 16), ("continue", 0), ("clock", 0)]
    jumped = play(writer, at(beat=100.25, seconds=4.0), 4.0, 4.5)
    assert [entry[1:] for entry in jumped[:4]] == [("stop", 0), ("songpos", 401), ("continue", 0), ("clock", 0)]


@given(st.floats(40, 300), st.floats(40, 300), st.floats(0, 64))
def test_our_follower_understands_it(bpm: float, later: float, beat: float) -> None:
    """What is sent leads a follower to the same beats, through a change of tempo while rolling."""
    writer, clock = ClockWriter(), MidiClock()
    first = at(bpm, beat=beat)
    turn = 6 * 60 / bpm
    second = replace(first, transport=first.transport.with_tempo(later, turn * RATE))
    sent = [*play(writer, first, 0.0, turn), *play(writer, second, turn, turn + 12 * 60 / later)]
    followed = [f for due, kind, position in sent if (f := clock.on(kind, due, position)) is not None]
    last = followed[-1]
    assert last.bpm == pytest.approx(later, rel=1e-3)
    assert last.beat == pytest.approx(second.beat_at(last.at_seconds), abs=0.01)


@pytest.mark.slow
def test_the_thread_is_on_time() -> None:
    """Measured against the timeline, at a tempo of 300: the median late by less than a millisecond."""
    timeline = at(300.0, beat=0.0, seconds=time.perf_counter())
    heard: list[tuple[float, Any]] = []
    out = ClockOut(lambda: timeline)
    out.open(lambda message: heard.append((time.perf_counter(), message.type)))
    time.sleep(1.2)
    out.close()
    marks = [kind for _, kind in heard if kind != "clock"]
    assert marks[0] in ("start", "songpos") and marks[-1] == "stop"
    ticks = np.array([when for when, kind in heard if kind == "clock"])
    assert len(ticks) == out.ticks > 120
    off = np.array([timeline.beat_at(when) * 24 for when in ticks])
    late = (off - np.round(off)) * 60 / 300 / 24
    print(f"ticks late by {1000 * np.median(late):.3f} ms median, {1000 * np.percentile(late, 95):.3f} ms at 95 %")
    assert np.median(np.abs(late)) < 0.001
    assert not out.failure


def test_a_port_that_refuses_ends_the_clock_and_is_told() -> None:
    def send(message: Any) -> None:
        raise OSError("gone")

    out = ClockOut(lambda: at(seconds=time.perf_counter()))
    out.open(send)
    time.sleep(0.1)
    assert not out.running and out.failure == "gone"
    out.close()
