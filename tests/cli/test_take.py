"""`soundforge take` and the library's side of `soundforge clip`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from soundforge import Clip, Waveform
from soundforge.library import Library
from soundforge.wav import write_wave

RATE = 22_050


def wave(seconds: float = 1.0) -> Waveform:
    return Waveform(np.full((2, int(seconds * RATE)), 0.25, np.float32), RATE)


def test_files_become_takes_named_by_file(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    write_wave(wave(), tmp_path / "My drums (take 3).wav", bpm=98.0)
    soundfile.write(tmp_path / "hum.flac", wave().samples.T, RATE)
    told = run("take", "import", tmp_path / "My drums (take 3).wav", tmp_path / "hum.flac", "--library", folder)
    assert told.status == 0 and "take My-drums-take-3: 1.00 s, 22050 Hz, 2 ch, 98 bpm" in told.out
    assert run("take", "import", tmp_path / "hum.flac", "--library", folder, "--bpm", 90).status == 0
    library = Library(folder)
    assert [(e.id, e.bpm) for e in library.list("take")] == [("My-drums-take-3", 98.0), ("hum", 0.0), ("hum-2", 90.0)]
    take = library.load_take("hum-2")
    assert take.source == "hum.flac" and take.waveform.samples[1, 7] == 0.25
    listed = json.loads(run("take", "list", "--json", "--library", folder).out)
    assert [item["id"] for item in listed] == ["My-drums-take-3", "hum", "hum-2"] and listed[0]["bpm"] == 98.0
    assert "3 takes; the library" in run("take", "list", "--library", folder).out
    assert "deleted take hum" in run("take", "delete", "hum", "--library", folder).out
    assert not (folder / "takes" / "hum.wav").exists()


@pytest.mark.parametrize(("line", "said"), [
    ("{0}/none.wav", "none.wav"), ("{0}/a.wav --bpm 5", "--bpm came as 5, expected 20 to 999"),
    ("{0}/a.wav {0}/a.wav --name x", "--name came with 2 files"), ("{0}/a.wav --name ../x", "paths are never taken"),
    ("{0}/empty.wav", "holds no samples"), ("{0}/settings.toml", "expected a sound file"),
    ("{0}/a.wav --name there", "take 'there' exists")])
def test_bad_input_is_one_line(run: Any, tmp_path: Path, line: str, said: str) -> None:
    folder = tmp_path / "library"
    write_wave(wave(), tmp_path / "a.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
    assert run("take", "import", tmp_path / "a.wav", "--name", "there", "--library", folder).status == 0
    told = run("take", "import", *line.format(tmp_path).split(), "--library", folder)
    assert told.status in (1, 2) and said in told.err and told.err.count("\n") == 1


def test_a_file_whose_name_says_nothing_gets_a_number(run: Any, tmp_path: Path) -> None:
    write_wave(wave(), tmp_path / "тест.wav")
    assert "take take-0001: 1.00 s" in run("take", "import", tmp_path / "тест.wav", "--library", tmp_path / "l").out


def test_clips_are_listed_and_deleted(run: Any, tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    library.save_clip(Clip(wave().samples, RATE, bpm=120.0), "loop")
    assert "loop" in run("clip", "list", "--library", tmp_path / "library").out
    told = run("clip", "delete", "loop", "nope", "--library", tmp_path / "library")
    assert told.status == 1 and "clip came as 'nope', which is not in the library" in told.err
    assert library.info("clip", "loop").path.exists(), "nothing is deleted when one name is wrong"
    assert run("clip", "delete", "loop", "--library", tmp_path / "library").status == 0
    assert not library.info("clip", "loop").path.exists()
