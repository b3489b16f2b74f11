"""The machine sleeps and wakes up: told once, nothing is restarted for it, the music goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soundforge.live.audio_watch import HEARTBEAT_SECONDS
from soundforge.live.sleep_watch import SleepWatch

HERE = Path(__file__).resolve().parent


class Clocks:
    """Two clocks that the test moves."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 100.0, 1e9

    def pass_(self, seconds: float, wall: float | None = None) -> None:
        self.monotonic += seconds
        self.wall += seconds if wall is None else wall


def test_both_kinds_of_sleep_are_seen_once() -> None:
    clocks = Clocks()
    watch = SleepWatch(lambda: clocks.monotonic, lambda: clocks.wall)
    for _ in range(100):
        clocks.pass_(0.005)
        assert watch.look() == 0.0
    clocks.pass_(0.005, 3600.0)  # Linux: the monotonic clock stood
    assert watch.look() == pytest.approx(3600.0, abs=0.1)
    clocks.pass_(0.005)
    assert watch.look() == 0.0
    clocks.pass_(60.0)           # Windows: it went on
    assert watch.look() == pytest.approx(60.0)
    clocks.pass_(0.005, -2.0)    # the wall clock was set back a little
    assert watch.look() == 0.0


SCRIPT = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from session_kit import running
async def main(folder):
    async with running(folder) as rig:
        session = rig.session
        session.set_param("quantum", 0)
        session.generate(seconds=60.0)
        await rig.until(lambda: rig.jobs("playing"))
        print(session.audio.pid, flush=True)
        restarts, beat = session.audio.restarts, session.transport().beat
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.sleep(1.0)
        print(json.dumps({"restarts": session.audio.restarts - restarts, "beats": session.transport().beat - beat,
                          "playing": session.audio.status.playing, "notices": rig.notices()}), flush=True)
if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGSTOP is the test's, not the product's")
def test_all_processes_stand_still_for_a_while(tmp_path: Path) -> None:
    """As in a sleep whose monotonic clock goes on: longer than the heartbeat's patience."""
    import json
    import time

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(HERE)], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    audio = int(process.stdout.readline())
    for pid in (process.pid, audio):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(HEARTBEAT_SECONDS + 0.6)
    for pid in (audio, process.pid):
        os.kill(pid, signal.SIGCONT)
    process.stdin.write("\n")
    process.stdin.flush()
    told = json.loads(process.stdout.readline())
    process.communicate(timeout=20)
    assert told["restarts"] == 0, "the audio process was blamed"
    assert told["playing"] == 1, "the music goes on"
    assert told["beats"] > 1.5
    assert [line for line in told["notices"] if "stood still" in line], told["notices"]
