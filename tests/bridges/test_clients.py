"""The files in bridges/clients, run in the programs they are for, against the bridge on a session in memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from needs import need
from osc_peer import Running, running
from session_double import MemorySession

from soundforge.requests import JobEvent
from soundforge_bridges.osc.replies import REPLIES
from soundforge_bridges.osc.table import find

CLIENTS = Path(__file__).resolve().parents[2] / "bridges" / "clients"
HEADLESS = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_DISABLE_SANDBOX": "1"}
pytestmark = pytest.mark.rig


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
    need("the shell script", "oscsend", "oscdump", packages="liblo-tools")
    script = CLIENTS / "liblo" / "capture_and_continue.sh"
    done = subprocess.run([script, "0.3", "127.0.0.1", str(quick.server.bridge.port)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    take = quick.calls[0][1]
    assert take.startswith("shell-")
    assert quick.calls == [("capture_start", take), ("capture_stop",), ("continue_take", take, 4.0, take)]
    assert f'/soundforge/job/done ssfs "{take}" "clip-0001" 4.0' in done.stdout
    assert len(quick.server.bridge._out.subscribers) == 0


def test_ardour(quick: QuickSession, tmp_path: Path) -> None:
    """The action script in Ardour's own Lua, without a session (`ardour7-lua`; `ardour6-lua` before)."""
    program = next((name for name in ("ardour8-lua", "ardour7-lua", "ardour6-lua") if shutil.which(name)), None)
    if program is None:
        pytest.skip("Ardour is not here; its script was run by hand (docs/users/ardour.md says with which version)")
    script, port = CLIENTS / "ardour" / "soundforge.lua", quick.server.bridge.port
    driver = tmp_path / "drive.lua"
    driver.write_text(f"""
        function ardour (t) kind = t["type"] end
        dofile ("{script.as_posix()}")
        assert (kind == "EditorAction" and action_params ()["port"]["default"] == "9130")
        factory ({{ port = "{port}" }}) ()
        factory ({{ port = "{port}", address = "takeover", first = "2", second = "0" }}) ()
        factory ({{ port = "{port}", address = "pad/play", first = "3", second = "-" }}) ()
        factory ({{ port = "{port}", address = "panic", first = "-", second = "-" }}) ()
    """)
    quick.pads[3] = "loop"
    done = subprocess.run([program, str(driver)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for_call(quick, "panic")
    assert quick.calls == [("takeover", 4, 4, ""), ("takeover", 2, 0, ""), ("play_pad", 3, 1.0), ("panic",)]


def test_csound(quick: QuickSession) -> None:
    need("the Csound file", "csound", packages="csound")
    listen = quick.server.client()
    port = listen.port
    listen.close()
    line = ["csound", "-+rtaudio=null", "-odac", str(CLIENTS / "csound" / "soundforge.csd"),
            f"--omacro:PORT={quick.server.bridge.port}", f"--omacro:LISTEN={port}", "--smacro:SECONDS=0.5"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert quick.calls == [("capture_start", ""), ("capture_stop",), ("continue_take", "", 4.0, "csound")], done.stderr
    assert "soundforge-take: take-0001" in done.stderr and "soundforge-done: csound clip-0001" in done.stderr


def test_reaper_script_outside_reaper(quick: QuickSession) -> None:
    def takeover(bars_in: int, bars_out: int = 0, job: str = "", origin: Any = None, **options: Any) -> str:
        name = MemorySession.takeover(quick, bars_in, bars_out, job, origin, **options)
        done = JobEvent("done", name, clip="clip-0001", seconds=8.0, file="/library/clip-0001.wav")
        quick.server.loop.call_later(0.2, quick.emit, done, origin)
        return name

    quick.takeover = takeover  # type: ignore[method-assign]
    script = CLIENTS / "reaper" / "soundforge_takeover.py"
    done = subprocess.run([sys.executable, str(script), str(quick.server.bridge.port), "2", "8"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "/library/clip-0001.wav", done.stdout + done.stderr
    assert quick.calls[0][:3] == ("takeover", 2, 8)


def test_touchosc_map(session: MemorySession) -> None:
    """The file is for TouchOSC's layout; what a tablet would send is sent by `oscsend`."""
    need("the map for TouchOSC", "oscsend", packages="liblo-tools")
    with running(session, map_file=CLIENTS / "touchosc" / "simple.toml") as server:
        for words in (["/1/fader1", "f", "0.25"], ["/2/push10", "f", "1"], ["/2/push10", "f", "0"],
                      ["/2/push14", "f", "1"], ["/3/xy", "ff", "1", "0.5"]):
            subprocess.run(["oscsend", "127.0.0.1", str(server.bridge.port), *words], check=True, timeout=10)
        end = time.monotonic() + 5
        while len(session.calls) < 5 and time.monotonic() < end:
            time.sleep(0.02)
    assert session.calls == [("set_param", "temperature", 0.5), ("continue_take", "", None, ""),
                             ("takeover", 4, 0, ""), ("set_param", "temperature", 2.0), ("set_param", "cfg", 5.0)]


def test_max_patch_is_whole() -> None:
    """Max is not here: the patch is checked as data (every line leads from a box to a box, no address is unknown)."""
    patcher = json.loads((CLIENTS / "max" / "soundforge.maxpat").read_text())["patcher"]
    boxes = {entry["box"]["id"]: entry["box"] for entry in patcher["boxes"]}
    for entry in patcher["lines"]:
        for end in ("source", "destination"):
            assert entry["patchline"][end][0] in boxes
    sent = [box["text"].split()[0] for box in boxes.values() if box["maxclass"] == "message"]
    assert len(sent) > 8 and all(find(address) for address in sent)
    routed = next(box["text"] for box in boxes.values() if box["text"].startswith("route ")).split()[1:]
    assert set(routed) <= set(REPLIES)


def test_bitwig_script_reads_as_javascript() -> None:
    """Bitwig Studio is not here: only the syntax is checked, and the addresses."""
    script = CLIENTS / "bitwig" / "SoundForge.control.js"
    addresses = re.findall(r'send\((?:\w+ \? )?"([^"]+)"', script.read_text())
    assert len(addresses) > 8 and all(find(f"/soundforge/{address}") for address in addresses)
    if shutil.which("node"):
        subprocess.run(["node", "--check", str(script)], check=True, timeout=60)


def test_shell_script_fails_when_the_job_does(quick: QuickSession) -> None:
    need("the shell script", "oscsend", "oscdump", packages="liblo-tools")
    script = CLIENTS / "liblo" / "capture_and_continue.sh"

    def fail(take: str, seconds: float, job: str, origin: Any = None) -> str:
        quick.emit(JobEvent("error", job, what="the model is lost"), origin)
        return job

    quick.continue_take = fail  # type: ignore[method-assign]
    done = subprocess.run([script, "0.1", "127.0.0.1", str(quick.server.bridge.port)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "the model is lost" in done.stdout


def test_supercollider(quick: QuickSession) -> None:
    need("the SuperCollider file", "sclang", packages="supercollider-language", large=True)
    done = subprocess.run(["sclang", str(CLIENTS / "supercollider" / "soundforge.scd"), str(quick.server.bridge.port),
                           "0.3"], capture_output=True, text=True, timeout=120, check=False, env=HEADLESS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call[0] for call in quick.calls] == ["set_param", "capture_start", "capture_stop", "continue_take"]
    take = quick.calls[1][1]
    assert quick.calls[0][2] == pytest.approx(0.9) and take.startswith("sc-")
    assert quick.calls[3] == ("continue_take", take, 4.0, take)
    assert f"[ /soundforge/job/done, {take}, clip-0001, 4.0" in done.stdout


def test_pure_data(quick: QuickSession) -> None:
    need("the Pure Data patch", "pd", packages="puredata-core")
    port = quick.server.bridge.port
    sends = [f"sf-connect 127.0.0.1 {port}", "sf-status bang", "sf-capture-start mine", "sf-capture-stop bang",
             "sf-continue mine 4 pd-job", "sf-generate warm\\ dub 2.5", "sf-takeover 2 8", "sf-temperature 0.75",
             "sf-pad 3", "sf-endless slow", "sf-release bang", "sf-cancel *"]
    quick.pads[3] = "loop"
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
    assert quick.calls[4:] == [("takeover", 2, 8, ""), ("set_param", "temperature", 0.75), ("play_pad", 3, 1.0),
                               ("generate", "slow", None, "", "endless"), ("release",), ("cancel", "*")]
    heard = "".join(printed)
    for line in ("soundforge-status: ready", "soundforge-take: mine", "soundforge-job: accepted pd-job",
                 "soundforge-job: done pd-job clip-0001 4"):
        assert line in heard, heard
