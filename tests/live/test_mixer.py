"""The callback's body: starts to the sample, fades without clicks, underruns that do not hurt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.live.audio_protocol import NOW, PRIME_GUARD, STREAM_VOICES, Command, Happened
from soundforge.live.voice import TAIL_SAMPLES
from soundforge.testing.fake_device import FakeDevice

CLIP_VOICE = STREAM_VOICES


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    with FakeDevice() as made:
        yield made


def steady(n: int, level: float = 0.5) -> np.ndarray:
    return np.full((n, 2), level, np.float32)


def largest_step(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound[:, 0])).max())


@given(block=st.sampled_from([1, 7, 64, 256, 1000]), at=st.integers(0, 3000), n=st.integers(300, 2000))
def test_a_clip_starts_and_ends_at_its_samples_for_any_block(block: int, at: int, n: int) -> None:
    with FakeDevice(block=block) as device:
        device.mixer.clips[3] = steady(n)
        device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, at=at, a=3, token=9, x=1.0)
        sound = device.run(6000)
        heard = np.flatnonzero(sound[:, 0])
        assert (heard[0], heard[-1]) == (at, at + n - 1)
        assert (sound[at:at + n - TAIL_SAMPLES] == 0.5).all()
        assert device.events() == [(Happened.STARTED, CLIP_VOICE, at, 9), (Happened.ENDED, CLIP_VOICE, at + n, 9)]


@given(block=st.sampled_from([5, 64, 256, 999]), at=st.integers(0, 2000), stop=st.integers(0, 5000))
def test_a_stream_starts_at_its_sample_and_fades_out_from_its_stop(block: int, at: int, stop: int) -> None:
    with FakeDevice(block=block) as device:
        ring = device.streams[1]
        ring.write(steady(100, 0.9))  # left over from somebody else
        count = ring.open_stream()
        ring.write(steady(20_000))
        device.command(Command.PLAY_STREAM, voice=1, at=at, a=count, token=4, x=1.0)
        device.command(Command.STOP, voice=1, at=stop, b=480, token=4)
        sound = device.run(8000)[:, 0]
        if stop <= at:
            assert not sound.any()
            assert device.events()[-1][0] == Happened.ENDED
        else:
            assert not sound[:at].any()
            assert (sound[at:stop] == 0.5).all()
            assert not sound[stop + 480:].any()
            assert (np.diff(sound[stop:stop + 480]) <= 0).all()
            assert device.events() == [(Happened.STARTED, 1, at, 4), (Happened.ENDED, 1, device_end(block, stop), 4)]
        assert ring.available == 0, "what was not played does not stay in the ring"


def device_end(block: int, stop: int) -> int:
    """A voice that fades ends with the block in which the fade ends."""
    return -(-(stop + 480) // block) * block


def test_a_late_start_is_told_and_not_heard(device: FakeDevice) -> None:
    device.run(1000)
    device.mixer.clips[0] = steady(1000)
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, at=999, a=0, token=1, x=1.0)
    assert not device.run(2000).any()
    assert device.events() == [(Happened.LATE, CLIP_VOICE, 999, 1)]
    assert device.status.late == 1


def test_an_underrun_fades_out_waits_and_goes_on(device: FakeDevice) -> None:
    ring = device.streams[0]
    ring.write(steady(1000))
    device.command(Command.PLAY_STREAM, a=0, token=5, x=1.0)
    sound = device.run(2048)
    assert device.status.underruns == 1, "counted once, not once per block"
    assert largest_step(sound) < 0.5 / 60 + 1e-6
    assert np.count_nonzero(sound[:, 0]) <= 1000
    ring.write(steady(4000))
    assert not device.run(1024).any(), "it goes on when it is told to"
    device.command(Command.PLAY_STREAM, at=device.position + 100, a=-1, b=200, token=5, x=1.0)
    sound = device.run(1024)
    assert not sound[:100].any()
    assert (sound[300:] == 0.5).all()
    assert largest_step(sound) < 0.01
    kinds = [event[0] for event in device.events()]
    assert kinds == [Happened.STARTED, Happened.STARVED, Happened.STARTED]


def test_the_end_of_a_stream_is_no_underrun_and_is_faded(device: FakeDevice) -> None:
    ring = device.streams[0]
    ring.open_stream()
    ring.write(steady(1000))
    ring.end_stream()
    device.command(Command.PLAY_STREAM, a=0, token=5, x=1.0)
    sound = device.run(2048)
    assert device.status.underruns == 0
    assert largest_step(sound) < 0.005
    assert device.events()[-1] == (Happened.ENDED, 0, 1000, 5)


def test_the_guard_leaves_something_to_fade(device: FakeDevice) -> None:
    """Whatever the level in the ring when it runs dry, at least PRIME_GUARD samples fade."""
    for extra in range(0, 300, 7):
        ring = device.streams[0]
        count = ring.open_stream()
        ring.write(steady(512 + extra))
        device.command(Command.PLAY_STREAM, a=count, token=1, x=1.0)
        sound = device.run(2048)
        assert largest_step(sound) <= 0.5 / PRIME_GUARD + 1e-6


def test_a_loop_has_no_seam(device: FakeDevice) -> None:
    wave = np.sin(2 * np.pi * np.arange(480) / 48).astype(np.float32)
    device.mixer.clips[0] = np.repeat(wave[:, None], 2, axis=1)
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, a=0, token=1, x=0.5, y=1.0)
    sound = device.run(4800)
    np.testing.assert_allclose(sound[:, 0], np.tile(wave, 10) * 0.5, atol=1e-6)


def test_capture_hears_the_input_at_its_position(device: FakeDevice) -> None:
    inputs = np.random.default_rng(1).uniform(-1, 1, (5000, 2)).astype(np.float32)
    device.run(5000, inputs)
    out = np.empty((5000, 2), np.float32)
    assert device.capture.read(out) == 5000
    np.testing.assert_array_equal(out, inputs)


def test_monitor_hands_over_at_equal_power(device: FakeDevice) -> None:
    """The takeover: the input fades out while the stream fades in, ending at the bar line."""
    device.command(Command.MONITOR, at=0, b=0, x=1.0)
    device.streams[0].write(steady(8000, 0.5))
    device.command(Command.PLAY_STREAM, at=1000, a=0, b=480, token=1, x=1.0)
    device.command(Command.MONITOR, at=1000, b=480, x=0.0)
    inputs = np.random.default_rng(2).uniform(-0.5, 0.5, (3000, 2)).astype(np.float32)
    sound = device.run(256, inputs[:256])
    sound = np.concatenate([sound, device.run(3000 - 256, inputs[256:])])
    np.testing.assert_array_equal(sound[:1000], inputs[:1000])
    phase = (np.arange(480) + 1)[:, None] / 480 * np.pi / 2
    expected = inputs[1000:1480] * np.cos(phase) + 0.5 * np.sin(phase)
    np.testing.assert_allclose(sound[1000:1480], expected, atol=1e-6)
    assert (sound[1480:] == 0.5).all()


def test_the_input_comes_back_at_equal_power_and_once(device: FakeDevice) -> None:
    """The end of a takeover; that the monitor is where it should be is said again afterwards, and changes nothing."""
    device.streams[0].write(steady(8000, 0.5))
    device.command(Command.PLAY_STREAM, at=0, a=0, token=1, x=1.0)
    device.command(Command.STOP, at=1000, b=480, token=1)
    device.command(Command.MONITOR, at=1000, b=480, x=1.0)
    inputs = np.random.default_rng(2).uniform(-0.5, 0.5, (3000, 2)).astype(np.float32)
    sound = device.run(2000, inputs[:2000])
    device.command(Command.MONITOR, at=NOW, b=480, x=1.0)
    sound = np.concatenate([sound, device.run(1000, inputs[2000:])])
    phase = (np.arange(480) + 1)[:, None] / 480 * np.pi / 2
    expected = 0.5 * np.cos(phase) + inputs[1000:1480] * np.sin(phase)
    np.testing.assert_allclose(sound[1000:1480], expected, atol=1e-6)
    np.testing.assert_array_equal(sound[1480:], inputs[1480:])


def test_panic_is_silent_after_3_ms_and_disarms(device: FakeDevice) -> None:
    device.mixer.clips[0] = steady(9000)
    device.streams[0].write(steady(9000))
    device.command(Command.MONITOR, x=1.0)
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, a=0, token=1, x=0.3, y=1.0)
    device.command(Command.PLAY_STREAM, voice=0, a=0, token=2, x=0.3)
    device.command(Command.PLAY_STREAM, voice=1, at=3000, a=0, token=3, x=0.3)
    device.run(1024, steady(1024, 0.1))
    device.command(Command.PANIC)
    sound = device.run(4096, steady(4096, 0.1))
    assert not sound[144:].any()
    assert largest_step(sound) < 0.01
    assert {event[3] for event in device.events() if event[0] == Happened.ENDED} == {1, 2, 3}
    assert device.streams[0].available == 0


def test_the_limiter_leaves_quiet_sound_alone_and_holds_loud_sound(device: FakeDevice) -> None:
    wave = (np.sin(np.arange(2000) / 30) * 0.88).astype(np.float32)[:, None].repeat(2, axis=1)
    device.mixer.clips[0] = wave
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, a=0, token=1, x=1.0)
    np.testing.assert_array_equal(device.run(1500), wave[:1500])
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE + 1, a=0, token=2, x=3.0)
    loud = device.run(1500)
    assert 0.9 < np.abs(loud).max() <= 1.0
    assert device.status.limited > 0


def test_nan_never_leaves(device: FakeDevice) -> None:
    device.mixer.clips[0] = np.full((1000, 2), np.nan, np.float32)
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, at=NOW, a=0, token=1, x=1.0)
    assert not device.run(2000).any()


def test_master_gain_moves_without_a_click(device: FakeDevice) -> None:
    device.mixer.clips[0] = steady(20_000)
    device.command(Command.PLAY_CLIP, voice=CLIP_VOICE, a=0, token=1, x=1.0)
    device.run(512)
    device.command(Command.MASTER, x=0.2)
    sound = device.run(2048)
    assert largest_step(sound) < 0.001
    np.testing.assert_allclose(sound[-1], 0.1, rtol=1e-5)
