"""The MIDI bridge as a plugin: registered through the public hook, light to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soundforge import hookimpl
from soundforge.interfaces import Bridge, BridgeDescriptor

SOUNDFORGE_CONTRACT = 1


def _factory(session: Any, settings: Any) -> Bridge:
    from soundforge_bridges.midi.bridge import MidiBridge

    return MidiBridge(session, settings.midi_in, settings.midi_out, settings.midi_map, settings.presets)


@hookimpl
def register_bridges(register: Callable[[BridgeDescriptor], None]) -> None:
    register(BridgeDescriptor("midi", _factory, "control over MIDI: notes, controllers, programs; lights out"))
