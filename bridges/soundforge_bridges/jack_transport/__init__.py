"""JACK transport as a plugin: registered through the public hook, light to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soundforge import hookimpl
from soundforge.interfaces import Bridge, BridgeDescriptor

SOUNDFORGE_CONTRACT = 1


def _factory(session: Any, settings: Any) -> Bridge:
    from soundforge_bridges.jack_transport.clock import JackClock

    return JackClock(session)


@hookimpl
def register_bridges(register: Callable[[BridgeDescriptor], None]) -> None:
    register(BridgeDescriptor("jack", _factory, "follows and drives the transport of a JACK server (--clock jack)"))
