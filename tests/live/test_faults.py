"""What may die, and what must not go with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from session_kit import RATE, running, write_loop

pytestmark = pytest.mark.slow

SERVER = """
import asyncio, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from session_kit import running

async def main():
    async with running(Path({folder!r}), process=True, loop=Path({loop!r})) as rig:
        rig.session.set_param("monitor", 1)
        print("pids", rig.session.engine.pid, rig.session.audio.pid, flush=True)
        await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_control_process_leaves_nothing_behind(tmp_path: Path) -> None:
    """Audio fades out and ends, the engine ends, shared memory is freed, the recording can be read."""
    script = tmp_path / "server.py"
    script.write_text(SERVER.format(here=str(Path(__file__).parent), folder=str(tmp_path),
                                    loop=str(write_loop(tmp_path))))
    shared = Path("/dev/shm")
    before = set(shared.glob("psm_*")) if shared.exists() else set()
    server = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    pids = [int(word) for word in server.stdout.readline().split()[1:]]
    assert len(pids) == 2
    time.sleep(0.7)
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (any(map(alive, pids)) or (
            shared.exists() and set(shared.glob("psm_*")) - before)):
        time.sleep(0.05)
    assert not any(map(alive, pids)), "no process is left"
    if shared.exists():
        assert not set(shared.glob("psm_*")) - before, "no shared memory is left"
    sound, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.abs(sound).max() > 0.1
    assert np.abs(sound[-200:]).max() < 0.05, "it fades out"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_frozen_audio_process_is_replaced_and_a_stream_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), rtf=4.0) as rig:
            session = rig.session
            await rig.monitor_and_capture()
            await rig.play_on()
            pid = session.audio.pid
            os.kill(pid, signal.SIGSTOP)
            await rig.until(lambda: session.audio.pid not in (pid, None) and session.audio.opened)
            assert any("stopped answering" in what for what in rig.notices())
            await rig.until(lambda: session.audio.status.playing == 1)
            session.capture_start()
            await asyncio.sleep(0.5)
            session.capture_stop()
            assert rig.takes()[-1].seconds == pytest.approx(0.5, abs=0.15)

    asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_the_engine_is_killed_again_and_again(tmp_path: Path, kills: int) -> None:
    """Sound goes on, every job is answered, the next one works; no process, thread or memory is left behind."""
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), process=True, rtf=4.0) as rig:
            session = rig.session
            await rig.monitor_and_capture()
            for k in range(kills):
                job = await rig.play_on()
                os.kill(session.engine.pid, signal.SIGKILL)
                await rig.until(lambda job=job: any(e.job == job for e in rig.jobs("error")))
                assert len(rig.jobs("error")) == k + 1
            session.continue_take(seconds=0.5, job="last")
            await rig.until(lambda: any(e.job == "last" for e in rig.jobs("done")), 60.0)
            ended = int(session.audio.now())
        sound = rig.sound()[RATE:ended]
        blocks = np.abs(sound[:len(sound) // 24_000 * 24_000]).reshape(-1, 24_000).max(axis=1)
        assert blocks.min() > 0.05, "the monitored input is heard all the time"

    asyncio.run(main())


def test_an_engine_that_dies_at_every_start_is_told_once_and_comes_back(tmp_path: Path) -> None:
    """No flood of lines, no busy loop: the status says error, and when the cause is gone it serves."""
    cause = tmp_path / "broken"

    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), process=True, die_while=str(cause)) as rig:
            session = rig.session
            session.set_param("monitor", 1)
            cause.touch()
            session.generate(seconds=30.0, job="lost")
            os.kill(session.engine.pid, signal.SIGKILL)
            await rig.until(lambda: any("4 times before it was ready" in what for what in rig.notices()), 60.0)
            assert rig.jobs("error")[0].job == "lost"
            assert session.status().state == "error"
            said, restarts = len(rig.notices()), session.engine.restarts
            assert said == 4
            began = int(session.audio.now())
            await asyncio.sleep(2.0)
            assert len(rig.notices()) == said
            assert session.engine.restarts <= restarts + 2, "each wait is twice as long as the last"
            ended = int(session.audio.now())
            cause.unlink()
            session.load_model("tone")  # at once, whatever the next try's time is
            await rig.until(lambda: session.status().state != "error", 30.0)
            session.set_param("quantum", 0)
            session.generate(seconds=0.3, job="next")
            await rig.until(lambda: any(e.job == "next" for e in rig.jobs("done")), 30.0)
        assert np.abs(rig.sound()[began:ended]).max() > 0.1, "the monitored input is heard meanwhile"

    asyncio.run(main())


def test_a_job_that_is_too_big_for_the_memory_is_answered_and_the_next_one_works(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, process=True, eat_bytes=2**50) as rig:
            session = rig.session
            pid = session.engine.pid
            session.generate("hungry", seconds=1.0, job="big")
            await rig.until(lambda: rig.jobs("error"))
            assert "out of memory" in rig.jobs("error")[0].what
            session.set_param("quantum", 0)
            session.generate("bells", seconds=0.3, job="small")
            await rig.until(lambda: rig.jobs("done"))
            assert session.engine.pid == pid

    asyncio.run(main())
