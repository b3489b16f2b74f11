"""`soundforge serve` on the offline device, in a process of its own, for tests of plugins: driven over OSC."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundforge as sf
from soundforge.wav import read_clip

sys.path.insert(0, str(Path(__file__).resolve().parent / "bridges"))

from osc_peer import Client, Heard


class Server:
    """The process and a client.

    Args:
        folder: for everything that it writes.
        arguments: further flags of `serve`.
        environment: further variables.
    """

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            trial.bind(("127.0.0.1", 0))
            port = int(trial.getsockname()[1])
        (folder / "settings.toml").touch()
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "SOUNDFORGE_CONFIG": str(folder / "settings.toml"),
                     **(environment or {})}
        self.screen = folder / "screen.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "soundforge.cli", "serve", "--offline-device", "--library", str(folder / "library"),
             "--log", str(folder / "log.txt"), "--osc-port", str(port), *arguments],
            stdout=self.screen.open("wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables)
        self.client = Client(port)
        self.names = 0

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.screen.read_text()
            self.client.send("/soundforge/status")
            try:
                address, values = self.client.receive(1.0)
            except (TimeoutError, ConnectionError):
                continue
            if address == "/soundforge/status" and values[0] == "ready":
                return
        raise AssertionError(self.screen.read_text())

    def set(self, name: str, value: Any) -> Heard:
        self.client.drain()
        return self.client.ask(f"/soundforge/{name}", value)

    def printed(self) -> str:
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
        raise AssertionError(f"{job} did not end:\n{self.screen.read_text()}")

    def made(self, text: str = "a b", seconds: float = 0.4) -> sf.Clip:
        address, values = self.ended(self.start(text, seconds))
        assert address == "/soundforge/job/done", values
        return read_clip(Path(values[3]))

    def failed(self) -> str:
        address, values = self.ended(self.start())
        assert address == "/soundforge/job/error", values
        return str(values[1])

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.client.close()
