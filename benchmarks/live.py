"""The live server's figures: start-up, first sound, ping, and underruns while it generates without pause.

    python benchmarks/live.py                  offline device
    python benchmarks/live.py --jack           a real JACK server without a sound card (Linux, jackd2)

One JSON line at the end, with commit and machine. The first sound is taken from the server's
`/job/playing`, which it sends when the first sample leaves for the device; the device's own latency comes on top. It is
measured for takes of 2, 8 and 20 seconds, each asked for at once after its capture: since the codec and the network
follow while it is captured, the three should be the same. `underruns` counts streams that ran dry as well: where the
model makes less than a second of sound a second (`real_time_factor` below 1), they cannot but run dry. With `--jack`
a MIDI client of JACK plays note 40 while something is generated without end: `note_to_accepted` is the time from the
cycle in which it was sent to the arrival of `/job/accepted` by OSC, MIDI driver and network included.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rig"))

from common import percentile, print_result
from jack_server import JackServer
from note_player import NotePlayer
from osc_client import OscClient
from serve_process import LOOP, OFFLINE, ServeProcess

ROOT = Path(__file__).resolve().parent.parent
CAPTURE_BARS = (1, 4, 10)  # of two seconds
NOTES, CONTINUE = 50, 40


def first_sounds(client: OscClient, rounds: int) -> dict[str, dict[str, float]]:
    """Trigger to first sound, by the length of the capture."""
    client.send("/soundforge/param/quantum", 0.0)
    found: dict[str, dict[str, float]] = {}
    for bars in CAPTURE_BARS:
        times = []
        for index in range(rounds):
            take, job = f"take{bars}-{index}", f"first{bars}-{index}"
            client.send("/soundforge/capture/bars", bars, take)
            client.wait("/soundforge/take", take, seconds=60)
            began = time.perf_counter()
            client.send("/soundforge/continue", take, 1.0, job)
            client.wait("/soundforge/job/playing", job, failed="/soundforge/job/error")
            times.append(time.perf_counter() - began)
            client.wait("/soundforge/job/done", job)
        found[f"{2 * bars}_seconds_captured"] = spread(times)
    return found


def spread(times: list[float]) -> dict[str, float]:
    return {"median_seconds": statistics.median(times), "p95_seconds": percentile(times, 0.95),
            "longest_seconds": max(times)}


def without_pause(client: OscClient, seconds: float) -> dict[str, Any]:
    """Pings, underruns and pace while it generates without pause."""
    client.send("/soundforge/capture/bars", 4, "bench")
    client.wait("/soundforge/take", "bench", seconds=60)
    under_before, over_before = status(client)[4:6]
    pings, jobs = generate_without_pause(client, seconds)
    state = status(client)
    return {"generating_seconds": seconds, "jobs": jobs, "underruns": state[4] - under_before,
            "overruns": state[5] - over_before, "real_time_factor": state[3], "pings": len(pings),
            "ping": spread(pings)}


def notes(client: OscClient, jack: JackServer) -> dict[str, float]:
    """From a note to the accepted job, while something is generated without end."""
    client.send("/soundforge/generate/endless", "drums", "endless")
    client.wait("/soundforge/job/playing", "endless")
    times = []
    with OscClient(client.server[1]) as ears, NotePlayer(jack) as player:
        ears.send("/soundforge/subscribe")
        ears.wait("/soundforge/subscribed")
        jack.connect(player.port, jack.wait_port(":SoundForge"))
        for _ in range(NOTES):
            sent = player.play(CONTINUE)
            job = ears.wait("/soundforge/job/accepted", seconds=5)[0]
            times.append(time.perf_counter() - sent)
            ears.send("/soundforge/cancel", job)
            ears.wait("/soundforge/job/cancelled", job)
    client.send("/soundforge/cancel", "*")
    client.wait("/soundforge/job/cancelled", "endless")
    return spread(times)


def generate_without_pause(client: OscClient, seconds: float) -> tuple[list[float], int]:
    """Keep two jobs in the queue for a while; round trips of pings meanwhile, and how many jobs ended."""
    end, pings, sent, ended = time.monotonic() + seconds, [], 0, 0
    while time.monotonic() < end:
        while sent - ended < 2:
            client.send("/soundforge/continue", "bench", 8.0, f"job{sent}")
            sent += 1
        began = time.perf_counter()
        client.send("/soundforge/ping", sent)
        client.wait("/soundforge/pong", seconds=5)
        pings.append(time.perf_counter() - began)
        try:
            client.wait("/soundforge/job/done", f"job{ended}", seconds=0.2, failed="/soundforge/job/error")
            ended += 1
        except RuntimeError as error:
            if "/job/error" in str(error):
                raise
    client.send("/soundforge/cancel", "*")
    time.sleep(0.5)
    return pings, ended


def status(client: OscClient) -> Sequence[Any]:
    client.send("/soundforge/status")
    return client.wait("/soundforge/status")


@contextlib.contextmanager
def serving(jack: JackServer | None, folder: Path) -> Iterator[ServeProcess]:
    """`soundforge serve`, on JACK or on the offline device."""
    device = ("--input", "system", "--output", "system") if jack else OFFLINE
    server = ServeProcess(folder / "served", *device, environment=jack.environment() if jack else None)
    try:
        yield server
    finally:
        server.end()


@contextlib.contextmanager
def played_into(jack: JackServer | None) -> Iterator[None]:
    """On JACK another program plays a loop into the server; the offline device has its own."""
    if jack is None:
        yield
        return
    player = subprocess.Popen([sys.executable, str(ROOT / "tests" / "rig" / "play_loop.py"), str(LOOP)],
                              env=jack.environment())
    try:
        jack.connect_all(jack.wait_port("loopplayer:out_1"), ":in_")
        yield
    finally:
        player.terminate()
        player.wait(10)


def run(jack: JackServer | None, folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """All figures."""
    with serving(jack, folder) as server, OscClient(server.port) as client:
        try:
            client.wait_for_server(stopped=lambda: server.process.poll() is not None)
            pong = time.monotonic() - server.began
            client.wait_until_ready()
            figures: dict[str, Any] = {"pong_seconds": pong, "ready_seconds": time.monotonic() - server.began}
            with played_into(jack):
                figures |= {"rounds": rounds, "first_sound": first_sounds(client, rounds),
                            **without_pause(client, seconds)}
                if jack:
                    figures["note_to_accepted"] = notes(client, jack)
        except RuntimeError as error:
            raise SystemExit(f"{error}\n{server.printed()}\n{server.log()}") from error
        return {**figures, "end_seconds": server.end(), "exit_status": server.process.returncode}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the live server.")
    parser.add_argument("--jack", action="store_true", help="with a real JACK server, 48 kHz, 256 samples")
    parser.add_argument("--seconds", type=float, default=45.0, help="how long to generate without pause")
    parser.add_argument("--rounds", type=int, default=3, help="first sounds measured for each length")
    options = parser.parse_args()
    result: dict[str, Any] = {"device": "jack" if options.jack else "offline"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jack = JackServer(folder / "jack") if options.jack else None
        if jack:
            jack.start()
        try:
            result |= run(jack, folder, options.seconds, options.rounds)
            if jack:
                result["late_cycles_of_the_server"] = jack.late_cycles()
        finally:
            if jack:
                jack.stop()
    print_result("live", result)


if __name__ == "__main__":
    main()
