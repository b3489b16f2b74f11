"""The rig can be trusted: real audio goes through it sample for sample, and clients are heard."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from jack_server import JackServer, end_orphans
from osc_clients import OscDump, oscsend, parse_line

pytestmark = pytest.mark.rig

LOOPBACK = """
import numpy as np, sounddevice as sd, sys
index = next(i for i, d in enumerate(sd.query_devices()) if d["name"] == "loopback")
rate = int(sd.query_devices(index)["default_samplerate"])
out = np.random.default_rng(1).uniform(-0.5, 0.5, (rate, 2)).astype(np.float32)
heard = sd.playrec(out, rate, device=(index, index), channels=2, blocking=True)
start = int(np.argmax(np.correlate(heard[:4096, 0], out[:1024, 0], "valid")))
same = np.array_equal(heard[start:start + rate // 2], out[:rate // 2])
print("exact" if same else "changed", start)
sys.stdout.flush()
"""


def test_what_is_played_on_the_loopback_is_captured_sample_for_sample(jack: JackServer) -> None:
    for _ in range(3):  # a machine that pauses may lose a period; sound that is altered would fail each time
        done = subprocess.run([sys.executable, "-c", LOOPBACK], env=jack.environment(), capture_output=True, text=True,
                              timeout=60, check=False)
        if done.stdout.startswith("exact"):
            return
    pytest.fail(f"the loopback changed the sound: {done.stdout} {done.stderr[-500:]}")


COMING_AND_GOING = """
import rtmidi
for _ in range(15):
    clients = [kind(rtapi=rtmidi.API_UNIX_JACK, name="guest") for kind in (rtmidi.MidiIn, rtmidi.MidiOut)]
    for client in clients:
        client.delete()
"""


def test_ports_are_listed_while_clients_come_and_go(jack: JackServer) -> None:
    """With `jack_lsp` in place of the patch bay the server stood still for ten seconds and more in most runs."""
    guest = subprocess.Popen([sys.executable, "-c", COMING_AND_GOING], env=jack.environment())
    try:
        end, listed = time.monotonic() + 5.0, 0
        while guest.poll() is None:
            assert time.monotonic() < end, f"the server stands still after {listed} lists"
            assert "system:playback_1" in jack.ports()
            listed += 1
            time.sleep(0.02)
        assert guest.returncode == 0 and listed > 5
    finally:
        guest.kill()
        guest.wait()
    assert jack.answers()


KILLED_RUN = """
import os, signal, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from jack_server import JackServer
server = JackServer(Path(sys.argv[2]))
server.start()
client = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=server.environment(),
                          stdout=subprocess.DEVNULL)
print(server.name, server.process.pid, client.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_behind_is_ended(rig_programs: None, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_RUN, str(Path(__file__).parent), str(tmp_path)], text=True,
                          stdout=subprocess.PIPE, timeout=60, check=False)
    name, *left = done.stdout.split()
    assert all(Path(f"/proc/{pid}").exists() for pid in left), "or there is nothing to end"
    end_orphans(name)
    end = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.05)


def test_oscdump_hears_oscsend(rig_programs: None) -> None:
    with OscDump() as dump:
        oscsend(dump.port, "/a/b", "ifs", 3, 1.5, "two words")
        heard = dump.wait_for("/a/b", 3, seconds=5)
        assert heard.types == "ifs"
        assert heard.arguments == (3, 1.5, "two words")
        with pytest.raises(AssertionError, match=r"no /never within 0.2 s; heard last:\n  /a/b"):
            dump.wait_for("/never", seconds=0.2)


@pytest.mark.parametrize(("line", "expected"), [
    ('e3a1.07 /soundforge/pong i 1', ("/soundforge/pong", "i", (1,))),
    ('/soundforge/job/done ssfs "a" "clip 1" 2.500000 "/x.wav"', ("/soundforge/job/done", "ssfs",
                                                              ("a", "clip 1", 2.5, "/x.wav"))),
    ("/empty ", ("/empty", "", ())), ("noise", None),
])
def test_lines_of_oscdump_are_read(line: str, expected: tuple[str, str, tuple[object, ...]] | None) -> None:
    heard = parse_line(line)
    assert (heard and (heard.address, heard.types, heard.arguments)) == expected
