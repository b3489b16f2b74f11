"""`soundforge plugin`: what `new` writes passes its own tests at once; `check` and `bench` say what they found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from soundforge.cli import main
from soundforge.cli.plugin_templates import KINDS, files_of


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    return int(left.value.code or 0)


LIGHT = ("clip-processor", "bridge", "listener")  # the others import torch in interpreters of their own


@pytest.mark.parametrize("kind", [kind if kind in LIGHT else pytest.param(kind, marks=pytest.mark.slow)
                                  for kind in KINDS])
def test_a_new_plugin_passes_its_own_tests_and_the_check(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"soundforge-sample-{kind}"
    assert run("plugin", "new", name, "--kind", kind) == 0
    folder = tmp_path / name
    assert (folder / ".github" / "workflows" / "test.yml").is_file()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(folder)
    capsys.readouterr()
    assert run("plugin", "check", name.replace("-", "_"), "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert results and "failed" not in {result["state"] for result in results}


def test_new_refuses_what_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    for words, said in ((["full"], "is not empty"), (["Big Name"], "expected a-z"), (["../x"], "expected a-z"),
                        (["x", "--kind", "synth"], "--kind"), (["soundforge"], "exists already")):
        assert run("plugin", "new", *words) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_check_names_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loud_plugin.py").write_text(
        "import soundforge as sf\nfrom soundforge.interfaces import ClipProcessorDescriptor\nSOUNDFORGE_CONTRACT = 1\n"
        "@sf.hookimpl\ndef register_clip_processors(register):\n"
        "    register(ClipProcessorDescriptor('loud', lambda host, options: lambda wave: wave.samples, 'loud'))\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run("plugin", "check", "loud_plugin") == 1
    told = capsys.readouterr()
    assert "gave ndarray, expected a Waveform" in told.out.replace("\n", " ")
    assert "1 of 2 checks of loud_plugin failed" in told.err
    assert run("plugin", "check", str(tmp_path / "loud_plugin.py")) == 1, "its file will do"
    assert "1 of 2 checks" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-project").mkdir()
    for name in ("no_such_plugin_at_all", "a-project", "./a-project"):
        assert run("plugin", "check", name) == 2
        assert "install it first" in capsys.readouterr().err


def test_users_say_a_short_name_unless_it_is_taken() -> None:
    for taken, said in (((), "tides"), (("tides",), "soundforge_tides")):
        files = files_of("soundforge-tides", "conditioner", taken)
        assert f'ConditionerDescriptor("{said}"' in files["soundforge_tides/__init__.py"]
        assert f"--condition {said}=A" in files["README.md"]


@pytest.mark.slow
def test_check_and_bench_of_a_built_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugin", "check", "encodec") == 0
    assert "left" in capsys.readouterr().out
    assert run("plugin", "bench", "starter", "--seconds", "0.5", "--json") == 0
    measured = {row["measure"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert measured["latency: look-ahead of a stream"] == 0
    assert 0 < measured["decode a second of audio"] < 60_000
    assert measured["memory held"] > 5


def test_bench_of_conditioners_and_processors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugin", "bench", "clip_tools", "--seconds", "2.5", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["part"] for row in rows} >= {f"clip processor {name}" for name in ("loudness", "bars", "resample")}
    assert {row["measure"] for row in rows} >= {"a second of stereo audio at 44.1 kHz", "memory held", "build",
                                               "latency: the whole clip"}
