"""The rig: a real JACK server for the session, skipped loudly without its programs, failing in CI."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from jack_server import APT_LINE, JackServer, missing_programs

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


@pytest.fixture(scope="session")
def rig_programs() -> None:
    """Skips, or in CI fails, when a program of the rig is missing."""
    missing = missing_programs()
    if missing:
        text = f"the rig needs {', '.join(missing)}; install with: {APT_LINE}"
        if IN_CI:
            pytest.fail(text, pytrace=False)
        warnings.warn(f"tests with the real audio server are SKIPPED: {text}", stacklevel=1)
        pytest.skip(text)


@pytest.fixture(scope="session")
def jack(rig_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JackServer]:
    """A JACK server at 48 kHz with 256 samples a period, for the whole session."""
    server = JackServer(tmp_path_factory.mktemp("jack"))
    server.start()
    yield server
    server.stop()
