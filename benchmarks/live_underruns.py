"""Underruns while the engine generates without pause, told apart by whose they are; from inside the session.

    python benchmarks/live_underruns.py [--seconds 60] [--model starter] [--rate 48000] [--block 256]
    python benchmarks/live_underruns.py --device system          a sound card instead of the offline device
    python benchmarks/live_underruns.py --jack --seconds 600     a real JACK server without a sound card: the soak

`stream_underruns` = a voice ran dry (ours); `late_blocks` = the device flagged the block, or the offline device woke
up more than a block late (the machine was busy); `late_cycles_of_the_server` = what JACK says of itself meanwhile;
`longest_block_ms` = the longest that our callback ever took, of the `block_ms` it has. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rig"))

from common import print_result
from jack_server import JackServer

from soundforge.library import Library
from soundforge.live.audio_protocol import AudioSetup
from soundforge.live.engine_client import LocalEngine
from soundforge.live.engine_protocol import EngineSetup
from soundforge.live.session import Session
from soundforge.requests import Event, JobEvent, NoticeEvent

ROOT = Path(__file__).resolve().parent.parent
LOOP = ROOT / "examples" / "loops" / "garzul_120bpm.flac"


async def wait_for(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        await asyncio.sleep(0.01)


async def measure(options: argparse.Namespace, folder: Path, jack: JackServer | None = None) -> dict[str, Any]:
    """Capture, then keep continuing for the time asked for."""
    setup = AudioSetup(offline=not options.device, offline_input=str(LOOP), block=options.block, rate=options.rate,
                       input=options.device or None, output=options.device or None)
    session = Session(setup, LocalEngine(EngineSetup(model=options.model)), Library(folder), model=options.model)
    events: list[Event] = []
    session.add_listener(lambda event, origin: events.append(event))
    began = time.perf_counter()
    await session.start()
    await wait_for(lambda: session.status().state != "loading", 120)
    ready = time.perf_counter() - began
    player = play_into(jack) if jack else None
    session.set_param("quantum", 0)
    session.capture_start()
    await asyncio.sleep(min(4.0, options.seconds / 3))
    session.capture_stop()
    status, first = session.audio.status, []
    before = (status.underruns, status.xruns, status.blocks)
    late_before = jack.late_cycles() if jack else 0
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        asked = time.perf_counter()
        job = session.continue_take(seconds=8.0)
        await wait_for(lambda job=job: any(isinstance(e, JobEvent) and e.job == job and e.kind == "playing"
                                           for e in events), 30)
        first.append(time.perf_counter() - asked)
        await wait_for(lambda job=job: any(isinstance(e, JobEvent) and e.job == job and e.kind == "done"
                                           for e in events), 60)
    after = (status.underruns, status.xruns, status.blocks)
    figures = {"ready_seconds": ready, "first_sound_median_seconds": sorted(first)[len(first) // 2], "jobs": len(first),
               "first_sound_longest_seconds": max(first), "real_time_factor": session.status().rtf,
               "stream_underruns": after[0] - before[0], "late_blocks": after[1] - before[1],
               "blocks": after[2] - before[2], "longest_block_ms": 1000 * status.longest_block_seconds,
               "block_ms": 1000 * setup.block / session.audio.rate, "overruns": session.audio.overruns,
               "late_cycles_of_the_server": jack.late_cycles() - late_before if jack else 0,
               "notices": [e.what for e in events if isinstance(e, NoticeEvent)]}
    if player is not None:
        player.terminate()
        player.wait(10)
    await session.stop()
    return figures


def play_into(jack: JackServer) -> subprocess.Popen[bytes]:
    """Another program that plays the loop into our input, for ever."""
    player = subprocess.Popen([sys.executable, str(ROOT / "tests" / "rig" / "play_loop.py"), str(LOOP)],
                              env=jack.environment())
    jack.connect(jack.wait_port("loopplayer:out_1"), jack.wait_port("in_"))
    return player


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure; with `options.jack` on a server of its own, which our children find by the environment."""
    if not options.jack:
        return asyncio.run(measure(options, folder))
    jack = JackServer(folder / "jack", rate=options.rate or 48_000, period=options.block)
    jack.start()
    os.environ.update(jack.environment())
    options.device = "system"
    try:
        return asyncio.run(measure(options, folder, jack))
    finally:
        jack.stop()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Underruns while generating.")
    made.add_argument("--seconds", type=float, default=60.0)
    made.add_argument("--model", default="starter")
    made.add_argument("--rate", type=int, default=None)
    made.add_argument("--block", type=int, default=256)
    made.add_argument("--device", default="")
    made.add_argument("--jack", action="store_true", help="a JACK server of its own, with another program playing")
    return made


def main() -> None:
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = run(options, Path(name))
    print_result("live_underruns", {"device": "jack" if options.jack else options.device or "offline",
                                    "seconds": options.seconds, **figures})


if __name__ == "__main__":
    main()
