"""The files in bridges/clients, run in the programs they are for, against the bridge on a session in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from osc_client import Running, running
from session_double import MemorySession

from soundforge.requests import JobEvent

CLIENTS = Path(__file__).resolve().parents[2] / "bridges" / "clients"
HEADLESS = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_DISABLE_SANDBOX": "1"}
pytestmark = pytest.mark.rig


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        line = f"{program} is missing: sudo apt-get install -y --no-install-recommends {package}"
        if os.environ.get("CI"):
            pytest.fail(line)
        warnings.warn(f"a client is NOT tested: {line}", stacklevel=2)
        pytest.skip(line)


class QuickSession(MemorySession):
    """Finishes each continuation a moment after it was taken."""

    server: Running

    def continue_take(self, take: str = "", seconds: float | None = None, job: str = "", origin: Any = None,
                      **options: Any) -> str:
        name = super().continue_take(take, seconds, job, origin, **options)
        done = JobEvent("done", name, clip="clip-0001", seconds=seconds or 8.0, file="/library/clip-0001.wav")
        self.server.loop.call_later(0.2, self.emit, done, origin)
        return name


@pytest.fixture
def quick() -> Iterator[QuickSession]:
    session = QuickSession()
    with running(session) as server:
        session.server = server
        yield session


def wait_for_call(session: MemorySession, name: str, seconds: float = 15.0) -> tuple[Any, ...]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = [call for call in session.calls if call[0] == name]
        if found:
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"no {name} came; heard {session.calls}")


def test_shell_script(quick: QuickSession) -> None:
    need("oscsend", "liblo-tools")
    need("oscdump", "liblo-tools")
    script = CLIENTS / "liblo" / "capture_and_continue.sh"
    done = subprocess.run([script, "0.3", "127.0.0.1", str(quick.server.bridge.port)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    take = quick.calls[0][1]
    assert take.startswith("shell-")
    assert quick.calls == [("capture_start", take), ("capture_stop",), ("continue_take", take, 4.0, take)]
    assert f'/soundforge/job/done ssfs "{take}" "clip-0001" 4.0' in done.stdout
    assert len(quick.server.bridge._out.subscribers) == 0


def test_shell_script_fails_when_the_job_does(quick: QuickSession) -> None:
    need("oscsend", "liblo-tools")
    script = CLIENTS / "liblo" / "capture_and_continue.sh"

    def fail(take: str, seconds: float, job: str, origin: Any = None) -> str:
        quick.emit(JobEvent("error", job, what="the model is lost"), origin)
        return job

    quick.continue_take = fail  # type: ignore[method-assign]
    done = subprocess.run([script, "0.1", "127.0.0.1", str(quick.server.bridge.port)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "the model is lost" in done.stdout


def test_supercollider(quick: QuickSession) -> None:
    need("sclang", "supercollider-language")
    done = subprocess.run(["sclang", str(CLIENTS / "supercollider" / "soundforge.scd"), str(quick.server.bridge.port),
                           "0.3"], capture_output=True, text=True, timeout=120, check=False, env=HEADLESS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call[0] for call in quick.calls] == ["set_param", "capture_start", "capture_stop", "continue_take"]
    take = quick.calls[1][1]
    assert quick.calls[0][2] == pytest.approx(0.9) and take.startswith("sc-")
    assert quick.calls[3] == ("continue_take", take, 4.0, take)
    assert f"[ /soundforge/job/done, {take}, clip-0001, 4.0" in done.stdout


def test_pure_data(quick: QuickSession) -> None:
    need("pd", "puredata-core")
    port = quick.server.bridge.port
    sends = [f"sf-connect 127.0.0.1 {port}", "sf-status bang", "sf-capture-start mine", "sf-capture-stop bang",
             "sf-continue mine 4 pd-job", "sf-generate warm\\ dub 2.5", "sf-takeover 2 8", "sf-temperature 0.75",
             "sf-cancel *"]
    arguments = [item for send in sends for item in ("-send", send)]
    patch = CLIENTS / "puredata" / "soundforge.pd"
    pd = subprocess.Popen(["pd", "-nogui", "-noaudio", "-nomidi", "-stderr", *arguments, str(patch)],
                          stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=HEADLESS)
    printed: list[str] = []
    assert pd.stderr is not None
    reader = threading.Thread(target=lambda: printed.extend(pd.stderr or ()))
    reader.start()
    try:
        wait_for_call(quick, "cancel")
        end = time.monotonic() + 10
        while time.monotonic() < end and not any("done pd-job" in line for line in printed):
            time.sleep(0.05)
    finally:
        pd.terminate()
        pd.wait(10)
        reader.join(10)
        pd.stderr.close()
    assert quick.calls[:3] == [("capture_start", "mine"), ("capture_stop",), ("continue_take", "mine", 4.0, "pd-job")]
    assert quick.calls[3] == ("generate", "warm dub", 2.5, "")
    assert quick.calls[4:] == [("takeover", 2, 8, ""), ("set_param", "temperature", 0.75), ("cancel", "*")]
    heard = "".join(printed)
    for line in ("soundforge-status: ready", "soundforge-take: mine", "soundforge-job: accepted pd-job",
                 "soundforge-job: done pd-job clip-0001 4"):
        assert line in heard, heard
