"""Real MIDI without a sound card: JACK's, with ports of our own and somebody else's sender (`jack_midiseq`)."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from needs import need_rig

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "rig"))

from jack_server import JackServer  # noqa: E402  a script beside the rig's tests

pytestmark = pytest.mark.rig


@pytest.fixture
def jack(tmp_path: Path) -> Iterator[JackServer]:
    """A server for each test: a client that ends in the wrong moment can stop one that waits for its clients."""
    need_rig("MIDI with a real server")
    # One name for all runs: a server that had to be killed keeps one of JACK's eight places until its name comes again.
    server = JackServer(tmp_path, period=64)
    server.start()
    yield server
    server.stop()


def start(jack: JackServer, script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**jack.environment(), "MIDO_BACKEND": "mido.backends.rtmidi/UNIX_JACK"}
    process = subprocess.Popen([sys.executable, str(HERE / script), *arguments], text=True, env=environment,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line == "ready", line + process.communicate(timeout=10)[1]
    return process


def heard(bridge: subprocess.Popen[str], word: str) -> None:
    """Wait until the bridge says so of its input."""
    assert bridge.stdout is not None
    assert bridge.stdout.readline().strip() == word


def finish(process: subprocess.Popen[str], say: str = "") -> Any:
    """Close its input and read the line of JSON it ends with."""
    out, errors = process.communicate(say, timeout=60)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def test_messages_lights_and_the_time_they_take(jack: JackServer) -> None:
    controller = start(jack, "midi_jack_controller.py")
    jack.wait_port(":lamps")
    bridge = start(jack, "midi_jack_probe.py", "lamps")
    jack.connect(jack.wait_port(":keys"), jack.wait_port(":SoundForge"))
    lit = finish(controller, "play\n")
    got = finish(bridge)
    assert got["calls"] == [["capture_start", ""], ["capture_stop"], ["set_param", "top_k", 1000],
                            ["play_pad", 3, 1.0], ["silence"],
                            *[["play_pad", pad, 1.0] for pad in (4, 5, 6, 7)]]
    assert got["jobs"] == 50
    assert [line for line in got["lines"] if "there is no MIDI output 'lamps' now" not in line] == []
    dark = [["note_on", note, 0] for note in (36, 38, 40, 41, 42, 43, 45)]
    pads = [["note_on", note, 32] for note in range(48, 64)]
    assert lit[:23] == dark + pads and [entry[1] for entry in lit[23:29]] == [20, 21, 22, 23, 24, 25]
    assert lit[29:] == [["note_on", 36, 127], ["note_on", 38, 127], ["note_on", 36, 0], ["note_on", 38, 0],
                        *[["note_on", note, 127] for note in (40, 41, 42, 43)]]
    # From the driver's callback, in another process, to the job's acceptance; less than 5 ms is asked for.
    times = got["milliseconds"]
    print(f"callback to accepted: median {statistics.median(times):.2f} ms, worst {max(times):.2f} ms")
    assert statistics.median(times) < 5.0


def test_a_controller_that_is_pulled_out_and_put_in_again(jack: JackServer) -> None:
    bridge = start(jack, "midi_jack_probe.py", "", "keys")
    for _ in range(2):
        controller = start(jack, "midi_jack_controller.py")
        heard(bridge, "opened")
        finish(controller, "play\n")
        heard(bridge, "gone")
    got = finish(bridge)
    assert got["jobs"] == 100
    assert [call for call in got["calls"] if call[0] == "play_pad"] == [["play_pad", pad, 1.0] for pad in
                                                                         (3, 4, 5, 6, 7)] * 2
    assert sum("has gone; it is opened when it comes back" in line for line in got["lines"]) == 2, got["lines"]


def test_a_sound_server_that_ends_and_comes_back(jack: JackServer) -> None:
    bridge = start(jack, "midi_jack_probe.py")
    jack.wait_port(":SoundForge")
    jack.kill()
    jack.stop()
    time.sleep(1.0)  # the bridge looks meanwhile
    jack.start()
    jack.wait_port(":SoundForge")
    assert finish(bridge)["lines"] == [
        "the MIDI ports have gone with their sound server; they are opened when it is back"]


def test_somebody_elses_sender(jack: JackServer) -> None:
    """`jack_midiseq` plays notes in a loop: 36 for the hold, 48 for a pad."""
    bridge = start(jack, "midi_jack_probe.py")
    # name, samples of the loop, then start, note and length of each note, in samples
    sequencer = subprocess.Popen(["jack_midiseq", "seq", "24000", "0", "36", "8000", "12000", "48", "4000"],
                                 env=jack.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        jack.connect(jack.wait_port("seq:out"), jack.wait_port(":SoundForge"))
        time.sleep(2.2)  # the loop is half a second long
        got = finish(bridge)
    finally:
        sequencer.send_signal(signal.SIGINT)  # it does not listen to SIGTERM
        try:
            sequencer.wait(10)
        except subprocess.TimeoutExpired:
            sequencer.kill()
            sequencer.wait(10)
    calls = [tuple(call) for call in got["calls"]]
    assert calls.count(("capture_start", "")) >= 3
    assert abs(calls.count(("capture_start", "")) - calls.count(("capture_stop",))) <= 1
    assert sum(call[:2] == ("play_pad", 1) for call in calls) >= 3
    assert got["lines"] == []
