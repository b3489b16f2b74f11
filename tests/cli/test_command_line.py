"""The command line as a newcomer meets it: help, one-line errors, exit status, log, JSON."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundforge.audio import Waveform
from soundforge.cli import hoist, main
from soundforge.cli.output import one_line
from soundforge.clip import Clip
from soundforge.errors import CheckpointError
from soundforge.requests import GenerateRequest

COMMANDS = ("render", "devices", "plugins", "models", "doctor", "pull", "bench", "clip")


def test_help_names_every_command(run: Any) -> None:
    told = run("--help")
    assert told.status == 0
    assert all(f" {name} " in told.out for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "clip info"])
def test_every_command_has_help(run: Any, command: str) -> None:
    told = run(*command.split(), "--help")
    assert told.status == 0
    assert "Usage: soundforge" in told.out


def test_no_command_shows_the_help_and_is_wrong_usage(run: Any) -> None:
    assert run().status == 2


@pytest.mark.parametrize(("line", "said"), [
    ("rendr", "no such command 'rendr'"),
    ("render hi", "missing option '--output'"),
    ("render hi --sedonds 3 -o {}/a.wav", "no such option: --sedonds"),
    ("render -o {}/a.wav", "TEXT is missing"),
    ("render hi -o {}/a.mp3", "expected a name that ends in .wav"),
    ("render hi -o {}", "expected a name that ends in .wav"),
    ("render hi -o {}/a.wav --seconds 3 --bars 2 --bpm 100", "--seconds and --bars were both given"),
    ("render hi -o {}/a.wav --bars 2", "--bars was given without a tempo; add --bpm"),
    ("render hi -o {}/a.wav --seconds 0", "--seconds came as 0, expected more than 0"),
    ("render hi -o {}/a.wav --seconds nan", "--seconds came as nan"),
    ("render hi -o {}/a.wav --seconds 1e9", "seconds came as 1e+09, expected 0 to 3600"),
    ("render hi -o {}/a.wav --temperature -1", "temperature came as -1, expected 0 to 100"),
    ("render hi -o {}/a.wav --bpm 4", "bpm came as 4, expected 20 to 999"),
    ("render hi -o {}/a.wav --bits 12", "--bits came as 12, expected 32"),
    ("render hi -o {}/a.wav --only-new", "--only-new goes with --continue"),
    ("render hi -o {}/a.wav --continue {}/none.wav", "none.wav', which does not exist; give a sound file"),
    ("render hi -o {}/a.wav --continue {}/settings.toml", "--continue: cannot read"),
    ("render hi -o {}/a.wav --melody {}/none.wav", "--melody came as"),
    ("render hi -o {}/a.wav --condition chroma", "--condition came as 'chroma', expected NAME=VALUE"),
    ("render hi -o {}/a.wav --condition style={}/none.flac", "--condition style came as"),
    ("render --again {}/none.wav -o {}/a.wav", "none.wav"),
    ("clip info {}/none.wav", "none.wav"),
    ("plugins --plugins-dir {}/none", "which is no folder"),
    ("doctor --osc-port 99999", "osc_port came as 99999"),
    ("doctor --clocks 0.5", "seconds came as 0.5, expected 1 to 3600"),
])
def test_wrong_usage_is_one_line_and_status_two(run: Any, tmp_path: Path, line: str, said: str) -> None:
    told = run(*line.replace("{}", str(tmp_path)).split())
    assert told.status == 2
    assert said in told.err
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    assert not (tmp_path / "a.wav").exists()


def test_a_model_that_is_not_there_is_a_failure_of_one_line(run: Any, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = run("pull", "facebook/musicgen-small")
    assert told.status == 1
    assert told.err.startswith("soundforge: facebook/musicgen-small is not on this machine")
    assert "CheckpointError" not in told.err
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="is not on this machine"):
        main(["--log", str(tmp_path / "log.txt"), "pull", "facebook/musicgen-small", "--debug"])


def test_debug_and_log_may_stand_after_the_command() -> None:
    assert hoist(["render", "hi", "--debug", "--log", "x", "--seed", "3"]) == \
        ["--debug", "--log", "x", "render", "hi", "--seed", "3"]
    assert hoist(["render", "--log=x", "--", "--debug"]) == ["--log=x", "render", "--", "--debug"]
    assert hoist(["serve", "--log"]) == ["--log", "serve"]


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as left:
        main(["--log", str(tmp_path / "file" / "log.txt"), "devices"])
    assert left.value.code == 2
    assert "cannot write the log file" in capsys.readouterr().err


def test_an_error_that_is_not_ours_is_named_with_its_type() -> None:
    assert one_line(ZeroDivisionError("division\nby zero")).startswith("unexpected ZeroDivisionError: division by zero")
    assert "out of memory" in one_line(MemoryError())
    assert one_line(PermissionError(13, "Permission denied", "x")) == "Permission denied: x"


@pytest.mark.parametrize("command", ["devices", "plugins", "models"])
def test_listings_speak_json(run: Any, command: str) -> None:
    told = run(command, "--json")
    assert told.status == 0
    assert json.loads(told.out)


def test_plugins_lists_hooks_distribution_and_version(run: Any) -> None:
    told = run("plugins")
    line = next(line for line in told.out.splitlines() if line.startswith("text "))
    assert "soundforge 0.1.0" in line
    assert "register_conditioners" in line


def test_a_failed_plugin_is_listed_with_its_reason_and_the_rest_works(run: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere")
    told = run("plugins", "--plugins-dir", tmp_path)
    assert told.status == 0
    assert "no_such_module_anywhere" in " ".join(told.out.split())
    assert "conditioner text" in told.out


def test_models_lists_the_embedded_one_first_and_licences(run: Any) -> None:
    listed = json.loads(run("models", "--json").out)
    assert (listed[0]["name"], listed[0]["place"]) == ("starter", "embedded")
    small = next(row for row in listed if row["name"] == "facebook/musicgen-small")
    assert small["licence"] == "CC-BY-NC-4.0"
    assert small["commercial_use"] is False


def test_doctor_finds_a_busy_port_and_an_unwritable_library(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        told = run("doctor", "--json", "--osc-port", port, "--library", tmp_path / "file" / "library")
    checks = {check["name"]: check for check in json.loads(told.out)}
    assert told.status == 1
    assert checks["OSC port"]["level"] == "bad"
    assert "--osc-port" in checks["OSC port"]["todo"]
    assert checks["library"]["level"] == "bad"
    assert checks["torch"]["level"] == "good"
    assert {"Python", "sound card", "MIDI", "model", "plugins", "clock", "settings"} <= set(checks)


def test_without_portaudio_the_package_to_install_is_named(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SOUNDFORGE_CONFIG": ""}
    done = subprocess.run([sys.executable, "-m", "soundforge.cli", "devices"], capture_output=True, text=True,
                          timeout=60, check=False, env=environment)
    assert done.returncode == 0
    assert "PortAudio is missing" in done.stdout
    assert "libportaudio2" in done.stdout
    assert "--offline-device" in done.stdout


def test_clip_info_shows_what_made_a_clip(run: Any, tmp_path: Path) -> None:
    request = GenerateRequest(text="dub [techno]", seconds=0.5, bpm=97.5, tags={"take": "t1"})
    samples = Waveform(np.zeros((1, 16_000), np.float32), 32_000).samples
    codes = np.arange(40, dtype=np.int64).reshape(4, 10)
    path = Clip(samples, 32_000, request, seed=42, codes=codes, model="starter", bpm=97.5).save(tmp_path / "c.wav")
    told = run("clip", "info", path)
    assert told.status == 0
    for part in ("dub [techno]", "97.5 bpm", "42", "starter", "4 codebooks, 10 frames", "0.500 s, 32000 Hz"):
        assert part in told.out
    record = json.loads(run("clip", "info", path, "--json").out)
    assert (record["seed"], record["request"]["text"], record["codes"]) == (42, "dub [techno]", [4, 10])


def test_clip_info_of_a_foreign_wav_says_so(run: Any, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "plain.wav", np.zeros(100), 8_000)
    told = run("clip", "info", tmp_path / "plain.wav")
    assert told.status == 0
    assert "SoundForge did not write this file" in told.out


def test_the_installed_command_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "soundforge.cli", "--version"], capture_output=True, text=True,
                          timeout=60, check=True)
    assert done.stdout == "soundforge 0.1.0\n"
