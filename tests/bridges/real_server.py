"""`soundforge serve` on the offline device with the starter model, a process of its own, and a client of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from osc_peer import Client
from serve_process import OFFLINE, ServeProcess


class RealServer(ServeProcess):
    """A server that is ready; `client` speaks to it."""

    client: Client


@contextlib.contextmanager
def real_server(folder: Path, *arguments: object, states: Collection[str] = ("ready",)) -> Iterator[RealServer]:
    """Start, wait until its state is one of `states`, and end with Ctrl-C; `arguments` are further flags of `serve`."""
    server = RealServer(folder, *OFFLINE, *arguments)
    server.client = Client(server.port)
    try:
        server.wait_until(lambda: server.client.state() in states, "the model is not ready")
        yield server
    finally:
        server.client.close()
        server.end()
