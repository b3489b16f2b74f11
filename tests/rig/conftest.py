"""The rig: a real JACK server for the session, skipped loudly without its programs, failing in CI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import need_rig

sys.path.insert(0, str(Path(__file__).parent))

from jack_server import JackServer


@pytest.fixture(scope="session")
def rig_programs() -> None:
    """Skips, or in CI fails, when a program of the rig is missing."""
    need_rig()


@pytest.fixture(scope="session")
def jack(rig_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JackServer]:
    """A JACK server at 48 kHz with 256 samples a period, for the whole session."""
    server = JackServer(tmp_path_factory.mktemp("jack"))
    server.start()
    yield server
    server.stop()
