"""A real audio server without a sound card: `jackd` with its dummy driver, one per test session.

It offers two PortAudio devices (host API JACK): `loopback`, which captures one period later what is played on it,
and `system`, with silent input and discarded output, whose ports are wired with `jack_connect`. Each server takes a
name that no other test run holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

MOST_SERVERS = 8
"""JACK's registry has so many places. One whose server was killed is only given to a server of the same name, so names
must be used again and again: a name per process would fill the registry for ever."""
RUN = "SFRIG_RUN"
"""In the environment of every client: the process whose server it is for."""


def free_name() -> tuple[str, IO[bytes]]:
    """A server name that nobody uses, and the lock that keeps it ours for as long as it is open."""
    for number in range(MOST_SERVERS):
        lock = (Path(tempfile.gettempdir()) / f"soundforge-rig-{number}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        name = f"sftest{number}"
        end_orphans(name)
        return name, lock
    raise RuntimeError(f"{MOST_SERVERS} JACK servers of tests run already, which is all that JACK takes")


def end_orphans(name: str) -> None:
    """End the server and the clients that a killed test run left behind: its lock is ours, so nobody uses them.

    A client that looks for a server now and then would come to the next one of that name, in the middle of a test.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            server = words[0] == b"jackd" and name.encode() in words
            if server or left_behind((folder / "environ").read_bytes().split(b"\0"), name):
                os.kill(int(folder.name), signal.SIGKILL)
            end = time.monotonic() + 3.0
            while server and folder.exists() and time.monotonic() < end:
                time.sleep(0.05)  # until init has reaped it; JACK refuses the name until then


def left_behind(environment: Sequence[bytes], name: str) -> bool:
    """Whether this is the environment of a client of a server, and the run that started it is over."""
    run = next((entry.partition(b"=")[2] for entry in environment if entry.startswith(RUN.encode() + b"=")), b"")
    return f"JACK_DEFAULT_SERVER={name}".encode() in environment and run.isdigit() \
        and not Path(f"/proc/{run.decode()}").exists()


class JackServer:
    """One jackd. `environment()` gives what its clients need.

    Args:
        folder: for its log and runtime files.
        rate: Hz; fixed for the life of the server, as JACK has it.
        period: samples of one cycle.
    """

    def __init__(self, folder: Path, *, rate: int = 48_000, period: int = 256) -> None:
        self.folder, self.rate, self.period = folder, rate, period
        self.name, self._lock = free_name()
        self.log = folder / "jackd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._bay: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """The environment in which clients find this server, and no other."""
        runtime = self.folder / "xdg"
        runtime.mkdir(mode=0o700, exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
        return {**inherited, RUN: str(os.getpid()), "JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1",
                "JACK_NO_AUDIO_RESERVATION": "1", "XDG_RUNTIME_DIR": str(runtime), "PA_ALSA_PLUGHW": "0"}

    def start(self) -> None:
        """Start and wait until it answers; real-time scheduling where it is allowed, else without."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for scheduling in (["-R", "-P", "10"], ["-r"], ["-r"]):
            with self.log.open("wb") as log:
                # -S: the server waits for its clients in each cycle, so that a late client makes the cycle late and
                # loses no samples. -L 2: the device "loopback" with two channels.
                self.process = subprocess.Popen(
                    ["jackd", *scheduling, "-S", "-t", "5000", "-n", self.name, "-L", "2", "-d", "dummy",
                     "-r", str(self.rate), "-p", str(self.period), "-C", "2", "-P", "2"],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment(), start_new_session=True)
            if self._wait_until_it_answers():
                self._bay = subprocess.Popen(
                    [sys.executable, str(Path(__file__).with_name("patchbay.py"))], env=self.environment(), bufsize=0,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(self.folder / "patchbay.log").open("wb"))
                assert self._bay.stdout is not None
                if self._bay.stdout.readline() == b'"ready"\n':
                    return
            self.stop()
        raise RuntimeError(f"jackd did not start: {self.log.read_text(errors='replace')[-2000:]}")

    def _wait_until_it_answers(self) -> bool:
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process is not None and self.process.poll() is None:
            if self.answers():
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """End it and remove what it leaves in shared memory; safe to call twice."""
        self._end_bay()
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
            self.process = None
        for pattern in (f"jack_sem.*_{self.name}_*", f"jack_{self.name}_*"):
            for left in Path("/dev/shm").glob(pattern):
                left.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL: the sound card vanishes."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    def freeze(self, seconds: float) -> None:
        """The sound card stands still for a while."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def answers(self) -> bool:
        """Whether a client that comes now is let in; not to be asked while others come or go, see `patchbay.py`."""
        try:
            done = subprocess.run(["jack_lsp"], env=self.environment(), capture_output=True, timeout=5, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def ports(self) -> list[str]:
        """Names of all ports; empty when the server has gone, or stands still."""
        return self._asked("ports") or []

    def _asked(self, *words: str) -> Any:
        """What the patch bay says, None when it has gone with its server or says nothing for five seconds."""
        bay = self._bay
        if bay is None or bay.poll() is not None:
            return None
        assert bay.stdin is not None and bay.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            bay.stdin.write(json.dumps(words).encode() + b"\n")
            if select.select([bay.stdout], [], [], 5.0)[0] and (line := bay.stdout.readline()):
                return json.loads(line)
        self._end_bay()
        return None

    def _end_bay(self) -> None:
        bay, self._bay = self._bay, None
        if bay is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                bay.communicate(timeout=2.0)  # its input ends: it takes leave of a server that answers
            bay.kill()
            bay.wait()

    def wait_port(self, part: str, seconds: float = 20.0) -> str:
        """The first port whose name contains `part`, once there is one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [port for port in self.ports() if part in port]
            if found:
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"no JACK port matching {part!r} within {seconds} s; there are {self.ports()}")

    def connect(self, source: str, sink: str) -> None:
        """Wire two ports; a port is listed slightly before it can be connected, so it is tried for a while."""
        said = None
        for _ in range(30):
            said = self._asked("connect", source, sink)
            if said == "":
                return
            time.sleep(0.1)
        raise AssertionError(f"cannot connect {source} to {sink}: {said or 'the server has gone'}")

    def connect_all(self, source: str, part: str) -> None:
        """Wire one port to every port whose name contains `part`: a mono source to both sides of a stereo input."""
        self.wait_port(part)
        for sink in [port for port in self.ports() if part in port]:
            self.connect(source, sink)

    def late_cycles(self) -> int:
        """How many cycles the server itself was late in."""
        return self.log.read_text(errors="replace").lower().count("xrun")
