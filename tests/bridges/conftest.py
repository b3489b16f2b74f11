"""Fixtures of the bridges' tests; its place here also makes the helpers beside it importable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from osc_peer import Client, Running, running
from session_double import MemorySession


@pytest.fixture
def session() -> MemorySession:
    return MemorySession()


@pytest.fixture
def server(session: MemorySession) -> Iterator[Running]:
    with running(session) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Client:
    return server.client()
