"""The UDP socket and the one thread that empties it.

The thread does three things: read a datagram, look whether its sender is allowed, and put it into the fair queue. A
packet never gets a thread of its own, so a flood costs neither threads nor memory; what finds no room is counted.

Threading: `open`, `close`, `send` and the counters belong to the event loop; `_run` is the thread.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import select
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from soundforge import DeviceError
from soundforge_bridges.osc.fair_queue import Address, FairQueue
from soundforge_bridges.osc.peers import Access

RECEIVE_BUFFER_BYTES = 4 * 2**20
_WAKE_SECONDS = 0.2
_SO_MEMINFO, _DROPS_INDEX, _MEMINFO_INTS = 55, 8, 9
"""Linux (sock_diag): a socket's counters, among them datagrams that found its buffer full."""


class Receiver:
    """One bound socket.

    Args:
        queue: where packets go.
        access: whose packets are read.
        wake: called on the receive thread after a packet was put into an empty queue.
    """

    def __init__(self, queue: FairQueue, access: Access, wake: Callable[[], None]) -> None:
        self._queue, self._access, self._wake = queue, access, wake
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self.port = 0
        self.refused = 0
        """Packets of hosts that are not allowed."""
        self.unsent = 0
        """Replies that were not sent: the system would not (unreachable, buffer full, impossible port), or to us."""

    def open(self, host: str, port: int) -> None:
        """Bind and start the thread.

        Raises:
            DeviceError: the port is busy or the address is not this machine's; says what to do.
        """
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM,
                                                          flags=socket.AI_PASSIVE)[0]
            opened = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise DeviceError(f"OSC cannot listen on {host!r} ({error}); give an address of this machine "
                              "with --osc-host, such as 127.0.0.1 or 0.0.0.0") from error
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            opened.bind(address)
        except OSError as error:
            opened.close()
            raise DeviceError(_cannot_bind(host, port, error)) from error
        opened.setblocking(False)
        self._socket, self.port = opened, int(opened.getsockname()[1])
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="soundforge-osc", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and free the port; waits for at most the thread's next look (0.2 s). Safe to call twice."""
        self._closing.set()
        if self._thread is not None and self._socket is not None:
            with contextlib.suppress(OSError):  # a nudge to the thread; without it its own look comes soon enough
                self._socket.sendto(b"", self._socket.getsockname())
            self._thread.join()
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, datagram: bytes, address: Address) -> None:
        """Send without waiting; what the system refuses is counted, for nobody could be told.

        Nothing is sent to this very socket, whoever asked for it by a subscription, a URL or a forged sender: a
        parameter's answer is a command as well, and would go round for ever.
        """
        if self._socket is None:
            return
        if address[1] == self.port and _is_here(address[0]):
            self.unsent += 1
            return
        try:
            self._socket.sendto(datagram, address)
        except (OSError, OverflowError):
            self.unsent += 1

    def kernel_drops(self) -> int:
        """Datagrams that found the system's buffer full, where the system tells (Linux), else 0."""
        if self._socket is None or sys.platform != "linux":
            return 0
        try:
            raw = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * _MEMINFO_INTS)
        except OSError:
            return 0
        return int.from_bytes(raw[4 * _DROPS_INDEX:4 * _MEMINFO_INTS], sys.byteorder)

    def _run(self, opened: socket.socket) -> None:
        buffer = bytearray(65_536)
        view = memoryview(buffer)
        while not self._closing.is_set():
            select.select([opened], [], [], _WAKE_SECONDS)
            try:
                while not self._closing.is_set():
                    # One system call a packet: under a flood a question before each would halve what we can read.
                    size, sender = opened.recvfrom_into(buffer)
                    self._take(view[:size], sender)
            except (BlockingIOError, ConnectionResetError):
                continue  # empty; or Windows reports on the receiving side that an earlier reply found nobody
            except OSError:
                self._closing.wait(_WAKE_SECONDS)  # out of buffers or the network is down: try again, without spinning

    def _take(self, data: memoryview, sender: Any) -> None:
        if not self._access.allows(sender[0]):
            self.refused += 1
        elif self._queue.put(data, (sender[0], sender[1])) == 1:
            self._wake()


@functools.lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    """Whether an address (no name) is one of this machine's: only those can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((host, 0))
        except OSError:
            return False
    return True


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE or getattr(error, "winerror", 0) == 10048:
        return (f"the OSC port {port} on {host} is busy, perhaps with another SoundForge; "
                "choose another one with --osc-port, such as --osc-port 9131, or 0 for any free one")
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission to listen on port {port} ({error.strerror}); choose one above 1023 with --osc-port"
    return (f"OSC cannot listen on {host}:{port} ({error.strerror or error}); give an address of this machine "
            "with --osc-host, such as 127.0.0.1 or 0.0.0.0")
