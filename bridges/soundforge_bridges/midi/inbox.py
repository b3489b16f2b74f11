"""From MIDI's callback threads to the event loop: bounded, and a fader's flood leaves only its last value.

Threading: `put` is called on the callback threads of any number of inputs; everything else on the event loop.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

MAX_WAITING, MAX_CROSSINGS = 2048, 8


class Inbox:
    """Messages that wait for the event loop.

    Args:
        wake: called on the callback thread when the first message came into an empty inbox.

    Attributes:
        dropped: messages that found no room, since the start.
    """

    def __init__(self, wake: Callable[[], None], limit: int = MAX_WAITING) -> None:
        self._wake, self._limit = wake, limit
        self._lock = threading.Lock()
        self._waiting: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._arrivals = 0
        self._sides: dict[tuple[int, int], tuple[bool, int]] = {}
        self.dropped = 0

    def put(self, message: Any) -> None:
        """Keep a `mido.Message` for the loop.

        A controller's newer value takes the place of an older one that still waits, unless something else than
        controllers came in between: a note must find the values that were set before it, and not later ones. One
        that passes the middle keeps its place: a pedal's press must not vanish behind its release.
        """
        with self._lock:
            if message.type == "control_change":
                key: tuple[Any, ...] = (self._arrivals, message.channel, message.control, self._crossings(message))
            else:
                self._arrivals += 1
                key = (self._arrivals,)
            first = not self._waiting
            if key not in self._waiting and len(self._waiting) >= self._limit:
                self.dropped += 1
                return
            self._waiting[key] = message
        if first:
            self._wake()

    def _crossings(self, message: Any) -> int:
        """How often this controller passed the middle since the last `take_all`; not counted on for ever, or a
        flood from end to end would fill the inbox."""
        controller, high = (message.channel, message.control), bool(message.value > 63)
        was_high, count = self._sides.get(controller, (high, 0))
        count = min(MAX_CROSSINGS, count + (high != was_high))
        self._sides[controller] = (high, count)
        return count

    def take_all(self) -> list[Any]:
        """Everything that waits, in order."""
        with self._lock:
            messages = list(self._waiting.values())
            self._waiting.clear()
            self._sides.clear()
        return messages
