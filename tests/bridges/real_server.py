"""`soundforge serve` on the offline device with the starter model, a process of its own, and a client of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osc_peer import Client

LOOP = Path(__file__).resolve().parents[2] / "examples" / "loops" / "garzul_120bpm.flac"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@dataclass
class RealServer:
    """A server that is ready; `client` speaks to it, `folder` holds its library, its log and what it printed."""

    process: subprocess.Popen[bytes]
    port: int
    client: Client
    folder: Path

    def size(self) -> tuple[int, int]:
        """Resident bytes and threads of the control process; zeros where the system does not tell in this way."""
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0, 0
        found = dict(line.split(":", 1) for line in text.splitlines())
        return 1024 * int(found["VmRSS"].split()[0]), int(found["Threads"])


@contextlib.contextmanager
def real_server(folder: Path, *arguments: object) -> Iterator[RealServer]:
    """Start, wait until the model is ready, and end with Ctrl-C; `arguments` are further flags of `serve`."""
    port, screen = free_port(), folder / "screen.txt"
    (folder / "settings.toml").touch()
    command = [sys.executable, "-m", "soundforge.cli", "serve", "--offline-device", "--offline-input", LOOP,
               "--osc-port", port, "--library", folder / "library", "--log", folder / "log.txt", *arguments]
    with screen.open("wb") as said:
        process = subprocess.Popen([str(word) for word in command], stdout=said, stderr=said,
                                   stdin=subprocess.DEVNULL, env={
                                       **os.environ, "SOUNDFORGE_CONFIG": str(folder / "settings.toml"),
                                       "OMP_NUM_THREADS": "1"})
    client = Client(port)
    try:
        end, state = time.monotonic() + 120, ""
        while state != "ready":
            assert process.poll() is None and time.monotonic() < end, screen.read_text()
            client.send("/soundforge/status")
            with contextlib.suppress(TimeoutError):
                state = str(client.until("/soundforge/status", 0.5)[1][0])
        yield RealServer(process, port, client, folder)
    finally:
        client.close()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        finally:
            process.kill()
