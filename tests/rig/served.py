"""`soundforge serve` as a process of its own, driven by other people's OSC programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from osc_clients import Heard, OscDump, oscsend
from serve_process import ServeProcess


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
        self.folder, self._arguments, self._environment, self._wait = folder, arguments, environment, wait
        self.seconds_to_pong = self.seconds_to_ready = self.cpu_to_pong = 0.0

    def __enter__(self) -> Served:
        self.dump = OscDump().__enter__()
        self.serving = ServeProcess(self.folder, *self._arguments, environment=self._environment)
        self.process, self.library, self.port = self.serving.process, self.serving.library, self.serving.port
        self.printed, self.log = self.serving.printed, self.serving.log
        try:
            self.seconds_to_pong = self.serving.wait_until(self._subscribed, "serve does not answer", 60.0)
            self.cpu_to_pong = self.serving.cpu_seconds()
            if self._wait:
                self.seconds_to_ready = self.serving.wait_until(
                    lambda: self.status().arguments[0] not in ("loading", "error"), "the model is not ready",
                    self._wait)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _subscribed(self) -> bool:
        self.send("/soundforge/subscribe", "i", self.dump.port)
        self.send("/soundforge/ping", "i", 1)
        try:
            self.dump.wait_for("/soundforge/pong", seconds=0.1)
        except AssertionError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self.serving.end()
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
