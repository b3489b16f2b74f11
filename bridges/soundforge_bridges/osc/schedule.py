"""Messages whose timetag lies in the future wait in a bounded heap; one timer, nothing sleeps.

Timetags are NTP time: seconds since 1900 in the upper 32 bits, fractions in the lower. Differences are taken modulo
2^64, so the end of the NTP era in 2036 passes unnoticed. Used on the event loop only.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

from soundforge import RequestError
from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.reader import IMMEDIATELY, Message

NTP_EPOCH_SECONDS = 2_208_988_800
MAX_AHEAD_SECONDS = 600.0
MAX_WAITING = 1024
MAX_WAITING_PER_HOST = 512


def seconds_until(timetag: int, unix_seconds: float | None = None) -> float:
    """Seconds from now to a timetag, negative when it has passed; 0.0 for "immediately".

    Args:
        timetag: 64-bit NTP time.
        unix_seconds: now, instead of the system's clock.
    """
    if timetag == IMMEDIATELY:
        return 0.0
    return _difference(timetag, timetag_at(time.time() if unix_seconds is None else unix_seconds)) / 2**32


def timetag_at(unix_seconds: float) -> int:
    """The NTP timetag of a moment."""
    whole = int(unix_seconds)
    return (((whole + NTP_EPOCH_SECONDS) << 32) + int((unix_seconds - whole) * 2**32)) % 2**64


def _difference(timetag: int, other: int) -> int:
    return (timetag - other + 2**63) % 2**64 - 2**63


class Schedule:
    """Messages by their timetags, equal ones in the order of arrival (a bundle stays together and in order)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reference = timetag_at(time.time())
        self._heap: list[tuple[int, int, float, Message, Address]] = []
        self._per_host: dict[str, int] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, message: Message, sender: Address, ahead_seconds: float) -> None:
        """Keep a message until it is due.

        Raises:
            RequestError: too far ahead, or too many wait already.
        """
        if ahead_seconds > MAX_AHEAD_SECONDS:
            raise RequestError(f"a timetag {ahead_seconds:.0f} s ahead came, expected at most {MAX_AHEAD_SECONDS:.0f}; "
                               "check the sender's clock")
        mine = self._per_host.get(sender[0], 0)
        if len(self._heap) >= MAX_WAITING or mine >= MAX_WAITING_PER_HOST:
            raise RequestError(f"{len(self._heap)} messages wait for their timetag already, {mine} of them yours, "
                               f"expected at most {MAX_WAITING_PER_HOST}; send them later")
        self._per_host[sender[0]] = mine + 1
        self._arrivals += 1
        # Ordered by the tag itself: when it is due is computed from two clocks, and differs by their reading.
        order = _difference(message.timetag, self._reference)
        heapq.heappush(self._heap, (order, self._arrivals, self._clock() + ahead_seconds, message, sender))

    def next_due(self) -> float | None:
        """When the earliest one is due, on the clock; None when nothing waits."""
        return self._heap[0][2] if self._heap else None

    def take_due(self) -> tuple[Message, Address] | None:
        """The earliest message that is due by now, or None."""
        if not self._heap or self._heap[0][2] > self._clock():
            return None
        *_, message, sender = heapq.heappop(self._heap)
        left = self._per_host[sender[0]] - 1
        if left:
            self._per_host[sender[0]] = left
        else:
            del self._per_host[sender[0]]
        return message, sender

    def clear(self) -> None:
        self._heap.clear()
        self._per_host.clear()
