"""Clips against a jittering MIDI clock, as arithmetic: injected times in, positions of starts out.

The parts are the real ones (the clock's filter, the transport, the launches that are moved until two blocks before
they sound); only time is ours. `tests/rig/test_midi_clock_rig.py` measures the same with a real sender on JACK.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge.live.launching import STILL_SAMPLES, Launch, plan, replan
from soundforge.live.transport import Transport
from soundforge_bridges.midi.clock import MidiClock

pytestmark = pytest.mark.slow

RATE, BLOCK, QUANTUM = 48_000, 256, 4.0
JITTER_SECONDS = 0.002
WITHIN_SECONDS = 0.003


@dataclass
class Speaker:
    """An output at a position; two blocks are given out already."""

    position: int
    output_delay: int = 0

    def soon(self) -> int:
        return self.position + 2 * BLOCK


def start_errors(bpm: float, bars: int, seed: int, period: int, jitter: float = JITTER_SECONDS) -> list[float]:
    """By how many seconds starts on each bar, asked for a beat after the one before, miss the sender's bar.

    Args:
        period: samples after which messages are handed over, all of that time at once (JACK's period; 1 = at once).
    """
    source, clock, began = random.Random(seed), MidiClock(), 1.0
    clock.on("start", began)
    transport, launch, errors = Transport(RATE, rolling=False), None, []
    for tick in range(bars * 96):
        sent = began + tick * 60.0 / bpm / 24 + source.uniform(-jitter, jitter)
        came = math.ceil(sent * RATE / period) * period / RATE
        followed = clock.on("clock", came)
        if followed is None:
            continue
        transport = replace(transport, bpm=followed.bpm, rolling=True, anchor_beat=followed.beat,
                            anchor_position=followed.at_seconds * RATE)
        speaker = Speaker(round(came * RATE))
        launch = follow(launch, transport, speaker, tick)
        if launch is not None and launch.at < speaker.soon() and launch.beat is not None:
            errors.append(launch.at / RATE - (began + launch.beat * 60.0 / bpm))
            launch = None
    return errors


def follow(launch: Launch | None, transport: Transport, speaker: Speaker, tick: int) -> Launch | None:
    """What a clip that is asked for on the second beat of each bar starts at, by what is known now."""
    if launch is not None:
        return replan(launch, transport, speaker)
    return plan(transport, speaker, QUANTUM) if tick % 96 == 24 else None


@settings(max_examples=12)
@given(st.floats(40, 240), st.integers(0, 100_000), st.sampled_from([1, 64, 128, 256]))
def test_within_three_milliseconds_of_the_senders_bar(bpm: float, seed: int, period: int) -> None:
    """95 of 100 starts, after the first two bars; what JACK's period adds comes late by half of it on the mean."""
    errors = np.array(start_errors(bpm, 22, seed, period)[1:]) - period / 2 / RATE
    assert len(errors) >= 19
    assert np.percentile(np.abs(errors), 95) < WITHIN_SECONDS
    assert abs(np.mean(errors)) < 0.0005


@settings(max_examples=5)
@given(st.floats(40, 240))
def test_without_jitter_to_the_sample(bpm: float) -> None:
    """To one of the clock's, and to what a start is not moved by."""
    assert max(abs(error) for error in start_errors(bpm, 6, 0, 1, jitter=0.0)) * RATE <= STILL_SAMPLES + 1
