"""Where answers and events go: to who asked, to every subscriber, and translated to who speaks through the map.

Used on the event loop only; `transmit` must not wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from soundforge import SoundForgeError
from soundforge_bridges.osc.echoes import Echoes
from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.feedback import Feedback
from soundforge_bridges.osc.handlers import PREFIX
from soundforge_bridges.osc.origin import Origin
from soundforge_bridges.osc.peers import Awaited, ErrorBudget, Subscribers
from soundforge_bridges.osc.replies import Outgoing, error_reply

STATES = (f"{PREFIX}/status", f"{PREFIX}/transport", f"{PREFIX}/param/")


class Outbox:
    """Sends, and knows to whom.

    Args:
        transmit: sends one datagram to one address.
    """

    def __init__(self, transmit: Callable[[bytes, Address], None]) -> None:
        self._transmit = transmit
        self.subscribers = Subscribers()
        self.awaited = Awaited()
        self.feedback = Feedback(transmit)
        self._errors = ErrorBudget()
        self.echoes = Echoes()
        self._told: set[tuple[Address, str]] | None = None
        self._mirror: Address | None = None

    @contextlib.contextmanager
    def one_command(self) -> Iterator[None]:
        """While one command is carried out, a state goes to each only once: the session tells of it as an event, and
        the command answers with it."""
        self._told = set()
        try:
            yield
        finally:
            self._told = self._mirror = None

    def not_back_to(self, mirror: Address) -> None:
        """Nothing goes there until the command that is carried out is over (see `echoes`)."""
        self._mirror = mirror

    def tell(self, message: Outgoing, *asked: Origin) -> None:
        """An event: to who asked for it, who waits for it, and every subscriber."""
        self.answer(message, *asked, *self.awaited.by(message.address))

    def answer(self, message: Outgoing, *asked: Origin) -> None:
        """An answer: to who asked and every subscriber, to each once."""
        self.feedback.send(message)
        places = [(origin.address, origin.place(message.address)) for origin in asked if not origin.silent]
        places += [(address, message.address) for address in self.subscribers]
        places = [place for place in dict.fromkeys(places) if place[0] != self._mirror]
        if message.address.startswith(STATES) and self._told is not None:
            places = [place for place in places if place not in self._told]
            self._told.update(places)
        datagrams = {path: replace(message, address=path).encode() for _, path in places}
        for address, path in places:
            self.echoes.sent(datagrams[path], path, address)
            self._transmit(datagrams[path], address)

    def send(self, datagram: bytes, sender: Address) -> None:
        """An answer that is a datagram already."""
        for address in dict.fromkeys([sender, *self.subscribers]):
            self._transmit(datagram, address)

    def only(self, address: Address, message: Outgoing) -> None:
        """To one address and nobody else."""
        self._transmit(message.encode(), address)

    def error(self, sender: Address, address: str, error: SoundForgeError) -> None:
        """Tell of an error at an OSC address, unless this sender has been told of too many."""
        if self._errors.spend(sender):
            self.answer(error_reply(address, str(error)), Origin(sender))
