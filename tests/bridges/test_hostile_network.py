"""A hostile network against the whole server, on the offline device with the starter: sound and pings stay as they are.

The bridge alone is judged in `test_osc_soak.py`. The short forms run in every full test run, the long ones
(`make soak`) send a million packets and flood for 30 seconds.
"""

from __future__ import annotations

import contextlib
import mmap
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hostile_packets import WORST, from_the_table, mutated, send_forged
from osc_peer import Client, build
from real_server import RealServer, real_server

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
AT_ONCE = 100       # packets between two pings: fewer than one sender's room, so all of them are looked at
PONG_SECONDS = 0.05
GROWTH_BYTES = 64 * 2**20
POOL_THREADS = 2    # the pools' workers begin when they are first needed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("hostile")
    with real_server(folder, "--offline-output", folder / "out.wav") as server:
        server.client.pings(20, 0.0)
        yield server


def status(server: RealServer) -> tuple[Any, ...]:
    server.client.send("/soundforge/status")
    return server.client.until("/soundforge/status", 5.0)[1]


def send_all(server: RealServer, packets: Iterator[bytes]) -> tuple[int, float]:
    """Everything from one port, with a ping after each hundred: how many pings needed more than one try, and the
    seconds that the slowest answered one took."""
    sender, tries_more, slowest, number = Client(server.port), 0, 0.0, 1_000_000
    try:
        for number, packet in enumerate(packets, 1_000_000):
            sender.send_raw(packet)
            if number % AT_ONCE == AT_ONCE - 1:
                began = time.perf_counter()
                more, asked = tries(sender, number)
                tries_more += more
                slowest = max(slowest, time.perf_counter() - (asked if more else began))
    finally:
        sender.close()
    return tries_more, slowest


def tries(sender: Client, number: int) -> tuple[int, float]:
    """Ping until it is answered: tries after the first, and when the last one was sent."""
    for more in range(100):
        asked = time.perf_counter()
        sender.send("/soundforge/ping", number)
        end = asked + 0.1
        while (left := end - time.perf_counter()) > 0:
            try:
                heard = sender.receive(left)
            except TimeoutError:
                break
            if heard == ("/soundforge/pong", (number,)):
                return more, asked
    raise AssertionError(f"the server does not answer after {number - 999_999} packets")


