"""A bounded queue of datagrams that is fair between senders: a flood fills its own share, not everybody's.

Threading: thread-safe; `put` is for the receive thread and `take` for the event loop. Both are O(1).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

Address = tuple[str, int]
TOTAL, PER_SENDER, RESERVED, LIGHT = 1024, 512, 256, 4
"""Packets in all; of one sender; of these kept free for senders with fewer than `LIGHT` packets waiting."""


class FairQueue:
    """Packets wait per sender, senders take turns.

    Attributes:
        dropped: packets that found no room, since the start.
    """

    def __init__(self, total: int = TOTAL, per_sender: int = PER_SENDER, reserved: int = RESERVED) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Address, deque[bytes]] = OrderedDict()
        self._total, self._per_sender, self._reserved = total, per_sender, reserved
        self._count = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def put(self, data: bytes | memoryview, sender: Address) -> int:
        """Add a copy of a packet; gives how many wait now, 0 (and counts) when there was no room for it.

        1 means that the queue was empty: whoever takes from it must be woken.
        """
        with self._lock:
            queue = self._waiting.get(sender)
            mine = len(queue) if queue else 0
            room = self._total if mine < LIGHT else self._total - self._reserved
            if self._count >= room or mine >= self._per_sender:
                self.dropped += 1
                return 0
            if queue is None:
                queue = self._waiting[sender] = deque()
            queue.append(bytes(data))
            self._count += 1
            return self._count

    def take(self) -> tuple[bytes, Address] | None:
        """The next packet of the sender whose turn it is; packets of one sender keep their order."""
        with self._lock:
            if not self._count:
                return None
            sender, queue = self._waiting.popitem(last=False)
            data = queue.popleft()
            if queue:
                self._waiting[sender] = queue  # to the end of the line
            self._count -= 1
            return data, sender
