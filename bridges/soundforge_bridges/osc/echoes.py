"""Two programs that answer each other must not go on for ever: who sends us what we have just sent is told nothing.

A parameter's answer is a command as well, so a server that is subscribed to another one (or named in a `url path`)
obeys it and answers, and so does the first. Whoever sends us the very values that we sent in the last second, several
in a row, is such a mirror: what it says is carried out, but nothing goes back to it, and the circle ends. A surface
whose fader goes to and fro may look like one for a moment; it is only spared its own values.

Every table here is bounded. Used on the event loop only.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.handlers import PREFIX
from soundforge_bridges.osc.reader import Message, PacketError, read_packet

LOOK_BACK_SECONDS = 1.0
MOST_IN_A_ROW = 8
MAX_SENT, MAX_EXCHANGES = 128, 256
OBEYED = (f"{PREFIX}/param/", f"{PREFIX}/condition/")
"""Answers at these addresses are commands as well."""


class Exchange:
    """What went to one peer at one address, and how often the same came back in a row."""

    def __init__(self) -> None:
        self.sent: deque[tuple[float, int]] = deque(maxlen=MAX_SENT)
        self.in_a_row = 0


class Echoes:
    """See the module.

    Args:
        clock: seconds of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._exchanges: OrderedDict[tuple[Address, str], Exchange] = OrderedDict()

    def __len__(self) -> int:
        return len(self._exchanges)

    def sent(self, datagram: bytes, path: str, peer: Address) -> None:
        """A message goes to a peer."""
        if not path.startswith(OBEYED):
            return
        try:
            values = read_packet(datagram)[0].values
        except PacketError:
            return  # a path of somebody's own that no server would take: it cannot come back
        key, now = (peer, path), self._clock()
        self._forget(now - LOOK_BACK_SECONDS)
        exchange = self._exchanges.get(key)
        if exchange is None:
            exchange = self._exchanges[key] = Exchange()
            while len(self._exchanges) > MAX_EXCHANGES:
                self._exchanges.popitem(last=False)
        self._exchanges.move_to_end(key)
        exchange.sent.append((now, hash(values)))

    def _forget(self, since: float) -> None:
        """Nothing from before can make anything go round; the exchange that has been silent longest comes first."""
        while self._exchanges and next(iter(self._exchanges.values())).sent[-1][0] < since:
            self._exchanges.popitem(last=False)

    def goes_round(self, message: Message, peer: Address) -> bool:
        """A message came from a peer: whether its answers have been coming back for a while."""
        exchange = self._exchanges.get((peer, message.address))
        if exchange is None:
            return False
        since, came = self._clock() - LOOK_BACK_SECONDS, hash(message.values)
        same = any(when >= since and sent == came for when, sent in exchange.sent)
        exchange.in_a_row = exchange.in_a_row + 1 if same else 0
        return exchange.in_a_row > MOST_IN_A_ROW


def datagram_of(message: Message, address: str = "") -> bytes:
    """A message as it came, or at another address with the very same arguments."""
    parts = [(address or message.address).encode(), f",{message.tags}".encode()]
    return b"".join(part + b"\0" * (4 - len(part) % 4) for part in parts) + message.payload
