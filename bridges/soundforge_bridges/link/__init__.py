"""Ableton Link as a plugin: registered through the public hook, light to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soundforge import hookimpl
from soundforge.interfaces import Bridge, BridgeDescriptor

SOUNDFORGE_CONTRACT = 1


def _factory(session: Any, settings: Any) -> Bridge:
    from soundforge_bridges.link.clock import LinkClock

    return LinkClock(session)


@hookimpl
def register_bridges(register: Callable[[BridgeDescriptor], None]) -> None:
    register(BridgeDescriptor("link", _factory, "tempo and beat shared with others by Ableton Link (--clock link)"))
