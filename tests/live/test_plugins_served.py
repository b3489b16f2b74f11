"""Plugins inside a real server, over OSC: what breaks is named and fails its job alone; what works is heard.

`soundforge serve` on the offline device, with one file of plugins in `--plugins-dir` (`served_plugins.py`) and a tiny
deterministic model that this file registers, too.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_server import Server

import soundforge as sf
from soundforge.host import create_host
from soundforge.requests import SamplingParams
from soundforge.wav import read_clip

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent


class Place:
    """Where the server of this module finds its plugins and writes their events."""

    def __init__(self, folder: Path) -> None:
        self.plugins, self.events = folder / "plugins", folder / "events.txt"
        self.plugins.mkdir()
        shutil.copy(HERE / "served_plugins.py", self.plugins / "tides.py")
        (self.plugins / "torn.py").write_text("import nowhere_to_be_found\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def server(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("served"), "--model", "tiny-live", "--plugins-dir", str(place.plugins),
                  "--plugin-seconds", "3", environment={"SERVED_PLUGINS_EVENTS": str(place.events)})
    try:
        made.wait_until_ready()
        made.set("param/autoplay", 0)
        made.set("param/seed", 7)
        yield made
    finally:
        made.close()


def test_what_could_not_be_imported_is_told_with_its_name(server: Server) -> None:
    assert "cannot be imported (ModuleNotFoundError" in server.line()


@pytest.mark.parametrize(("mode", "what"), [
    ("raise", "raised RuntimeError in encode: the dam broke"), ("nan", "gave NaN or infinite features"),
    ("shape", "expected [2, length, 2]"), ("exit", "raised SystemExit in encode"),
    ("hang", "has not come back from encode after 3 s")])
def test_a_conditioner_that_breaks_fails_its_job_and_the_server_lives_on(server: Server, mode: str, what: str) -> None:
    server.set("condition/broken", mode)
    told = server.failed()
    assert told.startswith("plugin tides 1.5: conditioner 'broken' ") and what in told
    server.set("condition/broken", "")
    assert server.made().codes is not None
    assert server.process.poll() is None


def test_a_bad_value_is_the_users_and_says_what_is_expected(server: Server) -> None:
    server.set("condition/tide", "high")
    assert server.failed() == "condition 'tide' came as 'high', expected a number"
    server.set("condition/tide", "")


def test_a_condition_its_weight_and_an_address_of_a_plugin(server: Server) -> None:
    plain = server.made()
    server.client.drain()
    assert server.client.ask("/tides/height", 2.5) == ("/tides/is", (2.5,))
    tide = server.made()
    assert tide.request.conditions == {"tide": "2.5"} and not np.array_equal(tide.codes, plain.codes)
    server.set("param/guidance/tide", 4.0)
    weighted = server.made()
    assert weighted.request.guidance["tide"] == 4.0 and not np.array_equal(weighted.codes, tide.codes)
    server.set("condition/tide", "")
    np.testing.assert_array_equal(server.made().codes, plain.codes)  # its weight has nothing to act on
    server.set("param/guidance/tide", 1.0)


def test_processors_run_on_the_clip_and_those_that_break_are_named(server: Server) -> None:
    plain = server.made()
    assert server.set("param/processors", "quieter fade:out_seconds=0.05")[0] == "/soundforge/param/processors"
    quiet = server.made()
    assert [(p["name"], p["plugin"], p["version"]) for p in quiet.info["processors"]] == [
        ("quieter", "tides", "1.5"), ("fade", "clip_tools", sf.__version__)]
    middle = slice(1000, 2000)
    np.testing.assert_allclose(quiet.waveform[:, middle], 0.5 * plain.waveform[:, middle], atol=1e-6)
    server.set("param/processors", "nan")
    assert server.failed() == "plugin tides 1.5: clip processor 'nan' gave NaN or infinite samples"
    address, values = server.set("param/processors", "loudr")
    assert address == "/soundforge/error" and "clip processor came as 'loudr', expected one of bars" in values[1]
    server.set("param/processors", "quieter:depth")
    assert server.set("param/processors", " ")[0] == "/soundforge/param/processors"


def test_a_fader_morphs_one_text_into_another_and_it_can_be_made_again(server: Server, place: Place) -> None:
    server.set("param/text_b", "harsh techno kick")
    still = server.made("warm strings", 5.0)
    job = server.start("warm strings", 5.0)
    for step in range(1, 41):
        server.client.send("/soundforge/param/morph", step / 40)
        time.sleep(0.01)
    address, values = server.ended(job)
    assert address == "/soundforge/job/done"
    clip = read_clip(Path(values[3]))
    changes = clip.info["changes"]
    assert changes and changes[-1]["conditions"]["text"]["blend"] == ["warm strings", "harsh techno kick"]
    first = changes[0]["frame"]
    assert clip.codes is not None and still.codes is not None
    assert np.array_equal(clip.codes[:, :first], still.codes[:, :first]) or clip.request.conditions
    assert not np.array_equal(clip.codes, still.codes)
    np.testing.assert_array_equal(replayed(clip, place.plugins), clip.codes)
    server.set("param/morph", 0.0)
    server.set("param/text_b", " ")


def replayed(clip: sf.Clip, plugins: Path) -> np.ndarray:
    """The clip once more from its record: the request, and each change at its frame."""
    host = create_host(only=[], plugins_dir=plugins)
    changes = list(clip.info["changes"])
    with sf.load("tiny-live", device="cpu", host=host) as engine:
        running = engine.stream_request(clip.request)
        pieces: list[np.ndarray] = []
        made = 0
        while True:
            while changes and changes[0]["frame"] == made:
                change = changes.pop(0)
                again: dict[str, Any] = {}
                if "conditions" in change:
                    a, b = change["conditions"]["text"]["blend"]
                    again["conditions"] = {"text": sf.Blend(a, b, change["conditions"]["text"]["amount"])}
                if "sampling" in change:
                    again["sampling"] = SamplingParams(**change["sampling"])
                running.update(**again)
            chunk = next(running, None)
            if chunk is None:
                break
            pieces.append(chunk.codes)
            made += chunk.codes.shape[-1]
    assert not changes
    return np.concatenate(pieces, axis=-1)


def test_listeners_hear_and_one_that_raises_is_told_of_once(server: Server, place: Place) -> None:
    job = server.start("a", 6.0)
    server.client.send("/soundforge/cancel", job)
    server.ended(job)
    deadline = time.monotonic() + 20
    while "on_event raised RuntimeError: deaf from now on" not in server.line():
        assert time.monotonic() < deadline, server.line()
        time.sleep(0.1)
    heard = place.events.read_text().split()
    assert {"JobEvent", "ClipEvent", "ParamEvent"} <= set(heard)
    server.made()
    assert server.line().count("deaf from now on") == 1
