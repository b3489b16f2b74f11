"""`soundforge serve` in a process of its own, for tests and benchmarks: started, asked until it is ready, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOP = Path(__file__).resolve().parents[1] / "examples" / "loops" / "garzul_120bpm.flac"
OFFLINE = ("--offline-device", "--offline-input", LOOP)
END_SECONDS = 20.0


def free_udp_port() -> int:
    """A UDP port that nobody holds now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def serve_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "soundforge.cli", "serve", *map(str, arguments)]


class ServeProcess:
    """The process; everything that it writes stands in one folder, its settings (none) as well.

    Args:
        folder: for library, log and screen; made when it is missing.
        arguments: flags of `serve`; port, library and log are added.
        environment: of the process, in place of ours.
    """

    command: Sequence[str] = serve_command()

    def __init__(self, folder: Path, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.library, self.screen = folder, folder / "library", folder / "screen.txt"
        self.port = free_udp_port()
        (folder / "settings.toml").touch()
        variables = {**(environment or os.environ), "SOUNDFORGE_CONFIG": str(folder / "settings.toml"),
                     "OMP_NUM_THREADS": "1"}
        line = [*self.command, *map(str, (*arguments, "--osc-port", self.port, "--library", self.library, "--log",
                                          folder / "log.txt"))]
        self.began = time.monotonic()
        with self.screen.open("wb") as screen:
            self.process = subprocess.Popen(line, stdout=screen, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            env=variables)

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 120.0) -> float:
        """Ask for something until it is true; seconds since the start of the process. Fails when the process ends."""
        while not ready():
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.printed()}")
            if time.monotonic() - self.began > seconds:
                raise AssertionError(f"{what}, after {seconds:g} s:\n{self.printed()}\n{self.log()}")
            time.sleep(0.02)
        return time.monotonic() - self.began

    def printed(self) -> str:
        """The end of what stands on its screen."""
        return self.screen.read_text(errors="replace")[-3000:]

    def log(self) -> str:
        """The end of its log."""
        log = self.folder / "log.txt"
        return log.read_text(errors="replace")[-5000:] if log.exists() else ""

    def size(self) -> tuple[int, int]:
        """Resident bytes and threads of the control process; zeros where the system does not tell in this way."""
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0, 0
        found = dict(line.split(":", 1) for line in text.splitlines())
        return 1024 * int(found["VmRSS"].split()[0]), int(found["Threads"])

    def cpu_seconds(self) -> float:
        """What the control process has computed so far, which a busy machine does not change; 0 where /proc is not."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, how: signal.Signals = signal.SIGINT) -> float:
        """Ctrl-C, and the seconds until it was gone; killed when it does not end. Safe to call twice."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        return time.monotonic() - began
