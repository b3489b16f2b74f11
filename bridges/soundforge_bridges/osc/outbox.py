"""Where answers and events go: to who asked and to every subscriber, to each once.

Used on the event loop only; `transmit` must not wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from soundforge import SoundForgeError
from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.handlers import PREFIX
from soundforge_bridges.osc.peers import Awaited, ErrorBudget, Subscribers
from soundforge_bridges.osc.replies import Outgoing, error_reply

STATES = (f"{PREFIX}/status", f"{PREFIX}/transport")


class Outbox:
    """Sends, and knows to whom.

    Args:
        transmit: sends one datagram to one address.
    """

    def __init__(self, transmit: Callable[[bytes, Address], None]) -> None:
        self._transmit = transmit
        self.subscribers = Subscribers()
        self.awaited = Awaited()
        self._errors = ErrorBudget()
        self._told: set[tuple[Address, str]] | None = None

    @contextlib.contextmanager
    def one_command(self) -> Iterator[None]:
        """While one command is carried out, a state goes to each only once: the session tells of it as an event, and
        the command answers with it."""
        self._told = set()
        try:
            yield
        finally:
            self._told = None

    def tell(self, message: Outgoing, *asked: Address) -> None:
        """An event: to who asked for it, who waits for it, and every subscriber."""
        self.answer(message, *asked, *self.awaited.by(message.address))

    def answer(self, message: Outgoing, *asked: Address) -> None:
        """An answer: to who asked and every subscriber."""
        where = self._receivers(*asked)
        if message.address in STATES and self._told is not None:
            where = [address for address in where if (address, message.address) not in self._told]
            self._told.update((address, message.address) for address in where)
        if where:
            datagram = message.encode()
            for address in where:
                self._transmit(datagram, address)

    def send(self, datagram: bytes, sender: Address) -> None:
        """An answer that is a datagram already."""
        for address in self._receivers(sender):
            self._transmit(datagram, address)

    def only(self, address: Address, message: Outgoing) -> None:
        """To one address and nobody else."""
        self._transmit(message.encode(), address)

    def error(self, sender: Address, address: str, error: SoundForgeError) -> None:
        """Tell of an error at an OSC address, unless this sender has been told of too many."""
        if self._errors.spend(sender):
            self.answer(error_reply(address, str(error)), sender)

    def _receivers(self, *asked: Address) -> list[Address]:
        return list(dict.fromkeys([*asked, *self.subscribers]))
