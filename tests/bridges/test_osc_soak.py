"""A hostile network for longer: mutated packets by the hundred thousand, floods at full speed, spoofed return ports.

The server runs in a process of its own (`osc_soak_server.py`), as the control process does; the short forms run in
every full test run, the long ones (`make soak`) a million packets and 30 seconds.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_packets import WORST, mutated
from osc_peer import Client, build

HERE = Path(__file__).resolve().parent
SOURCES = [*WORST, build("/soundforge/subscribe", 9000)]


class Server:
    """The process, what it measured of itself when it is asked, and a client."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(HERE / "osc_soak_server.py")], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.client = Client(self.port)

    def measure(self) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("measure\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()
        self.client.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    try:
        server.client.pings(20, 0.0)
        yield server
    finally:
        server.close()


LARGEST_GROWTH = 40 * 2**20


@pytest.mark.parametrize("count", [pytest.param(25_000, marks=pytest.mark.slow),
                                   pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_mutations(server: Server, count: int) -> None:
    before = server.measure()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number, packet in enumerate(mutated(SOURCES, count, seed=11)):
            out.sendto(packet, ("127.0.0.1", server.port))
            if number % 20 == 19:
                time.sleep(0.001)  # slow enough that most are read, not dropped
    time.sleep(0.5)
    after = server.measure()
    read = after["carried_out"] + after["malformed"] - before["malformed"]
    print(f"{count} packets: {after}")
    assert read > count / 2, "most packets must have been looked at, or the test shows nothing"
    assert server.client.pings(5, 0.0)[-1] < 0.05
    assert after["threads"] == before["threads"] and after["bytes"] - before["bytes"] < LARGEST_GROWTH
    assert after["scheduled"] <= 1024 and after["subscribers"] <= 64


@pytest.mark.parametrize("seconds", [pytest.param(2.0, marks=pytest.mark.slow),
                                     pytest.param(30.0, marks=pytest.mark.soak)])
def test_fifty_thousand_packets_a_second(server: Server, seconds: float) -> None:
    """Rubbish, valid jobs and questions from several sockets as fast as asked for, and what a ping finds."""
    before = server.measure()
    sender = subprocess.Popen([sys.executable, str(HERE / "osc_soak_flood.py"), str(server.port), "50000",
                               str(seconds)], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    times = sorted(server.client.pings(int((seconds - 1) / 0.1), 0.1))
    sent = int(sender.communicate(timeout=60)[0])
    time.sleep(0.5)
    after = server.measure()
    answered = [t for t in times if t < 1]
    print(f"{sent / seconds:.0f} packets a second for {seconds:g} s; {len(answered)} of {len(times)} pings "
          f"answered, median {1000 * answered[len(answered) // 2]:.1f} ms, worst {1000 * answered[-1]:.1f} ms; {after}")
    assert len(answered) == len(times) and answered[-1] <= 0.05
    assert after["threads"] == before["threads"] and after["bytes"] - before["bytes"] < LARGEST_GROWTH
    assert after["dropped"] > before["dropped"], "what is dropped is counted"
