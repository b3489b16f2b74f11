"""`soundforge serve` as a process of its own, driven by other people's OSC programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from osc_clients import Heard, OscDump, free_udp_port, oscsend

LOOP = Path(__file__).resolve().parents[2] / "examples" / "loops" / "garzul_120bpm.flac"


def serve_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "soundforge.cli", "serve", *map(str, arguments)]


class Served:
    """A running server with a subscribed `oscdump`. A context manager.

    Args:
        folder: for library, log and what it prints.
        arguments: flags of `serve`; port, library and log are added.
        environment: of the process.
        wait: seconds to wait until the model is ready; 0 = do not wait.
    """

    def __init__(self, folder: Path, *arguments: object, environment: Mapping[str, str] | None = None,
                 wait: float = 90.0) -> None:
        self.port = free_udp_port()
        self.folder = folder
        self.library = folder / "library"
        self._arguments = [*arguments, "--osc-port", self.port, "--library", self.library, "--log", folder / "log.txt"]
        self._environment = {**(environment or os.environ), "SOUNDFORGE_CONFIG": str(folder / "settings.toml"),
                             "OMP_NUM_THREADS": "1"}
        self._wait = wait
        self.seconds_to_pong = self.seconds_to_ready = 0.0

    def __enter__(self) -> Served:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "settings.toml").touch()
        self.dump = OscDump().__enter__()
        self.screen = self.folder / "screen.txt"
        began = time.monotonic()
        with self.screen.open("wb") as screen:
            self.process = subprocess.Popen(serve_command(*self._arguments), stdout=screen, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL, env=self._environment)
        try:
            self._subscribe(began)
            if self._wait:
                self._wait_until_ready(began)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _subscribe(self, began: float) -> None:
        while time.monotonic() - began < 60:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.printed()}")
            self.send("/soundforge/subscribe", "i", self.dump.port)
            self.send("/soundforge/ping", "i", 1)
            try:
                self.dump.wait_for("/soundforge/pong", seconds=0.1)
            except AssertionError:
                continue
            self.seconds_to_pong = time.monotonic() - began
            return
        raise AssertionError(f"serve does not answer:\n{self.printed()}")

    def _wait_until_ready(self, began: float) -> None:
        while time.monotonic() - began < self._wait:
            state = self.status().arguments[0]
            if state not in ("loading", "error"):
                self.seconds_to_ready = time.monotonic() - began
                return
            time.sleep(0.1)
        raise AssertionError(f"the model is not ready:\n{self.printed()}\n{self.log()}")

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self.dump.__exit__()

    def send(self, address: str, types: str = "", *arguments: object) -> None:
        oscsend(self.port, address, types, *arguments)

    def ask(self, address: str, types: str = "", *arguments: object, reply: str = "", seconds: float = 10.0) -> Heard:
        """Send, and give the reply (to `reply`, else the same address)."""
        self.dump.clear()
        self.send(address, types, *arguments)
        return self.dump.wait_for(reply or address, seconds=seconds)

    def status(self) -> Heard:
        return self.ask("/soundforge/status")

    def printed(self) -> str:
        return self.screen.read_text(errors="replace")[-3000:]

    def log(self) -> str:
        log = self.folder / "log.txt"
        return log.read_text(errors="replace")[-5000:] if log.exists() else ""
