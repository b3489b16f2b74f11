"""Underruns while the engine generates without pause, told apart by whose they are; from inside the session.

    python benchmarks/live_underruns.py [--seconds 60] [--model starter] [--rate 48000] [--block 256]
    python benchmarks/live_underruns.py --device system          a sound card (or JACK) instead of the offline device

`stream_underruns` = a voice ran dry (ours); `late_blocks` = the device flagged the block, or the offline device woke
up more than a block late (the machine was busy); `longest_block_ms` = the longest that our callback ever took, of the
`block_ms` it has. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

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


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
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
    session.set_param("quantum", 0)
    session.capture_start()
    await asyncio.sleep(4)
    session.capture_stop()
    status, first = session.audio.status, []
    before = (status.underruns, status.xruns, status.blocks)
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
               "notices": [e.what for e in events if isinstance(e, NoticeEvent)]}
    await session.stop()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Underruns while generating.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rate", type=int, default=None)
    parser.add_argument("--block", type=int, default=256)
    parser.add_argument("--device", default="")
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
                            check=False).stdout.strip()
    result: dict[str, Any] = {"benchmark": "live_underruns", "commit": commit, "system": platform.platform(),
                              "cores": os.cpu_count(), "device": options.device or "offline"}
    with tempfile.TemporaryDirectory() as name:
        result |= asyncio.run(measure(options, Path(name)))
    print(json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()}))


if __name__ == "__main__":
    main()
