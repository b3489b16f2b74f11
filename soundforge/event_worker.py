"""Hands events to the plugins' `on_event` hooks, each plugin on a thread of its own.

A plugin that is slow, hangs or raises costs nobody else an event: its own queue fills, and what does not fit is
dropped and counted. Each plugin's trouble is told once, with its name and version.

Threading: `put` belongs to one thread (the event loop) and never waits. A plugin gets one event after the other.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from soundforge.plugin_manager import EventHook, PluginManager
from soundforge.requests import Event

QUEUE_SIZE = 1000
STOP_SECONDS = 2.0
SLOW_SECONDS = 10.0
Trouble = Callable[[str], None]


class EventWorker:
    """See the module.

    Args:
        manager: whose hooks are called.
        on_trouble: takes one line about a plugin that failed; called on any thread.
    """

    def __init__(self, manager: PluginManager, on_trouble: Trouble) -> None:
        self._lanes = [_Lane(hook, on_trouble) for hook in manager.event_hooks()]

    @property
    def dropped(self) -> int:
        """Events that plugins were too slow for, all plugins together."""
        return sum(lane.dropped for lane in self._lanes)

    def start(self) -> None:
        """Start the threads; none when no plugin hears of events."""
        for lane in self._lanes:
            lane.thread.start()

    def put(self, event: Event, origin: object | None = None) -> None:
        """Queue an event (the signature of a session's listener). Thread-safe: no. Never waits."""
        for lane in self._lanes:
            lane.put(event)

    def stop(self) -> None:
        """Let the threads finish what is queued, for a limited time: a hook that hangs is left behind."""
        deadline = time.monotonic() + STOP_SECONDS
        running = [lane for lane in self._lanes if lane.thread.is_alive()]
        for lane in running:
            lane.end()
        for lane in running:
            lane.thread.join(max(0.0, deadline - time.monotonic()))


class _Lane:
    """One plugin's queue and thread."""

    def __init__(self, hook: EventHook, on_trouble: Trouble) -> None:
        self._hook, self._on_trouble = hook, on_trouble
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE_SIZE)
        self._busy_since = 0.0
        self._told = self._over = False
        self.dropped = 0
        self.thread = threading.Thread(target=self._run, name=f"events of {hook.plugin}", daemon=True)

    def put(self, event: Event) -> None:
        if self._over:
            return
        if not self._told and self._busy_since and time.monotonic() - self._busy_since > SLOW_SECONDS:
            self._tell(f"on_event has not come back for {SLOW_SECONDS:g} s; its events wait, or are dropped")
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.dropped += 1
            self._tell("on_event is slower than the events; some are dropped")

    def end(self) -> None:
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # it is far behind: it is left behind

    def _tell(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._on_trouble(f"plugin {self._hook.plugin} {self._hook.version}: {what}")

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                self._hook.call(event)
            # Third-party code: whatever it raises is its own trouble.
            except (Exception, SystemExit) as error:
                self._over = True
                text = " ".join(str(error).split())[:300]
                self._tell(f"on_event raised {type(error).__name__}: {text}; it is not called again")
                return
            finally:
                self._busy_since = 0.0
