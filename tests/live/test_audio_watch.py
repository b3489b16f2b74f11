"""The heartbeat and the rules of starting again, on a clock that the test moves."""

from __future__ import annotations

from soundforge.live.audio_watch import HEARTBEAT_SECONDS, OPEN_SECONDS, QUICK_RESTARTS, RETRY_SECONDS, AudioWatch
from soundforge.live.sleep_watch import SleepWatch


class Time:
    """Seconds; the wall clock goes with them unless it is moved."""

    def __init__(self) -> None:
        self.now, self.wall = 100.0, 1e9

    def watch(self) -> AudioWatch:
        return AudioWatch(lambda: self.now, SleepWatch(lambda: self.now, lambda: self.wall + self.now))


def test_a_heart_that_beats_is_not_silent_and_one_that_stops_is() -> None:
    time = Time()
    watch = time.watch()
    watch.started(7)
    for block in range(8, 1000):
        time.now += 0.5
        assert watch.look(block) == 0.0 and not watch.silent(opened=True)
    time.now += HEARTBEAT_SECONDS / 2
    watch.look(999)
    time.now += HEARTBEAT_SECONDS / 2 - 0.1
    assert not watch.silent(opened=True)
    time.now += 0.2
    assert watch.silent(opened=True)


def test_opening_may_take_long_and_the_heartbeat_counts_from_its_end() -> None:
    time = Time()
    watch = time.watch()
    watch.started(0)
    time.now += OPEN_SECONDS - 1
    assert not watch.silent(opened=False)
    watch.opened()
    time.now += HEARTBEAT_SECONDS - 0.1
    assert not watch.silent(opened=True)
    time.now += OPEN_SECONDS
    assert watch.silent(opened=True)


def test_nobody_is_blamed_for_the_machines_sleep() -> None:
    time = Time()
    watch = time.watch()
    watch.started(0)
    time.now += 60.0
    assert watch.look(0) > 50.0
    assert not watch.silent(opened=True)


def test_a_device_that_ran_is_opened_again_and_one_that_does_not_open_gives_way_to_a_stand_in() -> None:
    time = Time()
    watch = time.watch()
    watch.started(0)
    time.now += RETRY_SECONDS + 1
    assert not watch.replace(was_open=True), "it ran for a while: again at once"
    watch.started(0)
    assert (watch.replace(was_open=False), watch.standing_in) == (True, True)
    watch.started(0)
    time.now += RETRY_SECONDS - 0.1
    assert not watch.try_again()
    time.now += 0.2
    assert watch.try_again()
    assert (watch.replace(was_open=True), watch.standing_in) == (False, False), "the device is tried again"
    assert not watch.try_again(), "it is no stand-in"


def test_a_device_that_dies_again_and_again_does_not_keep_the_machine_busy() -> None:
    time = Time()
    watch = time.watch()
    watch.started(0)
    for _ in range(QUICK_RESTARTS):
        time.now += 0.1
        assert not watch.replace(was_open=True)
        watch.started(0)
    assert watch.replace(was_open=True), "then the stand-in has its turn"
