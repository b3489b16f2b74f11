"""A small OSC client for SoundForge: one socket that sends commands and hears the answers.

    with OscClient(9130) as client:
        client.send("/soundforge/capture/bars", 4, "riff")
        take = client.wait("/soundforge/take", "riff")
        client.send("/soundforge/continue", "riff", 8.0, "mine")
        done = client.wait("/soundforge/job/done", "mine")
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

Arguments = tuple[Any, ...]


class OscClient:
    """Speaks to `soundforge serve` on this machine. Not thread-safe.

    Args:
        port: of the server.

    Attributes:
        on_message: is called with the address and arguments of every message that arrives, when it is set.
    """

    def __init__(self, port: int) -> None:
        self.server = ("127.0.0.1", port)
        self.on_message: Callable[[str, Arguments], None] | None = None
        self._kept: list[tuple[str, Arguments]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))

    def __enter__(self) -> OscClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message; ints go as `i`, floats as `f`, texts as `s`."""
        message = OscMessageBuilder(address)
        for argument in arguments:
            message.add_arg(argument)
        self._socket.sendto(message.build().dgram, self.server)

    def wait(self, address: str, *beginning: Any, seconds: float = 60.0, failed: str = "") -> Arguments:
        """The arguments of the first message to `address` that begin with `beginning`.

        Args:
            seconds: how long to wait.
            failed: an address whose arrival (with the same beginning) ends the wait.

        Raises:
            RuntimeError: an error came instead, or nothing in time.
        """
        end = time.monotonic() + seconds
        while True:
            for index, (name, arguments) in enumerate(self._kept):
                if name == address and arguments[:len(beginning)] == beginning:
                    del self._kept[index]
                    return arguments
                if name == "/soundforge/error" or (failed and name == failed
                                                   and arguments[:len(beginning)] == beginning):
                    del self._kept[index]
                    raise RuntimeError(f"{name} {' '.join(map(str, arguments))}")
            self._receive(end, address)

    def _receive(self, end: float, address: str) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise RuntimeError(f"no {address} came in time")
        self._socket.settimeout(left)
        try:
            message = OscMessage(self._socket.recvfrom(65536)[0])
        except TimeoutError:
            return
        except ConnectionError:  # Windows tells so when nobody listens on the server's port yet
            time.sleep(0.05)
            return
        arguments = tuple(message.params)
        self._kept.append((message.address, arguments))
        if self.on_message is not None:
            self.on_message(message.address, arguments)

    def wait_for_server(self, seconds: float = 90.0, stopped: Callable[[], bool] = lambda: False) -> float:
        """Ping until the server answers; seconds from the call to the first pong. `stopped` ends the wait early."""
        began = time.monotonic()
        while time.monotonic() - began < seconds and not stopped():
            self.send("/soundforge/ping")
            try:
                self.wait("/soundforge/pong", seconds=0.1)
            except RuntimeError:
                continue
            return time.monotonic() - began
        raise RuntimeError(f"soundforge serve does not answer on port {self.server[1]}")

    def wait_until_ready(self, seconds: float = 120.0) -> None:
        """Ask for the status until the model is loaded."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send("/soundforge/status")
            state = str(self.wait("/soundforge/status", seconds=5.0)[0])
            if state == "error":
                raise RuntimeError("the server is in the state error; see its log")
            if state != "loading":
                return
            time.sleep(0.2)
        raise RuntimeError("the model is still loading")
