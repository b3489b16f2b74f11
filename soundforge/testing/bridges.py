"""The conformance check of bridges: they start, stop, and leave nothing behind on the control process's loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from soundforge.claims import Claims
from soundforge.interfaces import Bridge, BridgeDescriptor
from soundforge.requests import Event, StatusEvent, TransportEvent
from soundforge.settings import Settings
from soundforge.testing.asserting import require

Listener = Callable[[Event, Any], None]


class QuietSession:
    """A session that does nothing: every call is taken and kept in `calls`; listeners can be counted."""

    source = "internal"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.listeners: list[Listener] = []
        self.claims = Claims()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """As the real session's: gives what takes the listener out again."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def add_drop_counter(self, counter: Callable[[], int]) -> Callable[[], None]:
        """Nobody asks it; gives what takes it out again."""
        return lambda: None

    def status(self) -> StatusEvent:
        """Ready, with a model that does not exist."""
        return StatusEvent("ready", "quiet", 0, 0.0, 0, 0, 0)

    def transport(self) -> TransportEvent:
        """120 BPM, not rolling."""
        return TransportEvent(self.source, 120.0, False, 0.0)

    def get_param(self, name: str) -> float:
        """Any parameter is 0."""
        return 0.0

    def clip_list(self) -> list[Any]:
        """No clips."""
        return []

    def __getattr__(self, name: str) -> Callable[..., str]:
        if name.startswith("_"):
            raise AttributeError(name)

        def taken(*arguments: Any, **keywords: Any) -> str:
            self.calls.append((name, *arguments, *keywords.items()))
            return "j1"

        return taken


def check_bridge(descriptor: BridgeDescriptor, settings: Settings | None = None, *, session: Any = None,
                 max_blocking_seconds: float = 1.0) -> None:
    """Check a bridge: started and stopped twice over, stop is safe at any time, nothing is left running.

    Args:
        descriptor: of the bridge.
        settings: it is made with; the default picks a free OSC port and no MIDI port.
        session: a `Session`, or what stands for one; a `QuietSession` by default.
        max_blocking_seconds: the event loop must never stand still for longer.

    Raises:
        AssertionError: with one line that says what is wrong.
    """
    quiet = QuietSession() if session is None else session
    given = Settings(osc_port=0) if settings is None else settings
    threads = set(threading.enumerate())
    asyncio.run(_run(descriptor, quiet, given, max_blocking_seconds))
    deadline = time.monotonic() + 2.0
    while (left := [t for t in threading.enumerate() if t not in threads and not t.daemon]):
        require(time.monotonic() < deadline, f"stop left the thread {left[0].name!r} running")
        time.sleep(0.02)


async def _run(descriptor: BridgeDescriptor, session: Any, settings: Settings, limit: float) -> None:
    longest = [0.0]
    watch = asyncio.create_task(_watch(longest))
    own = asyncio.all_tasks()
    try:
        never_started = descriptor.factory(session, settings)
        require(isinstance(never_started, Bridge), f"{type(never_started).__name__} has no start or no stop")
        await never_started.stop()
        for _ in range(2):
            before = len(getattr(session, "listeners", ()))
            bridge = descriptor.factory(session, settings)
            await bridge.start()
            await asyncio.sleep(0.05)
            await bridge.stop()
            await bridge.stop()
            await asyncio.sleep(0)
            after = len(getattr(session, "listeners", ()))
            require(after == before, f"stop left {after - before} listeners with the session")
            left = [task for task in asyncio.all_tasks() - own if not task.done()]
            require(not left, f"stop left {len(left)} tasks on the event loop")
    finally:
        watch.cancel()
    require(longest[0] <= limit, f"the event loop stood still for {longest[0]:.2f} s, expected at most {limit:g} s")


async def _watch(longest: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        longest[0] = max(longest[0], time.monotonic() - began - 0.01)
