"""JACK transport against a real server: another client is timebase master, starts, stops, jumps, and vanishes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from needs import need_rig
from session_double import MemorySession

from soundforge import RequestError
from soundforge_bridges.jack_transport.clock import JackClock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "rig"))

from jack_server import JackServer  # noqa: E402  a script beside the rig's tests

pytestmark = pytest.mark.rig
RATE = 48_000

MASTER = """
import sys, jack
client = jack.Client("master")
bpm, per_bar, unit = 100.0, 3.0, 4.0
def timebase(state, blocksize, pos, new_pos):
    beats = pos.frame / pos.frame_rate * bpm / 60
    pos.valid = jack._lib.JackPositionBBT
    pos.beats_per_bar, pos.beat_type, pos.ticks_per_beat, pos.beats_per_minute = per_bar, unit, 960.0, bpm
    pos.bar = int(beats // per_bar) + 1
    pos.beat = int(beats % per_bar) + 1
    pos.tick = int(beats % 1 * 960)
    pos.bar_start_tick = (pos.bar - 1) * per_bar * 960
with client:
    client.set_timebase_callback(timebase)
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        if word == "bpm":
            bpm = float(value)
        elif word == "release":
            client.release_timebase()
        print("done", flush=True)
"""


@pytest.fixture
def jack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JackServer]:
    need_rig("JACK transport")
    server = JackServer(tmp_path, period=128)
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


class Master:
    """A JACK client of its own process that is timebase master at 100 bpm in 3/4."""

    def __init__(self, jack: JackServer) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", MASTER], env=jack.environment(), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._expect("ready")

    def _expect(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._expect("done")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain")


def test_a_master_leads_and_without_one_the_tempo_is_ours(jack: JackServer) -> None:
    master = Master(jack)
    session = MemorySession()
    lines: list[str] = []
    session.add_listener(lambda event, origin: lines.append(getattr(event, "what", "")))

    async def main() -> None:
        clock = JackClock(session)
        await clock.start()
        clock.activate()

        def last() -> tuple[Any, ...]:
            return session.followed[-1]

        try:
            await until(lambda: session.followed)
            assert last()[1:4] == (pytest.approx(100.0), pytest.approx(0.0, abs=0.01), False)
            clock.locate(12.0)
            await until(lambda: last()[2] == pytest.approx(12.0, abs=0.01))
            clock.roll()
            await until(lambda: last()[3] is True and last()[2] > 13.0)
            frames_against_time(clock, last())
            assert session.signatures[-1] == (3, 4, pytest.approx(12.0))
            with pytest.raises(RequestError, match="timebase master"):
                clock.set_tempo(90.0)
            master.say("bpm 150")
            await until(lambda: last()[1] == pytest.approx(150.0))
            assert any(entry[5] and entry[1] == pytest.approx(150.0) for entry in session.followed), "told once"
            assert sum(entry[5] for entry in session.followed) < 12, "and not at every look"
            clock.halt()
            await until(lambda: last()[3] is False)
            master.say("release")
            clock.locate(0.0)  # the server forgets the master's tempo with the next position
            await until(lambda: not clock._has_tempo)
            assert clock.set_tempo(77.0) is False
            session.set_tempo(77.0)
            await until(lambda: last()[1] == pytest.approx(77.0))
            jack.kill()
            await until(lambda: any("JACK server is gone" in line for line in lines), 8.0)
        finally:
            await clock.stop()

    asyncio.run(main())
    master.end()


def frames_against_time(clock: JackClock, followed: tuple[Any, ...]) -> None:
    """What was followed lies on JACK's own count of frames, to a fraction of a millisecond."""
    beat = followed[2] + (time.perf_counter() - followed[4]) * followed[1] / 60.0
    frame = clock._client.transport_frame
    assert beat == pytest.approx(frame / RATE * 100 / 60, abs=0.004 * 100 / 60), "within a cycle and a half"


def test_no_server_is_told_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"nobody{os.getpid()}")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    session = MemorySession()
    lines: list[str] = []
    session.add_listener(lambda event, origin: lines.append(getattr(event, "what", "")))

    async def main() -> None:
        clock = JackClock(session)
        clock.activate()
        await until(lambda: lines, 10.0)
        assert "there is no JACK server" in lines[0]
        assert not clock.roll() and not clock.set_tempo(90.0), "the transport may be changed here"
        await clock.stop()

    asyncio.run(main())
