"""The OSC bridge as a plugin: registered through the public hook, light to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from soundforge import hookimpl
from soundforge.interfaces import Bridge, BridgeDescriptor

if TYPE_CHECKING:
    from soundforge_bridges.osc.server import OscBridge

SOUNDFORGE_CONTRACT = 1


def make_bridge(session: Any, settings: Any) -> OscBridge:
    """The bridge for a session, from the settings `osc_host`, `osc_port`, `osc_allow` and `osc_map`."""
    from soundforge_bridges.osc.server import OscBridge

    return OscBridge(session, settings.osc_host, settings.osc_port, settings.osc_allow, settings.osc_map)


def _factory(session: Any, settings: Any) -> Bridge:
    return make_bridge(session, settings)


@hookimpl
def register_bridges(register: Callable[[BridgeDescriptor], None]) -> None:
    register(BridgeDescriptor("osc", _factory, "control over OSC (UDP)"))
