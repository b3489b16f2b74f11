"""A clock that is asked now and then where it stands (Link, JACK), and leads the transport there.

Both give a straight line of beats over time, so asking twenty times a second is enough: between two answers the
transport goes on along the line. Users are told when tempo, rolling or place change, not at every answer.

Threading: everything belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from soundforge import SoundForgeError
from soundforge.tasks import end_task
from soundforge_bridges.port import SessionPort

LOOK_SECONDS = 0.05
JUMP_BEATS = 0.02
TOLD_TEMPO = 1e-4

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a clock stands: at `seconds` (time.perf_counter) `beat` is heard.

    `signature` = numerator, denominator and a beat on which a bar begins, where the clock knows.
    """

    bpm: float
    beat: float
    rolling: bool
    seconds: float
    signature: tuple[int, int, float] | None = None

    def beat_at(self, seconds: float) -> float:
        """Along its line."""
        return self.beat + ((seconds - self.seconds) * self.bpm / 60.0 if self.rolling else 0.0)


class PolledClock(ABC):
    """A bridge and a `TransportDriver` in one; asks only while it is chosen.

    Args:
        session: what is driven.
        name: of the source.
    """

    def __init__(self, session: SessionPort, name: str) -> None:
        self._session, self._name = session, name
        self._task: asyncio.Task[None] | None = None
        self._last: Stand | None = None
        self._told: set[str] = set()

    async def start(self) -> None:
        """Be there to be chosen."""
        self._session.add_transport_source(self._name, self)

    async def stop(self) -> None:
        """Let go of the clock. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            await end_task(task)
            self.close()

    def activate(self) -> None:
        """Chosen. Raises RequestError when what it needs is not installed."""
        self.check()
        self._last = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"clock {self._name}")

    def deactivate(self) -> None:
        """Another one was chosen."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            self.close()

    @abstractmethod
    def check(self) -> None:
        """Raises RequestError when it cannot work on this machine; must not wait."""

    @abstractmethod
    async def connect(self) -> None:
        """Come to be connected, whatever time it takes; returns at once when it is."""

    @abstractmethod
    def ask(self) -> Stand | None:
        """Where it stands; None = it does not say now."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; must not wait."""

    async def _run(self) -> None:
        while True:
            await self.connect()
            stand = self.ask()
            if stand is not None:
                self._follow(stand)
            await asyncio.sleep(LOOK_SECONDS)

    def _follow(self, stand: Stand) -> None:
        last, self._last = self._last, stand
        tell = last is None or stand.rolling != last.rolling or abs(stand.bpm - last.bpm) > TOLD_TEMPO * last.bpm \
            or abs(stand.beat - last.beat_at(stand.seconds)) > JUMP_BEATS
        try:
            self._session.follow(self._name, bpm=stand.bpm, beat=stand.beat, rolling=stand.rolling,
                                 at_seconds=stand.seconds, tell=tell, signature=stand.signature)
        except SoundForgeError as error:
            self.say_once("refused", f"the clock {self._name!r} cannot be followed: {error}")
        else:
            self._told.discard("refused")

    def say_once(self, what: str, line: str, level: Any = "warning") -> None:
        """A line for the user, until it is over (`_told`)."""
        if what not in self._told:
            self._told.add(what)
            self._session.notice(level, line)
