"""Real OSC clients of other people: liblo's `oscsend` and `oscdump`."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve_process import free_udp_port


def oscsend(port: int, address: str, types: str = "", *arguments: object) -> None:
    """Send one message with liblo's `oscsend`; `types` as it takes them: `i` `f` `s` ..."""
    line = ["oscsend", "127.0.0.1", str(port), address, *([types] if types else []), *[str(a) for a in arguments]]
    subprocess.run(line, check=True, timeout=10)


@dataclass(frozen=True)
class Heard:
    """One message as `oscdump` prints it; `at` is `time.monotonic()` of its line."""

    address: str
    types: str
    arguments: tuple[Any, ...]
    at: float


_LINE = re.compile(r"^(?:[0-9a-f]+\.[0-9a-f]+ )?(/\S*)(?: (\S+))?(?: (.*))?$")


def parse_line(line: str, at: float = 0.0) -> Heard | None:
    """One line of `oscdump` (`e3a.1b /address ifs 1 2.5 "text"`), None when it is no message."""
    found = _LINE.match(line.strip())
    if not found:
        return None
    address, types, rest = found.groups()
    kinds = {"i": int, "h": int, "f": float, "d": float}
    types, words = types or "", shlex.split(rest or "")
    return Heard(address, types, tuple(kinds.get(kind, str)(word)
                                       for kind, word in zip(types, words, strict=False)), at)


class OscDump:
    """liblo's `oscdump` on a port of its own, its lines parsed as they come. A context manager."""

    def __init__(self, port: int | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.port = port or free_udp_port()
        self.messages: list[Heard] = []
        self._environment = environment
        self._news = threading.Condition()

    def __enter__(self) -> OscDump:
        self._process = subprocess.Popen(["oscdump", "-L", str(self.port)], stdout=subprocess.PIPE, text=True,
                                         env=dict(self._environment) if self._environment else None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._wait_until_bound()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_bound(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            oscsend(self.port, "/here")
            with self._news:
                if self._news.wait_for(lambda: bool(self.messages), timeout=0.2):
                    self.messages.clear()
                    return
        raise AssertionError("oscdump does not answer on its port")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(5)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = parse_line(line, time.monotonic())
            if message is not None:
                with self._news:
                    self.messages.append(message)
                    self._news.notify_all()

    def wait_for(self, address: str, *beginning: Any, seconds: float = 30.0) -> Heard:
        """The first message to `address` whose arguments begin with `beginning`, heard already or to come."""
        def found() -> Heard | None:
            return next((m for m in self.messages if m.address == address
                         and m.arguments[:len(beginning)] == beginning), None)

        with self._news:
            if not self._news.wait_for(lambda: found() is not None, timeout=seconds):
                heard = "\n".join(f"  {m.address} {m.arguments}" for m in self.messages[-20:]) or "  nothing"
                wanted = " ".join([address, *map(str, beginning)])
                raise AssertionError(f"no {wanted} within {seconds:g} s; heard last:\n{heard}")
            message = found()
        assert message is not None
        return message

    def clear(self) -> None:
        """Forget what was heard so far."""
        with self._news:
            self.messages.clear()
