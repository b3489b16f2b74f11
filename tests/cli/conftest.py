"""Running commands as a user does, in this process, with a log and settings of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("render", "hi", "-o", path)` gives an `Outcome`."""
    from soundforge.cli import main

    settings = tmp_path / "settings.toml"
    settings.touch()
    monkeypatch.setenv("SOUNDFORGE_CONFIG", str(settings))
    monkeypatch.setenv("NO_COLOR", "1")
    log = tmp_path / "log.txt"

    def run_command(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as left:
            main(["--log", str(log), *map(str, arguments)])
        capture = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, capture.out, capture.err)

    return run_command
