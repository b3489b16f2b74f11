"""Hands events to the plugins' `on_event` hooks on a thread of its own.

Threading: `put` belongs to one thread (the event loop) and never waits: when the plugins are slower than the events,
the newest are dropped and counted. The hooks run on the worker, one event after the other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from soundforge.plugin_manager import PluginManager
from soundforge.requests import Event

QUEUE_SIZE = 1000
STOP_SECONDS = 2.0


class EventWorker:
    """See the module.

    Args:
        manager: whose hooks are called.
        on_trouble: takes one line about a plugin that failed; called on the worker.
    """

    def __init__(self, manager: PluginManager, on_trouble: Callable[[str], None]) -> None:
        self._manager, self._on_trouble = manager, on_trouble
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE_SIZE)
        self._thread = threading.Thread(target=self._run, name="plugin events", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, event: Event, origin: object | None = None) -> None:
        """Queue an event (the signature of a session's listener). Thread-safe: no. Never waits."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.dropped += 1

    def stop(self) -> None:
        """Let the thread finish what is queued, for a limited time: a hook that hangs is left behind."""
        if not self._thread.is_alive():
            return
        try:
            self._queue.put(None, timeout=STOP_SECONDS)
        except queue.Full:
            return
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            for line in self._manager.emit(event):
                self._on_trouble(line)
