"""JASCO, MAGNeT and MultiBandDiffusion through a real server: `soundforge serve --model FOLDER`, driven over OSC."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from goldens import find_golden
from osc_peer import Client, Heard
from serve_process import ServeProcess

from soundforge.wav import read_info

pytestmark = pytest.mark.slow


class Talk:
    """A client of a server that runs a model."""

    def __init__(self, port: int) -> None:
        self.client = Client(port)

    def ask(self, address: str, *values: Any, reply: str = "", seconds: float = 10.0) -> Heard:
        """Send and wait for the reply; an error instead of it fails the test at once."""
        self.client.drain(0.02)
        self.client.send(address, *values)
        return self.wait(reply or address, seconds)

    def wait(self, address: str, seconds: float = 60.0) -> Heard:
        end = time.monotonic() + seconds
        while True:
            heard = self.client.receive(max(0.001, end - time.monotonic()))
            if heard[0] == address:
                return heard
            assert heard[0] not in ("/soundforge/error", "/soundforge/job/error"), heard

    def made(self, job: str, *generate: Any) -> Path:
        """Generate to the end; the clip's file."""
        self.ask("/soundforge/generate", *generate, job, reply="/soundforge/job/accepted")
        return Path(self.wait("/soundforge/job/done")[1][3])

    def refused(self, address: str, *values: Any) -> str:
        """What a job's error says."""
        self.ask(address, *values, reply="/soundforge/job/accepted")
        return str(self.wait_error()[1][1])

    def wait_error(self) -> Heard:
        end = time.monotonic() + 30
        while True:
            heard = self.client.receive(max(0.001, end - time.monotonic()))
            if heard[0] == "/soundforge/job/error":
                return heard

    def take(self, name: str, seconds: float) -> None:
        """Record the input."""
        self.ask("/soundforge/capture/start", name, reply="/soundforge/capture/started")
        time.sleep(seconds)
        self.ask("/soundforge/capture/stop", reply="/soundforge/take")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """A server with the offline device that hears a tone in bursts; JASCO serves, MAGNeT can be asked for."""
    folder = tmp_path_factory.mktemp("served")
    jasco, magnet = copied("jasco_chords_drums_melody", folder), copied("magnet", folder)
    table = json.loads((jasco / "case.json").read_text())["chord_indices"]
    (jasco / "chord_to_index_mapping.json").write_text(json.dumps(table))
    time_axis = np.arange(48_000) / 48_000
    soundfile.write(folder / "in.wav", 0.3 * np.sin(2 * np.pi * 330 * time_axis) * (time_axis % 0.5 < 0.3), 48_000)
    server = ServeProcess(folder, "--model", jasco, "--models", magnet, "--offline-device", "--offline-input",
                          folder / "in.wav")
    talk = Talk(server.port)
    try:
        server.wait_until(lambda: talk.client.state() == "ready", "the model is not ready")
        talk.ask("/soundforge/param/quantum", 0)
        talk.ask("/soundforge/param/seed", 3)
        yield talk
    finally:
        talk.client.close()
        server.end()


def copied(case: str, folder: Path) -> Path:
    """A golden model in a folder of the test's own, with MultiBandDiffusion's file beside it."""
    model, mbd = find_golden(case), find_golden("multiband_diffusion")
    if model is None or mbd is None:
        pytest.skip(f"no golden case {case} or multiband_diffusion")
    place = folder / case
    shutil.copytree(model, place)
    shutil.copy(mbd / "mbd_musicgen_32khz.th", place)
    return place


def test_jasco_takes_chords_in_beats_drums_and_melody_from_takes(talk: Talk) -> None:
    talk.take("hit", 0.8)
    talk.ask("/soundforge/condition/chords", "C@0b Am7@1b G7@40b")
    talk.ask("/soundforge/condition/drums", "take:hit")
    talk.ask("/soundforge/condition/melody", "take:hit")
    talk.ask("/soundforge/param/guidance/all", 2)
    talk.ask("/soundforge/param/options", "solver=euler,steps=8")
    file = talk.made("all", "calm piano", 1.5)
    assert soundfile.info(file).duration == pytest.approx(1.5, abs=0.05)
    described = json.dumps(read_info(file).record["request"])
    for kept in ('"steps": 8', "Am7@1b", '"drums"', '"melody"'):
        assert kept in described, described
    talk.ask("/soundforge/condition/chords", "Em@0")
    assert "chord 'Em' is unknown to the model" in talk.refused("/soundforge/generate", "x", 1.0, "wrong")
    talk.ask("/soundforge/condition/chords", "")
    talk.take("long", 2.6)
    talk.ask("/soundforge/condition/drums", "take:long")
    assert "expected at most 2 s, the length that the model makes" in talk.refused("/soundforge/generate", "x", 1.0,
                                                                                   "long")
    talk.ask("/soundforge/condition/drums", "")
    assert "cannot continue audio" in talk.refused("/soundforge/continue", "hit", 1.0, "on")
    assert "3 s were asked for, expected one frame to 2 s" in talk.refused("/soundforge/generate", "x", 3.0, "3s")
    talk.ask("/soundforge/param/options", "solver=euler,steps=10000")  # long enough to be stopped in the middle
    talk.ask("/soundforge/generate", "x", 1.0, "stop", reply="/soundforge/job/accepted")
    talk.ask("/soundforge/cancel", "stop", reply="/soundforge/job/cancelled")
    talk.ask("/soundforge/param/options", "solver=euler,steps=8")
    assert talk.made("after", "x", 1.0).is_file()


def test_magnet_generates_continues_and_is_decoded_by_diffusion(talk: Talk) -> None:
    talk.ask("/soundforge/param/options", "")
    for name in ("chords", "drums", "melody"):
        talk.ask(f"/soundforge/condition/{name}", "")
    talk.ask("/soundforge/model", "magnet", reply="/soundforge/status")
    while talk.client.state() != "ready":
        time.sleep(0.05)
    assert talk.client.state() == "ready" and talk.ask("/soundforge/status")[1][1] == "magnet"
    plain, _ = soundfile.read(talk.made("plain", "calm piano", 1.0))
    talk.ask("/soundforge/param/decoder", "mbd:steps=3,equalise=each")
    file = talk.made("diffused", "calm piano", 1.0)
    other, _ = soundfile.read(file)
    assert other.shape == plain.shape and not np.allclose(other, plain, atol=1e-3)
    made_by = json.dumps(read_info(file).record["request"])
    assert '"mbd"' in made_by and '"steps": 3' in made_by
    talk.ask("/soundforge/param/decoder", "magic")
    assert "expected one of mbd" in talk.refused("/soundforge/generate", "x", 1.0, "wrong")
    talk.ask("/soundforge/param/decoder", "")
    talk.take("riff", 0.8)
    talk.ask("/soundforge/continue", "riff", 0.8, "on", reply="/soundforge/job/accepted")
    done = talk.wait("/soundforge/job/done")
    assert done[1][2] == pytest.approx(0.8, abs=0.07)
