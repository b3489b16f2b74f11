"""Ctrl-C and SIGTERM end `soundforge serve` within two seconds, whatever it is doing, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from osc_client import OscClient
from serve_process import OFFLINE, ServeProcess

from soundforge.library import Library

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

CHILDREN = 3  # audio, engine, and Python's resource tracker
BUSY = 4.0  # two seconds are promised, on a machine that does nothing else


class Serving(ServeProcess):
    """`soundforge serve` with the offline device."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, *OFFLINE)
        self.client = OscClient(self.port)
        self.client.wait_for_server(stopped=lambda: self.process.poll() is not None)

    def children(self) -> list[int]:
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True,
                                check=False)
        return [int(word) for word in listed.stdout.split()]

    def started(self) -> list[int]:
        """Its children as soon as audio and engine are among them."""
        end = time.monotonic() + 30
        while len(children := self.children()) < CHILDREN:
            assert time.monotonic() < end, self.screen.read_text()
            time.sleep(0.05)
        time.sleep(0.5)
        return children


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    yield serving
    serving.client.__exit__()
    serving.end(signal.SIGKILL)


def nothing_left(children: list[int]) -> None:
    end = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < end, "a child is left"
        time.sleep(0.05)


def test_while_the_model_loads(serving: Serving) -> None:
    children = serving.children()
    assert serving.end(signal.SIGINT) < BUSY
    assert serving.process.returncode == 0
    nothing_left(children)


def test_while_it_captures_generates_and_plays(serving: Serving) -> None:
    """What was recorded is written first."""
    client = serving.client
    client.wait_until_ready()
    client.send("/soundforge/transport/tempo", 240.0)
    client.send("/soundforge/param/quantum", 0.0)
    client.send("/soundforge/capture/bars", 1, "kept")
    client.wait("/soundforge/take", "kept")
    for number in range(3):
        client.send("/soundforge/continue", "kept", 20.0, f"long{number}")
    client.wait("/soundforge/job/playing", "long0")
    client.send("/soundforge/takeover", 1, 0, "over")
    client.wait("/soundforge/job/accepted", "over")
    children = serving.children()
    assert serving.end(signal.SIGTERM) < BUSY
    assert serving.process.returncode == 0
    assert "Traceback" not in serving.screen.read_text()
    assert [entry.id for entry in Library(serving.library).list("take")] == ["kept"]
    nothing_left(children)


def test_while_engine_and_audio_hang(serving: Serving) -> None:
    children = serving.started()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert serving.end(signal.SIGINT) < BUSY
    finally:
        for pid in children:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGCONT)
    nothing_left(children)


def test_asked_twice_it_ends_at_once(serving: Serving) -> None:
    children = serving.started()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)  # it would wait for them
    serving.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert serving.end(signal.SIGINT) < 0.5
    for pid in children:
        os.kill(pid, signal.SIGCONT)
    nothing_left(children)
