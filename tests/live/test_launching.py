"""Starts are given out early enough to be heard on their beat, and move when time bends; bars under any signature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.errors import SettingsError
from soundforge.live.audio_protocol import COMMAND, EVENT, STREAM_VOICES, Command, Happened
from soundforge.live.audio_status import AudioStatus
from soundforge.live.launching import plan, plan_at, replan
from soundforge.live.mixer import Mixer
from soundforge.live.ring_buffer import RecordRing, RingBuffer
from soundforge.live.transport import Transport
from soundforge.settings import Settings
from soundforge.testing.fake_device import FakeDevice

RATE = 48_000
TEN_HOURS = 96_000 * 3600 * 10


@dataclass
class Speaker:
    """An output with a delay, at a position."""

    output_delay: int
    position: int

    def soon(self) -> int:
        return self.position


@given(st.floats(20, 999), st.integers(0, 5000), st.integers(0, TEN_HOURS), st.sampled_from([0.25, 1.0, 4.0, 3.5]),
       st.integers(0, 2000))
def test_heard_on_the_grid(bpm: float, delay: int, now: int, quantum: float, lead: int) -> None:
    transport, speaker = Transport(RATE, bpm), Speaker(delay, now)
    launch = plan(transport, speaker, quantum, lead)
    assert launch.at >= now and launch.beat is not None
    heard = launch.at + lead + delay
    assert abs(heard - transport.position_of(launch.beat)) <= 0.5
    assert launch.beat / quantum == pytest.approx(round(launch.beat / quantum))
    assert launch.at - now <= quantum * transport.samples_per_beat + 1


@given(st.floats(60, 200), st.floats(60, 200), st.floats(0.0, 0.9))
def test_a_start_moves_with_the_tempo(bpm: float, later: float, part: float) -> None:
    transport, speaker = Transport(RATE, bpm), Speaker(480, 0)
    launch = plan(transport, speaker, 4.0)
    assert launch.beat == 4.0
    speaker.position = int(part * launch.at)
    changed = transport.with_tempo(later, speaker.position)
    moved = replan(launch, changed, speaker)
    assert moved.at >= speaker.position
    assert moved.at == launch.at or abs(moved.at + 480 - changed.sample_of(moved.beat or 0.0)) <= 1
    assert abs(moved.at + 480 - changed.sample_of(4.0)) < 4 or (moved.beat or 0) > 4.0


def test_what_is_about_to_start_or_bound_to_no_grid_stays_and_a_jump_finds_the_next_place() -> None:
    transport, speaker = Transport(RATE), Speaker(0, 1000)
    launch = plan(transport, speaker, 4.0)
    speaker.position = launch.at + 1
    assert replan(launch, transport.with_tempo(90, 5), speaker) is launch
    free = plan(transport, speaker, 0.0)
    assert replan(free, transport.with_tempo(90, 5), speaker) is free
    assert replan(launch, transport.stopped(5), speaker) is launch
    speaker.position = 1000
    back = transport.located(400.0, 1000)
    assert replan(launch, back, speaker).beat == 400.0
    assert plan_at(transport, Speaker(100, 0), 8.0, lead=20).at == 8 * RATE // 2 - 120


def test_bars_count_from_the_bar_in_which_the_signature_came() -> None:
    transport = Transport(RATE, 120.0)
    at = transport.sample_of(10.0)  # in the third bar of 4/4, which began on beat 8
    seven = transport.with_signature(7, 8, at)
    assert seven.beats_per_bar == 3.5 and seven.bar_beat == 8.0
    assert seven.next_bar(at) == (11.5, seven.sample_of(11.5))
    assert seven.next_bar(seven.sample_of(11.5))[0] == 11.5, "a bar line that is reached is not passed over"
    assert seven.with_signature(3, 4, seven.sample_of(16.0)).next_bar(seven.sample_of(16.0))[0] == 18.0


def test_a_waiting_voice_is_moved_and_a_playing_one_is_not() -> None:
    with FakeDevice() as device:
        device.mixer.clips[0] = np.full((4000, 2), 0.5, np.float32)
        device.command(Command.PLAY_CLIP, voice=STREAM_VOICES, at=5000, a=0, token=7, x=1.0)
        device.run(1000)
        device.command(Command.MOVE, voice=STREAM_VOICES, at=1777, token=6)  # somebody else's
        device.command(Command.MOVE, voice=STREAM_VOICES, at=2500, token=7)
        sound = device.run(2000)
        assert np.flatnonzero(sound[:, 0])[0] == 1500
        device.command(Command.MOVE, voice=STREAM_VOICES, at=9000, token=7)
        assert device.run(1000)[:, 0].all()
        assert device.events() == [(Happened.STARTED, STREAM_VOICES, 2500, 7)]


def test_after_ten_hours_a_clip_starts_on_its_sample() -> None:
    commands, events = RecordRing(64, COMMAND), RecordRing(64, EVENT)
    capture, status = RingBuffer(2**12, 2), AudioStatus()
    streams = [RingBuffer(2**12, 2) for _ in range(STREAM_VOICES)]
    mixer = Mixer(96_000, 2, commands, events, capture, streams, status, TEN_HOURS)
    transport = Transport(96_000, 123.4)
    beat, at = transport.next_boundary(TEN_HOURS + 300, 0.25)
    assert abs(transport.position_of(beat) - at) <= 0.5
    mixer.clips[0] = np.full((500, 2), 0.25, np.float32)
    commands.put((Command.PLAY_CLIP, STREAM_VOICES, at, 0, 0, 1, 1.0, 0.0))
    out = np.zeros((256, 2), np.float32)
    heard: list[int] = []
    for _ in range(80):
        begin = mixer.position
        mixer.process(None, out)
        heard += [begin + int(i) for i in np.flatnonzero(out[:, 0])[:1]]
    assert heard[0] == at
    mixer.clips.clear()
    for ring in (commands, events, capture, status, *streams):
        ring.close()


@pytest.mark.parametrize("channels", [("0",), ("x",), ("1", "1"), ("300",)])
def test_absurd_channels(channels: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="expected different channel numbers from 1"):
        Settings(input_channels=channels)
