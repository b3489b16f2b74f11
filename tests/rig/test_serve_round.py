"""The main job with real programs: capture, continue, play, over `oscsend` and `oscdump`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from round_trip import best_match, round_trip
from serve_process import LOOP, OFFLINE, serve_command
from served import Served

import soundforge as sf
from soundforge.library import Library

pytestmark = [pytest.mark.rig, pytest.mark.slow]


@pytest.fixture(scope="module")
def served(rig_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with the offline device for the tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("served")
    with Served(folder, *OFFLINE, "--offline-output", folder / "heard.wav") as server:
        server.send("/soundforge/param/quantum", "f", 0)
        yield server


def test_it_answers_at_once_and_is_ready_soon(served: Served) -> None:
    print(f"pong after {served.seconds_to_pong:.2f} s, {served.cpu_to_pong:.2f} s of them computing")
    assert 0 < served.cpu_to_pong < 1.5, "within a second on a machine that is not busy"
    assert served.status().arguments[:2] == ("ready", "starter")
    pong = served.ask("/soundforge/ping", "ifs", 7, 2.5, "three words here", reply="/soundforge/pong")
    assert pong.arguments == (7, 2.5, "three words here")


def test_a_capture_is_continued_and_heard(served: Served) -> None:
    file = round_trip(served, "riff", "mine", 2.0)
    clip = Library(served.library).load_clip(file.stem)
    assert file.is_file()
    assert clip.as_waveform().rms() > 0.003
    assert clip.request.tags
    take = Library(served.library).load_take("riff").waveform
    loop = sf.read(LOOP).resampled(take.sample_rate)
    mono, whole = take.samples.mean(axis=0), np.tile(loop.samples.mean(axis=0), 2)
    score, at = best_match(mono, whole)
    assert score > 0.95, "the take is not what the device heard"
    # the loop is four bars long and starts with the device, so a bar line lies on a beat of the recording
    beat = take.sample_rate * 0.5
    assert abs((at + beat / 2) % beat - beat / 2) < 0.02 * take.sample_rate
    heard = sf.read(served.folder / "heard.wav")
    middle = clip.as_waveform().resampled(heard.sample_rate).samples.mean(axis=0)[heard.sample_rate // 4:][:36_000]
    score, _ = best_match(middle, heard.samples.mean(axis=0))
    assert score > 0.98, "what is heard is not the continuation"


def test_a_second_continue_waits_and_both_end(served: Served) -> None:
    served.dump.clear()
    for job in ("one", "two"):
        served.send("/soundforge/continue", "sfs", "", 1.0, job)
    done = [served.dump.wait_for("/soundforge/job/done", job, seconds=60) for job in ("one", "two")]
    assert done[0].at < done[1].at and len({message.arguments[1] for message in done}) == 2, "one after the other"


def test_generate_from_text(served: Served) -> None:
    served.dump.clear()
    served.send("/soundforge/generate", "sfs", "techno, 120 bpm", 1.0, "text")
    done = served.dump.wait_for("/soundforge/job/done", "text", seconds=60)
    assert Library(served.library).load_clip(str(done.arguments[1])).request.text == "techno, 120 bpm"


def test_cancel_ends_a_job(served: Served) -> None:
    served.dump.clear()
    served.send("/soundforge/generate", "sfs", "long", 30.0, "endless")
    served.dump.wait_for("/soundforge/job/accepted", "endless")
    served.send("/soundforge/cancel", "s", "endless")
    assert served.dump.wait_for("/soundforge/job/cancelled", "endless", seconds=10).arguments == ("endless",)


@pytest.mark.parametrize(("address", "types", "arguments"), [
    ("/soundforge/no/such/address", "", ()),
    ("/soundforge/continue", "s", ("no-such-take",)),
    ("/soundforge/continue", "sf", ("", -3.0)),
    ("/soundforge/continue", "sf", ("", 1e9)),
    ("/soundforge/generate", "i", (3,)),
    ("/soundforge/param/temperature", "s", ("hot",)),
    ("/soundforge/param/temperature", "f", ("nan",)),
    ("/soundforge/param/no_such_param", "f", (1.0,)),
    ("/soundforge/clip/play", "s", ("no-such-clip",)),
    ("/soundforge/cancel", "s", ("no-such-job",)),
    ("/soundforge/transport/tempo", "f", (5.0,)),
    ("/soundforge/capture/stop", "", ()),
    ("/soundforge/capture/bars", "i", (-1,)),
    ("/soundforge/condition/wetness", "s", ("x",)),
])
def test_bad_input_gets_one_line_and_the_server_lives_on(served: Served, address: str, types: str,
                                                         arguments: tuple[object, ...]) -> None:
    error = served.ask(address, types, *arguments, reply="/soundforge/error")
    assert error.arguments[0] == address
    assert len(str(error.arguments[1])) > 10
    assert served.ask("/soundforge/ping", "i", 5, reply="/soundforge/pong").arguments == (5,)


def test_a_busy_port_is_told_in_one_line(served: Served, tmp_path: Path) -> None:
    done = subprocess.run(serve_command("--offline-device", "--osc-port", served.port, "--library", tmp_path,
                                        "--log", tmp_path / "log.txt"), capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert str(served.port) in last
    assert "--osc-port" in last
    assert "Traceback" not in done.stderr


def test_without_the_device_it_says_so_and_lives_on(rig_programs: None, tmp_path: Path) -> None:
    with Served(tmp_path, "--input", "no such device", wait=0) as server:
        assert server.ask("/soundforge/ping", "i", 5, reply="/soundforge/pong").arguments == (5,)
        end = time.monotonic() + 15
        while "error: " not in server.printed():
            assert time.monotonic() < end, server.printed()
            time.sleep(0.2)
        told = next(line for line in server.printed().splitlines() if line.startswith("error: "))
        assert "soundforge devices" in told or "--offline-device" in told
        assert server.status().arguments[0] in ("error", "loading")
        assert "Traceback" not in server.printed()
    assert server.process.returncode == 0