@pytest.mark.parametrize("seconds", [2.0, pytest.param(30.0, marks=pytest.mark.soak)])
def test_flood_while_it_generates(server: RealServer, seconds: float) -> None:
    """50,000 packets a second; a clip that plays in a loop goes on to the sample, and pings are answered."""
    client = server.client
    for name, value in (("quantum", 0), ("autoplay", 0), ("crossfade_ms", 0)):
        client.send(f"/soundforge/param/{name}", value)
    client.send("/soundforge/generate", "beat", 1.0, "base")
    clip = client.until("/soundforge/job/done", 60)[1][1]
    client.send("/soundforge/clip/play", clip, 1)
    client.send("/soundforge/generate/endless", "beat", "busy")
    client.until("/soundforge/job/accepted")
    time.sleep(1.0)
    first, (size, threads) = status(server), server.size()
    time.sleep(seconds)
    before = status(server)
    assert before[0] == "generating"
    sender = subprocess.Popen([sys.executable, str(HERE / "osc_soak_flood.py"), str(server.port), "50000",
                               str(seconds)], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    times = sorted(client.pings(int((seconds - 1) / 0.1), 0.1))
    sent = int(sender.communicate(timeout=60)[0])
    time.sleep(0.5)
    client.drain()
    after, (size_after, threads_after) = status(server), server.size()
    client.send("/soundforge/cancel", "*")
    quiet, flooded = before[4] - first[4], after[4] - before[4]
    print(f"{sent / seconds:.0f} packets a second for {seconds:g} s: pings median {1000 * times[len(times) // 2]:.1f} "
          f"ms, worst {1000 * times[-1]:.1f} ms; blocks late {quiet} before, {flooded} meanwhile; dropped "
          f"{after[6] - before[6]} of {sent}; {(size_after - size) / 2**20:.1f} MiB, {threads_after - threads} threads")
    assert times[-1] <= PONG_SECONDS
    assert after[0] == "generating", "a flood costs no job"
    assert flooded <= 2 * quiet + 2, "no more late blocks than the machine has without a flood"
    assert after[5] == before[5]
    assert after[6] - before[6] > sent / 4, "what is dropped is counted"
    assert size_after - size < GROWTH_BYTES and threads_after <= threads + POOL_THREADS
    assert goes_round(server.folder / "out.wav", 1.0) > 2 * seconds - 1, "the loop sounds all the time, to the sample"


def goes_round(recording: Path, loop_seconds: float) -> float:
    """Seconds for which the end of a recording repeats what was heard one loop before."""
    sound, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    n = round(loop_seconds * rate)
    sound = sound[:len(sound) - rate // 2, 0]  # without what is being written, and what came after
    assert np.abs(sound[-n:]).max() > 0.01
    other = np.flatnonzero(np.abs(sound[n:] - sound[:-n]) > 1e-6)
    return (len(sound) - n - (int(other[-1]) + 1 if len(other) else 0)) / rate


MILLION = tuple(pytest.param(250_000, seed, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])
                for seed in range(2, 6))
"""In four parts, one after the other to one server; each part alone fits into a few minutes."""


@pytest.mark.parametrize(("count", "seed"), [(12_000, 2), *MILLION])
def test_mutated_packets(server: RealServer, count: int, seed: int) -> None:
    """All are looked at; afterwards the server works as before, and has neither grown nor stumbled."""
    sources = [*from_the_table(server.port), *WORST]
    send_all(server, mutated(sources, 2000, seed=1))  # tables that are filled once, threads that are begun once
    for port in (server.port, 0, 7):
        send_forged(server.port, build("/soundforge/param/cfg", 2.0), port)
    before, (size, threads), others = status(server), server.size(), sizes_of_children(server)
    began = time.monotonic()
    more, slowest = send_all(server, mutated(sources, count, seed))
    seconds = time.monotonic() - began
    after, (size_after, threads_after) = status(server), server.size()
    grown = {pid: size - others[pid] for pid, size in sizes_of_children(server).items() if pid in others}
    print(f"{count} packets in {seconds:.0f} s, slowest pong {1000 * slowest:.1f} ms, {more} tries more; {before} "
          f"{after}; {(size_after - size) / 2**20:.1f} MiB and {threads_after - threads} threads more; its other "
          f"processes {', '.join(f'{n / 2**20:.1f}' for n in grown.values())} MiB more")
    assert server.process.poll() is None
    assert len(grown) == len(others), "no process was lost"
    assert all(n < 2 * GROWTH_BYTES for n in grown.values())
    assert after[6] - before[6] > count / 4, "what was no OSC is counted"
    assert after[5] == before[5], "no capture was lost"
    assert size_after - size < GROWTH_BYTES and threads_after <= threads + POOL_THREADS
    assert max(server.client.pings(20, 0.01)) < PONG_SECONDS
    works(server)


def sizes_of_children(server: RealServer) -> dict[str, int]:
    """Resident bytes of the processes that it started, the audio and the engine process among them."""
    pid, found = server.process.pid, {}
    with contextlib.suppress(OSError):  # a system that does not tell in this way
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found[child] = mmap.PAGESIZE * int(Path(f"/proc/{child}/statm").read_text().split()[1])
    return found


@pytest.mark.parametrize("name", ["no-such-model", "starter"])
def test_a_flood_of_model_changes(server: RealServer, name: str) -> None:
    """Of all that are asked for one waits at most; jobs are made between them, and afterwards the server is ready."""
    sender = Client(server.port)
    for number in range(300):
        sender.send("/soundforge/model", name)
        if number in (0, 150):
            server.client.send("/soundforge/generate", "beat", 0.3, f"{name}-{number}")
        time.sleep(0.005)
    done = {server.client.until("/soundforge/job/done", 60)[1][0] for _ in range(2)}
    assert done == {f"{name}-0", f"{name}-150"}
    server.wait_until(lambda: server.client.state() in ("ready", "playing"), "models are loaded without end",
                      time.monotonic() - server.began + 60)
    sender.close()
    works(server)


def works(server: RealServer) -> None:
    """Whatever it was told to do meanwhile: it is silenced, and a job is made and heard."""
    client = server.client
    client.send("/soundforge/panic")
    for name, value in (("processors", ""), ("text", ""), ("text_b", ""), ("morph", 0.0), ("quantum", 0.0),
                        ("seconds", 0.5), ("decoder", ""), ("options", ""), ("autoplay", 1)):
        client.send(f"/soundforge/param/{name}", value)
    client.send("/soundforge/generate", "beat", 0.5, "after-all")
    end, missing = time.monotonic() + 60, {"/soundforge/job/playing", "/soundforge/job/done"}
    while missing and time.monotonic() < end:
        address, values = client.receive(60)
        if values[:1] == ("after-all",):
            assert address != "/soundforge/job/error", values
            missing.discard(address)
    assert not missing, "the job was not heard, or not done"
