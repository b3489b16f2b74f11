"""Who may speak to us, who hears of events, and who has been told of enough errors.

Every table here is bounded. Used on the event loop only, except `Access.allows`, which reads constants and is called
on the receive thread.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from soundforge import SettingsError
from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.origin import Origin

MAX_SUBSCRIBERS = 64
SUBSCRIPTION_SECONDS = 24 * 3600.0
ERRORS_PER_SECOND, ERROR_BURST, MAX_KNOWN_SENDERS = 20.0, 40.0, 512

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Access:
    """The hosts whose packets are read: this machine, and those allowed.

    Args:
        allow: addresses (`192.168.1.20`), networks (`192.168.1.0/24`) or host names (looked up once: this blocks).
        bound: the address that is listened on; packets from it come from this machine.

    Raises:
        SettingsError: a name that cannot be looked up.
    """

    def __init__(self, allow: Iterable[str] = (), bound: str = "") -> None:
        networks: list[Network] = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
        for name in allow:
            networks += _networks(name)
        self._networks = tuple(networks)
        self._bound = bound

    def allows(self, host: str) -> bool:
        if host.startswith("127.") or host == self._bound:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)


def _networks(name: str) -> list[Network]:
    try:
        return [ipaddress.ip_network(name, strict=False)]
    except ValueError:
        pass  # no number, so a host's name
    try:
        found = socket.getaddrinfo(name, None)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"osc_allow came as {name!r}, which cannot be looked up ({error}); expected an address "
                            "such as 192.168.1.20, a network such as 192.168.1.0/24, or a host's name") from error
    return [ipaddress.ip_network(str(info[4][0]).partition("%")[0]) for info in found]


class Subscribers:
    """Addresses that hear every event and reply.

    One ends when it is unsubscribed, 24 h after the last packet from its host, or when 64 newer ones stand.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: OrderedDict[Address, float] = OrderedDict()

    def add(self, address: Address) -> list[Address]:
        """Add or renew one; gives those that had to go for it."""
        gone = self.expired()
        self._heard[address] = self._clock()
        self._heard.move_to_end(address)
        while len(self._heard) > MAX_SUBSCRIBERS:
            gone.append(self._heard.popitem(last=False)[0])
        return gone

    def remove(self, address: Address) -> bool:
        return self._heard.pop(address, None) is not None

    def heard_from(self, host: str) -> None:
        """A packet came from this host: its subscriptions live on."""
        now = self._clock()
        for address in self._heard:
            if address[0] == host:
                self._heard[address] = now

    def expired(self) -> list[Address]:
        """Remove and give those that have not been heard of for too long."""
        limit = self._clock() - SUBSCRIPTION_SECONDS
        old = [address for address, heard in self._heard.items() if heard < limit]
        for address in old:
            del self._heard[address]
        return old

    def __iter__(self) -> Iterator[Address]:
        return iter(tuple(self._heard))

    def __contains__(self, address: object) -> bool:
        return address in self._heard

    def __len__(self) -> int:
        return len(self._heard)


class Awaited:
    """Who is to hear of an answer that comes later as an event: the take after `/soundforge/capture/stop`.

    The session gives such an event to who began the capture; who ended it waits for it as well.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[tuple[str, Origin], float] = OrderedDict()

    def add(self, reply: str, sender: Origin, seconds: float) -> None:
        """For so long messages at the address `reply` go to `sender` too."""
        self._until[reply, sender] = self._clock() + seconds
        self._until.move_to_end((reply, sender))
        if len(self._until) > MAX_KNOWN_SENDERS:
            self._until.popitem(last=False)

    def by(self, reply: str) -> list[Origin]:
        """Those who wait for a message at this address."""
        now = self._clock()
        for key in [key for key, until in self._until.items() if until < now]:
            del self._until[key]
        return [sender for address, sender in self._until if address == reply]


class ErrorBudget:
    """Limits error replies per sender: a flood of nonsense must not become a flood of answers.

    Attributes:
        suppressed: error replies that were not sent, since the start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[Address, tuple[float, float]] = OrderedDict()
        self.suppressed = 0

    def spend(self, sender: Address) -> bool:
        """True when this sender may be told of another error."""
        now = self._clock()
        left, then = self._left.get(sender, (ERROR_BURST, now))
        left = min(ERROR_BURST, left + (now - then) * ERRORS_PER_SECOND)
        granted = left >= 1.0
        self._left[sender] = (left - granted, now)
        self._left.move_to_end(sender)
        if len(self._left) > MAX_KNOWN_SENDERS:
            self._left.popitem(last=False)
        self.suppressed += not granted
        return granted
