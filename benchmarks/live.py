"""The live server's figures: start-up, first sound, ping, and underruns while it generates without pause.

    python benchmarks/live.py                  offline device
    python benchmarks/live.py --jack           a real JACK server without a sound card (Linux, jackd2)

Takes three minutes; one JSON line at the end, with commit and machine. The first sound is taken from the server's
`/job/playing`, which it sends when the first sample leaves for the device; the device's own latency comes on top. It is
measured for takes of 2, 8 and 20 seconds, each asked for at once after its capture: since the codec and the network
follow while it is captured, the three should be the same. `underruns` counts streams that ran dry as well: where the
model makes less than a second of sound a second (`real_time_factor` below 1), they cannot but run dry.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rig"))

from common import percentile, print_result
from jack_server import JackServer
from osc_client import OscClient

ROOT = Path(__file__).resolve().parent.parent
CAPTURE_BARS = (1, 4, 10)  # of two seconds
LOOP = ROOT / "examples" / "loops" / "garzul_120bpm.flac"
PORT = 9137


def measure(client: OscClient, seconds: float, rounds: int) -> dict[str, Any]:
    """All figures of a running, ready server."""
    client.send("/soundforge/param/quantum", 0.0)
    first_sound: dict[str, list[float]] = {}
    for bars in CAPTURE_BARS:
        times = first_sound[f"{2 * bars}_seconds_captured"] = []
        for index in range(rounds):
            take, job = f"take{bars}-{index}", f"first{bars}-{index}"
            client.send("/soundforge/capture/bars", bars, take)
            client.wait("/soundforge/take", take, seconds=60)
            began = time.perf_counter()
            client.send("/soundforge/continue", take, 1.0, job)
            client.wait("/soundforge/job/playing", job, failed="/soundforge/job/error")
            times.append(time.perf_counter() - began)
            client.wait("/soundforge/job/done", job)
    client.send("/soundforge/capture/bars", 4, "bench")
    client.wait("/soundforge/take", "bench", seconds=60)
    under_before, over_before = status(client)[4:6]
    pings, jobs = generate_without_pause(client, seconds)
    state = status(client)
    return {"first_sound": {name: {"median_seconds": statistics.median(times), "p95_seconds": percentile(times, 0.95)}
                            for name, times in first_sound.items()},
            "rounds": rounds, "generating_seconds": seconds, "jobs": jobs, "underruns": state[4] - under_before,
            "overruns": state[5] - over_before, "real_time_factor": state[3],
            "ping_median_seconds": statistics.median(pings), "pings": len(pings),
            "ping_p95_seconds": percentile(pings, 0.95)}


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


def run(jack: JackServer | None, folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Start `soundforge serve`, measure, end it."""
    command = [sys.executable, "-m", "soundforge.cli", "serve", "--osc-port", str(PORT), "--library",
               str(folder / "library"), "--log", str(folder / "log.txt")]
    command += ["--input", "system", "--output", "system"] if jack else \
        ["--offline-device", "--offline-input", str(LOOP)]
    began = time.monotonic()
    with (folder / "screen.txt").open("wb") as screen:
        server = subprocess.Popen(command, stdout=screen, stderr=screen, stdin=subprocess.DEVNULL,
                                  env=jack.environment() if jack else None)
    player = None
    try:
        with OscClient(PORT) as client:
            client.wait_for_server(stopped=lambda: server.poll() is not None)
            pong = time.monotonic() - began
            client.wait_until_ready()
            ready = time.monotonic() - began
            if jack:
                player = subprocess.Popen([sys.executable, str(ROOT / "tests" / "rig" / "play_loop.py"), str(LOOP)],
                                          env=jack.environment())
                jack.connect(jack.wait_port("loopplayer:out_1"), jack.wait_port("in_"))
            figures = measure(client, seconds, rounds)
    except RuntimeError as error:
        raise SystemExit(f"{error}\n{(folder / 'screen.txt').read_text()[-2000:]}") from error
    finally:
        if player is not None:
            player.terminate()
            player.wait(10)
        ended = time.monotonic()
        server.send_signal(signal.SIGINT)
        server.wait(15)
        ended = time.monotonic() - ended
    return {"pong_seconds": pong, "ready_seconds": ready, "end_seconds": ended, **figures}


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
