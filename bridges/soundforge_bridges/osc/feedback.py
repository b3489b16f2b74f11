"""What SoundForge says, in the addresses of surfaces that speak through the map: faders that follow, labels, lamps.

A surface is whoever sent an address of the map; it is told where everything stands then, and of changes from there on.
It is never sent back the value that it has just sent. The table of surfaces is bounded. Event loop only.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.reader import Value
from soundforge_bridges.osc.remap import AddressMap
from soundforge_bridges.osc.replies import Outgoing

MAX_SURFACES = 16
SURFACE_SECONDS = 24 * 3600.0
TOO_NEAR = 1e-4


class Surface:
    """One of them: when it was heard of last, and what stands at each of its addresses."""

    def __init__(self, heard: float) -> None:
        self.heard = heard
        self.stands: dict[str, Any] = {}


class Feedback:
    """See the module.

    Args:
        transmit: sends one datagram to one address.
        clock: seconds of a steady clock.
    """

    def __init__(self, transmit: Callable[[bytes, Address], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._transmit, self._clock = transmit, clock
        self._surfaces: OrderedDict[Address, Surface] = OrderedDict()
        self.map = AddressMap()

    def use(self, new: AddressMap) -> None:
        """Another map: what stands where is not known any more."""
        self.map = new
        self._surfaces.clear()

    def heard(self, sender: Address, address: str, values: tuple[Value, ...]) -> bool:
        """A surface sent an address of the map; True when it is a new one, which wants to know how things stand."""
        where = (sender[0], self.map.feedback_port or sender[1])
        surface = self._surfaces.get(where)
        new = surface is None
        if surface is None:
            surface = self._surfaces[where] = Surface(0.0)
            while len(self._surfaces) > MAX_SURFACES:
                self._surfaces.popitem(last=False)
        surface.heard = self._clock()
        self._surfaces.move_to_end(where)
        if len(values) == 1:
            surface.stands[address] = values[0]
        return new

    def send(self, message: Outgoing) -> None:
        """To every surface, where the map has an address for it."""
        if self._surfaces and message.address in self.map.outgoing:
            for where, surface in list(self._surfaces.items()):
                if surface.heard < self._clock() - SURFACE_SECONDS:
                    del self._surfaces[where]
                else:
                    self._to(where, surface, message)

    def introduce(self, sender: Address, messages: Iterable[Outgoing]) -> None:
        """How things stand, to a new surface."""
        where = (sender[0], self.map.feedback_port or sender[1])
        surface = self._surfaces.get(where)
        for message in messages:
            if surface is not None and message.address in self.map.outgoing:
                self._to(where, surface, message)

    def _to(self, where: Address, surface: Surface, message: Outgoing) -> None:
        for echo in self.map.outgoing[message.address]:
            value = echo.value(message.values)
            there = surface.stands.get(echo.address)
            if value is None or _same(there, value) or (there is not None and echo.stands(there, message.values)):
                continue
            surface.stands[echo.address] = value
            tag = "s" if isinstance(value, str) else "i" if isinstance(value, int) else "f"
            self._transmit(Outgoing(echo.address, tag, (value,)).encode(), where)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return math.isclose(old, new, rel_tol=TOO_NEAR, abs_tol=TOO_NEAR)
    return bool(old == new)
