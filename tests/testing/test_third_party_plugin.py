"""The example package is installed by pip, found by its entry point, and used, beside the built-in plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from plugin_server import Server

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "third_party_plugin"
USE = """
import json
import numpy as np
import soundforge as sf
from soundforge.plugin_manager import PluginManager

(info,) = [i for i in PluginManager().report() if i.name == "drawn_melody"]
engine = sf.load("starter", device="cpu")
plain, drawn, again = (engine.generate("lead", seconds=0.4, seed=3, conditions=conditions)
                       for conditions in ({}, {"drawn_melody": "0:60 0.4:72"}, {"drawn_melody": [(0, 60), (0.4, 72)]}))
try:
    engine.generate(seconds=0.4, conditions={"drawn_melody": "upwards"})
    refused = ""
except sf.ConditionError as error:
    refused = str(error)
print(json.dumps({"distribution": info.distribution, "version": info.version, "error": info.error, "refused": refused,
                  "heard": not np.array_equal(plain.codes, drawn.codes),
                  "same": bool(np.array_equal(drawn.codes, again.codes))}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip installed the example into; built from a copy, so that the checkout stays clean."""
    import shutil

    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source)
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
                           "--no-index", "--target", str(target), str(source)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def _run(arguments: list[str], path: Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment,
                          cwd=folder)


@pytest.mark.slow
def test_it_is_found_and_heard(installed: Path) -> None:
    done = _run(["-c", USE], installed)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert (seen["distribution"], seen["version"], seen["error"]) == ("soundforge-drawn-melody", "0.1.0", "")
    assert seen["heard"] and seen["same"]
    assert "expected points of seconds and MIDI note" in seen["refused"]


@pytest.mark.slow
def test_its_own_tests_pass_against_what_was_installed(installed: Path) -> None:
    done = _run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(EXAMPLE / "tests")], installed)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_it_is_used_over_osc_in_a_real_server(installed: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, environment={"PYTHONPATH": str(installed)})
    try:
        server.wait_until_ready()
        server.set("param/autoplay", 0)
        server.set("param/seed", 3)
        plain = server.made("lead", 0.4)
        server.set("condition/drawn_melody", "0:60 0.4:72")
        server.set("param/guidance/drawn_melody", 2.0)
        drawn = server.made("lead", 0.4)
        assert drawn.request.conditions == {"drawn_melody": "0:60 0.4:72"}
        assert drawn.request.guidance["drawn_melody"] == 2.0 and not np.array_equal(drawn.codes, plain.codes)
        server.set("condition/drawn_melody", "upwards")
        assert "expected points of seconds and MIDI note" in server.failed()
        address, values = server.set("condition/drawn_melodies", "0:60")
        assert address == "/soundforge/error" and "drawn_melody" in values[1]
    finally:
        server.close()
