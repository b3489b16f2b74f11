"""The MIDI bridge as a plugin: registered through the public hook, light to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soundforge import hookimpl
from soundforge.interfaces import Bridge, BridgeDescriptor

SOUNDFORGE_CONTRACT = 1


def _factory(session: Any, settings: Any) -> Bridge:
    from soundforge.settings import config_file
    from soundforge_bridges.midi.bridge import MidiBridge

    learn_to = (settings.midi_map or config_file().with_name("midi-map.toml")) if settings.midi_learn else None
    known = settings.midi_map if settings.midi_map and (settings.midi_map.exists() or not learn_to) else None
    return MidiBridge(session, settings.midi_in, settings.midi_out, known, settings.presets, learn_to,
                      clock_output=settings.midi_clock_out)


@hookimpl
def register_bridges(register: Callable[[BridgeDescriptor], None]) -> None:
    register(BridgeDescriptor("midi", _factory, "control over MIDI: notes, controllers, programs; lights out"))
