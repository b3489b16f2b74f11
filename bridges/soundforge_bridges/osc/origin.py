"""Who asked, and where the answer goes: to the sender's port, or to the `url path` that a message ends with.

The two texts are liblo's and SooperLooper's way to ask for an answer elsewhere:

    /soundforge/status osc.udp://127.0.0.1:9131/ /my/status
    /soundforge/generate "warm dub" 4 osc.udp://localhost:9131/ /job      ->  /job/accepted, /job/done ...

The answer that the table names comes at the path itself, everything else at the path and the last part of its own
address; errors come to that port as `/soundforge/error`. Pure; nothing is ever looked up on a network: a host's name in
a URL means the sender's own machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soundforge import RequestError
from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.reader import Value

_URL = re.compile(r"osc(?:\.(?P<protocol>\w+))?://(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\[\]]*):(?P<port>\d{1,5})/?")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked over OSC; the session hands it back with the job's events.

    Args:
        address: where answers go.
        path: "" = answers keep their own addresses.
        named: the address of the answer that comes at `path` itself.
        silent: it understands none of our addresses (see `feedback`): errors only.
    """

    address: Address
    path: str = ""
    named: str = ""
    silent: bool = False

    def place(self, address: str) -> str:
        """Where a message of ours goes for who asked."""
        if not self.path:
            return address
        return self.path if address == self.named else f"{self.path.rstrip('/')}/{address.rpartition('/')[2]}"


def split_reply_to(values: Sequence[Value], sender: Address, named: str,
                   allows: Callable[[str], bool]) -> tuple[Sequence[Value], Origin]:
    """A message's arguments without a `url path` at their end, and where its answer goes.

    Args:
        named: address of the answer that the table names.
        allows: the hosts that may be written to.

    Raises:
        RequestError: a URL of another protocol, or of a host that is not allowed.
    """
    if len(values) < 2:
        return values, Origin(sender)
    url, path = values[-2:]
    if not isinstance(url, str) or not isinstance(path, str) or not path.startswith("/"):
        return values, Origin(sender)
    match = _URL.fullmatch(url)
    if match is None:
        return values, Origin(sender)
    port = int(match["port"])
    if match["protocol"] not in (None, "udp") or not 0 < port < 65536:
        raise RequestError(f"an answer was asked for at {url[:80]!r}, expected osc.udp://HOST:PORT/")
    host = _host(match["host"].strip("[]"), sender[0])
    if host != sender[0] and not allows(host):
        raise RequestError(f"an answer was asked for at {url[:80]!r}, which is a machine that may not speak to us; "
                           "name it with --osc-allow")
    return values[:-2], Origin((host, port), path, named)


def _host(named: str, sender: str) -> str:
    """An address as it is; a name (liblo's URLs hold the machine's) means the sender."""
    try:
        return str(ipaddress.ip_address(named))
    except ValueError:
        return sender
