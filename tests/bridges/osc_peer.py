"""A plain UDP client for tests: sends messages of python-osc, reads what comes back with our reader's opposite."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from soundforge_bridges.osc.server import OscBridge

Heard = tuple[str, tuple[Any, ...]]


def build(address: str, *values: Any) -> bytes:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    datagram: bytes = builder.build().dgram
    return datagram


class Client:
    """One socket of 127.0.0.1. Blocking: call it from another thread than the server's loop."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.server = ("127.0.0.1", port)
        self.port: int = self.socket.getsockname()[1]

    def send(self, address: str, *values: Any) -> None:
        self.send_raw(build(address, *values))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendto(data, self.server)

    def receive(self, seconds: float = 2.0) -> Heard:
        """The next message; raises TimeoutError."""
        self.socket.settimeout(seconds)
        message = OscMessage(self.socket.recv(65_536))
        return message.address, tuple(message.params)

    def ask(self, address: str, *values: Any) -> Heard:
        self.send(address, *values)
        return self.receive()

    def nothing(self, seconds: float = 0.15) -> bool:
        """True when nothing comes for a while."""
        try:
            self.receive(seconds)
        except TimeoutError:
            return True
        return False

    def until(self, address: str, seconds: float = 2.0) -> Heard:
        """The next message at an address, others skipped; raises TimeoutError."""
        end = time.monotonic() + seconds
        while True:
            heard = self.receive(max(0.001, end - time.monotonic()))
            if heard[0] == address:
                return heard

    def state(self) -> str:
        """The state that the server tells, empty while it does not answer."""
        self.send("/soundforge/status")
        with contextlib.suppress(TimeoutError, ConnectionError):  # Windows tells so when nobody listens yet
            return str(self.until("/soundforge/status", 0.5)[1][0])
        return ""

    def drain(self, quiet_seconds: float = 0.1) -> list[Heard]:
        """What has come, and comes until nothing did for so long."""
        heard = []
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(self.receive(quiet_seconds))
        return heard

    def pings(self, count: int, wait: float) -> list[float]:
        """Seconds until a ping was answered, tried three times with 50 ms each; infinite when it never was.

        Args:
            wait: seconds from one ping to the next.
        """
        times = []
        for number in range(count):
            start, answered = time.perf_counter(), False
            for _ in range(3):
                began = time.perf_counter()
                self.send("/soundforge/ping", number)
                try:
                    while self.until("/soundforge/pong", 0.05)[1] != (number,):
                        pass
                except TimeoutError:
                    continue
                times.append(time.perf_counter() - began)
                answered = True
                break
            if not answered:
                times.append(float("inf"))
            time.sleep(max(0.0, wait - (time.perf_counter() - start)))
        return times

    def close(self) -> None:
        self.socket.close()


class Running:
    """A bridge on an event loop of its own thread, as the control process runs it."""

    def __init__(self, session: Any, **options: Any) -> None:
        self.session = session
        self.bridge = OscBridge(session, **{"port": 0, **options})
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        try:
            self.run(self.bridge.start())
        except BaseException:
            self.close_loop()
            raise
        self.clients: list[Client] = []

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def call(self, function: Any, *arguments: Any) -> Any:
        """Call something on the loop and give its result."""
        async def inside() -> Any:
            return function(*arguments)

        return self.run(inside())

    def client(self) -> Client:
        self.clients.append(Client(self.bridge.port))
        return self.clients[-1]

    def close(self) -> None:
        self.run(self.bridge.stop())
        self.run(self.bridge.stop())  # safe to call twice
        self.close_loop()
        for client in self.clients:
            client.close()

    def close_loop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextlib.contextmanager
def running(session: Any, **options: Any) -> Iterator[Running]:
    server = Running(session, **options)
    try:
        yield server
    finally:
        server.close()


