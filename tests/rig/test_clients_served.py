"""Every file of `bridges/clients` that runs here, in its own program, against the whole server: what it asks for is
recorded, generated and written. `tests/bridges/test_clients.py` says of each what it sends; this one that it works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import need
from osc_clients import oscsend
from serve_process import OFFLINE, free_udp_port
from served import Served

from soundforge.library import Library

CLIENTS = Path(__file__).resolve().parents[2] / "bridges" / "clients"
HEADLESS = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_DISABLE_SANDBOX": "1"}
pytestmark = [pytest.mark.rig, pytest.mark.soak]


@pytest.fixture(scope="module")
def served(rig_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with Served(folder, *OFFLINE, "--osc-map", CLIENTS / "touchosc" / "simple.toml") as server:
        server.send("/soundforge/param/quantum", "f", 0)
        yield server


def run(*line: object) -> str:
    """Run a client to its end; what it printed."""
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, timeout=120, check=False,
                          env=HEADLESS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def made(served: Served, job: str = "") -> float:
    """Seconds of the clip of the next job that is done; it is there, and it sounds."""
    done = served.dump.wait_for("/soundforge/job/done", *([job] if job else []), seconds=60).arguments
    clip = Library(served.library).load_clip(str(done[1]))
    assert clip.as_waveform().rms() > 0.003
    return float(clip.seconds)


def test_the_shell_script(served: Served) -> None:
    served.dump.clear()
    said = run(CLIENTS / "liblo" / "capture_and_continue.sh", 1, "127.0.0.1", served.port)
    assert "/soundforge/job/done" in said
    assert made(served) == pytest.approx(4.0, abs=0.05)


def test_supercollider(served: Served) -> None:
    need("the SuperCollider file", "sclang", packages="supercollider-language", large=True)
    served.dump.clear()
    said = run("sclang", CLIENTS / "supercollider" / "soundforge.scd", served.port, 1)
    assert "/soundforge/job/done, sc-" in said
    assert made(served) == pytest.approx(4.0, abs=0.05)


def test_csound(served: Served) -> None:
    need("the Csound file", "csound", packages="csound")
    served.dump.clear()
    said = run("csound", "-+rtaudio=null", "-odac", CLIENTS / "csound" / "soundforge.csd",
               f"--omacro:PORT={served.port}", f"--omacro:LISTEN={free_udp_port()}", "--smacro:SECONDS=1")
    assert "soundforge-done: csound" in said
    assert made(served, "csound") == pytest.approx(4.0, abs=0.05)


def test_pure_data(served: Served) -> None:
    need("the Pure Data patch", "pd", packages="puredata-core")
    served.dump.clear()
    sends = [f"sf-connect 127.0.0.1 {served.port}", "sf-temperature 0.75", "sf-takeover 1 1"]
    pd = subprocess.Popen(["pd", "-nogui", "-noaudio", "-nomidi", "-stderr",
                           *[word for send in sends for word in ("-send", send)],
                           str(CLIENTS / "puredata" / "soundforge.pd")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, env=HEADLESS)
    try:
        assert made(served) == pytest.approx(2.0, abs=0.01)
    finally:
        pd.terminate()
        pd.wait(10)
    assert served.ask("/soundforge/param/temperature").arguments == (0.75,)


def test_ardours_script_in_a_session(served: Served, tmp_path: Path) -> None:
    """In Ardour's own Lua with a new session, whose tempo is 120."""
    program = next((name for name in ("ardour8-lua", "ardour7-lua", "ardour6-lua") if shutil.which(name)), None)
    if program is None:
        need("the Ardour script", "ardour7-lua", packages="ardour", large=True)
    served.send("/soundforge/transport/tempo", "f", 100)
    served.dump.wait_for("/soundforge/transport", "internal", 100.0)
    served.dump.clear()
    driver = tmp_path / "drive.lua"
    driver.write_text(f"""
        AudioEngine:set_backend ("None (Dummy)", "", "")
        assert (create_session ("{(tmp_path / "session").as_posix()}", "session", 48000) and Session)
        function ardour (t) end
        dofile ("{(CLIENTS / "ardour" / "soundforge.lua").as_posix()}")
        factory ({{ port = "{served.port}", first = "1", second = "1" }}) ()
        close_session ()
        quit ()
    """)
    run(program, driver)
    assert served.dump.wait_for("/soundforge/transport", "internal").arguments[1] == pytest.approx(120.0)
    assert made(served) == pytest.approx(2.0, abs=0.01)


def test_reapers_script(served: Served) -> None:
    served.dump.clear()
    said = run(sys.executable, CLIENTS / "reaper" / "soundforge_takeover.py", served.port, 1, 1)
    assert Path(said.splitlines()[-1]).is_file()
    assert made(served) == pytest.approx(2.0, abs=0.01)


def test_a_tablets_faders_and_buttons(served: Served) -> None:
    served.dump.clear()
    oscsend(served.port, "/1/fader4", "f", 0.0)
    for pressed in (1.0, 0.0):
        oscsend(served.port, "/2/push10", "f", pressed)
    assert made(served) == pytest.approx(1.0, abs=0.05), "the fader that means seconds, all the way down"
