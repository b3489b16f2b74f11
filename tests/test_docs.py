"""The documentation is true: its Python runs, its commands have the flags that are shown, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundforge.audio import Waveform
from soundforge.wav import write_wave

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def blocks(page: Path, language: str) -> Iterator[str]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def commands() -> list[tuple[str, str]]:
    """Each line that begins with `soundforge ` in a plain code block, with its page."""
    return [(page.name, line.split("  #")[0].strip()) for page in PAGES for block in blocks(page, "")
            for line in block.splitlines() if line.startswith("soundforge ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 8


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_commands_have_the_flags_that_are_shown(page: str, line: str, capsys: pytest.CaptureFixture[str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    from soundforge.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    words = shlex.split(line)[1:]
    name = words[:2] if words[0] in ("clip", "plugin", "take") else words[:1]
    with pytest.raises(SystemExit) as left:
        main([*name, "--help"])
    told = capsys.readouterr().out
    assert left.value.code == 0
    flags = [word.split("=")[0] for word in words if re.fullmatch(r"-{1,2}[a-z][a-z-]*(=.*)?", word)]
    assert not [flag for flag in flags if not re.search(rf"(?<!\S){re.escape(flag)}(?!\S)", told)]


def run_blocks(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """All Python of a page, one block after the other, in an empty folder with the recordings that it reads."""
    monkeypatch.chdir(tmp_path)
    hum = np.sin(np.arange(32_000) * 0.06, dtype=np.float32) * np.float32(0.3)
    write_wave(Waveform(hum, 32_000), tmp_path / "hum.wav")
    names: dict[str, Any] = {"__name__": "docs"}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page.name}, block {number + 1}", "exec"), names)
    return names


@pytest.mark.slow
def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = run_blocks(ROOT / "README.md", monkeypatch, tmp_path)
    assert (tmp_path / "demo.wav").is_file()
    assert names["more"].seconds == pytest.approx(4.0, abs=0.05)


@pytest.mark.slow
def test_the_python_of_the_python_page_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = run_blocks(ROOT / "docs" / "python.md", monkeypatch, tmp_path)
    assert names["new"].seconds == pytest.approx(2.0, abs=0.05)
    assert names["wave"].shape[:2] == (1, 1)
