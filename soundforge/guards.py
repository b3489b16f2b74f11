"""Calls into plugins: what they raise gets their name, and what hangs is left behind.

A part that a plugin made is wrapped once, where the host builds it. Errors made for users (`SoundForgeError`) pass as
they are; anything else becomes a `PluginError` that names the plugin and its version. Built-in parts run on the
caller's thread. A third party's run on a thread of their own when a limit of seconds is set (the live server sets
one): a call that does not come back in time fails its job, and the part refuses to be called until it has come back.

Threading: a guard serialises its calls when it has a limit; otherwise it adds nothing to the part's own rules.
Importing this module imports no torch.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from soundforge.errors import PluginError, SoundForgeError
from soundforge.registry import Origin

R = TypeVar("R")
OWN_DISTRIBUTION = "soundforge"


class Guard:
    """Calls one plugin's part.

    Args:
        kind, name: of the part, as registered.
        origin: where it came from.
        seconds: limit of a call; None = none.
    """

    def __init__(self, kind: str, name: str, origin: Origin, seconds: float | None = None) -> None:
        self.kind, self.name, self.origin = kind, name, origin
        self._seconds = None if origin.distribution == OWN_DISTRIBUTION else seconds
        self._thread: _CallThread | None = None

    def error(self, what: str) -> PluginError:
        """An error that names the part and its plugin."""
        return PluginError(f"{self.kind} {self.name!r} {what}", self.origin.plugin, self.origin.version)

    def call(self, what: str, function: Callable[[], R], seconds: float | None = None,
             life: Callable[[], object] | None = None) -> R:
        """`function()`; `what` names the call in errors, `seconds` raises the limit for one that may take longer.

        With `life` the limit counts anew as long as what that gives is another each time: the call makes progress.

        Raises:
            PluginError: it raised something of its own, or took too long. SoundForgeError: as it raised it.
        """
        try:
            if self._seconds is None:
                return function()
            return self._in_time(what, function, max(self._seconds, seconds or 0.0), life)
        except (SoundForgeError, MemoryError):
            raise
        # Third-party code may raise anything; it must be told apart from our own failures.
        except (Exception, SystemExit) as error:
            if "out of memory" in str(error).lower():
                raise  # the machine's lack, not the plugin's fault
            text = " ".join(str(error).split())[:300]
            raise self.error(f"raised {type(error).__name__} in {what}: {text}") from error

    def _in_time(self, what: str, function: Callable[[], R], seconds: float,
                 life: Callable[[], object] | None = None) -> R:
        if self._thread is None:
            self._thread = _CallThread(f"{self.kind} {self.name}")
        if self._thread.busy:
            raise self.error(f"is still busy with an earlier call that took too long; {what} was not begun")
        outcome: list[Any] = []
        if not self._thread.run(_as_here(function), outcome, seconds, life or (lambda: None)):
            raise self.error(f"has not come back from {what} after {seconds:g} s; it is not called until it does "
                             "(the setting plugin-seconds gives it longer)")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        result: R = outcome[1]
        return result


class _CallThread:
    """One daemon thread that makes one call at a time."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], list[Any], threading.Event]] = queue.SimpleQueue()
        self.busy = False
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, function: Callable[[], Any], outcome: list[Any], seconds: float, life: Callable[[], object]) -> bool:
        """Whether it was done in time; `outcome` gets the error or None, and the result."""
        done = threading.Event()
        self.busy = True
        self._calls.put((function, outcome, done))
        sign: object = life()
        while not done.wait(seconds):
            before, sign = sign, life()
            if sign == before:
                return False
        return True

    def _serve(self) -> None:
        while True:
            function, outcome, done = self._calls.get()
            try:
                outcome.extend((None, function()))
            except BaseException as error:
                outcome.append(error)
            self.busy = False
            done.set()


def _as_here(function: Callable[[], R]) -> Callable[[], R]:
    """The call with this thread's torch modes, which belong to a thread."""
    torch = sys.modules.get("torch")
    if torch is None:
        return function
    inference, threads = torch.is_inference_mode_enabled(), torch.get_num_threads()

    def call() -> R:
        mode: AbstractContextManager[Any] = torch.inference_mode() if inference else nullcontext()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with mode:
            return function()

    return call
