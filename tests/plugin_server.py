"""`soundforge serve` on the offline device, for tests of plugins: driven over OSC, one job after the other."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundforge as sf
from soundforge.wav import read_clip

sys.path.insert(0, str(Path(__file__).resolve().parent / "bridges"))

from osc_peer import Client, Heard
from serve_process import ServeProcess


class Server(ServeProcess):
    """The process and a client.

    Args:
        folder: for everything that it writes.
        arguments: further flags of `serve`.
        environment: further variables.
    """

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, "--offline-device", *arguments, environment={**os.environ, **(environment or {})})
        self.client = Client(self.port)
        self.names = 0

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.client.state() == "ready", "the model is not ready")

    def set(self, name: str, value: Any) -> Heard:
        self.client.drain()
        return self.client.ask(f"/soundforge/{name}", value)

    def line(self) -> str:
        """What stands on its screen, in one line."""
        return " ".join(self.screen.read_text(errors="replace").split())

    def start(self, text: str = "a b", seconds: float = 0.4) -> str:
        self.names += 1
        job = f"j{self.names}"
        self.client.send("/soundforge/generate", text, seconds, job)
        return job

    def ended(self, job: str, seconds: float = 90.0) -> Heard:
        """The job's last reply: done, error or cancelled."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                address, values = self.client.receive(1.0)
            except TimeoutError:
                continue
            if address.rpartition("/")[2] in ("done", "error", "cancelled") and values[:1] == (job,):
                return address, values
        raise AssertionError(f"{job} did not end:\n{self.printed()}")

    def made(self, text: str = "a b", seconds: float = 0.4) -> sf.Clip:
        address, values = self.ended(self.start(text, seconds))
        assert address == "/soundforge/job/done", values
        return read_clip(Path(values[3]))

    def failed(self) -> str:
        address, values = self.ended(self.start())
        assert address == "/soundforge/job/error", values
        return str(values[1])

    def close(self) -> None:
        self.end()
        self.client.close()
