"""OSC addresses, MIDI notes and controllers of plugins' bridges: declared, in conflict, heard and answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import mido
import osc_peer
import pytest
from session_double import MemorySession

import soundforge as sf
from soundforge.interfaces import BridgeDescriptor
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin
from soundforge.requests import NoticeEvent
from soundforge_bridges.midi.bridge import MidiBridge
from soundforge_bridges.midi.dispatch import Dispatcher
from soundforge_bridges.midi.map import DEFAULT

TIDES = BridgeDescriptor("tides", lambda session, settings: None, "tides",  # type: ignore[arg-type, return-value]
                         osc_addresses=("/tides/height",), midi_notes=(100,), midi_controls=(70,))


def plugin(descriptor: BridgeDescriptor) -> object:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_bridges(register):  # type: ignore[no-untyped-def]
            register(descriptor)

    return Plugin


@pytest.mark.parametrize(("second", "what"), [
    ({"osc_addresses": ("/tides/height",)}, "OSC address '/tides/height'"),
    ({"midi_notes": (99, 100)}, "MIDI note 100"),
    ({"midi_controls": (70,)}, "MIDI controller 70")])
def test_two_that_want_the_same_are_told_apart_at_load(second: dict[str, Any], what: str) -> None:
    manager = PluginManager(load_entry_points=False)
    manager.register(plugin(TIDES), Origin("tides", "soundforge-tides", "1.0"))
    none: dict[str, Any] = {"osc_addresses": (), "midi_notes": (), "midi_controls": ()}
    manager.register(plugin(replace(TIDES, name="waves", **{**none, **second})), Origin("waves", "waves-dist", "2.0"))
    (waves,) = [info for info in manager.report() if info.name == "waves"]
    assert waves.error == (f"bridge 'waves' of waves (waves-dist 2.0) wants the {what}, which bridge 'tides' of tides "
                           "(soundforge-tides 1.0) has already; disable one with --no-plugin")
    assert list(manager.registries.bridges) == ["tides"]


@pytest.mark.parametrize(("changes", "what"), [
    ({"osc_addresses": ("/soundforge/ping",)}, "is SoundForge's own"),
    ({"osc_addresses": ("tides",)}, "expected one such"),
    ({"osc_addresses": ("/tides/*",)}, "expected one such"), ({"midi_notes": (128,)}, "from 0 to 127"),
    ({"midi_controls": (True,)}, "from 0 to 127")])
def test_what_cannot_be_wanted(changes: dict[str, Any], what: str) -> None:
    manager = PluginManager(load_entry_points=False)
    manager.register(plugin(replace(TIDES, **changes)), Origin("tides", "soundforge-tides", "1.0"))
    assert what in manager.report()[0].error


class Bridge:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_osc(self, address: str, arguments: tuple[Any, ...]) -> Any:
        if arguments == ("break",):
            raise RuntimeError("a spring tide")
        self.heard.append((address, arguments))
        return [("/tides/is", 2.5, 3, "rising")]

    def on_midi(self, kind: str, number: int, value: int) -> None:
        self.heard.append((kind, number, value))


def bound(bridge: Bridge) -> MemorySession:
    session = MemorySession()
    session.claims.bind(bridge, TIDES.osc_addresses, TIDES.midi_notes, TIDES.midi_controls)
    return session


def test_an_osc_address_of_a_plugin_is_heard_and_answered() -> None:
    bridge = Bridge()
    with osc_peer.running(bound(bridge)) as server:
        client = server.client()
        address, values = client.ask("/tides/height", 1.5, "now")
        assert (address, values) == ("/tides/is", (2.5, 3, "rising"))
        assert bridge.heard == [("/tides/height", (1.5, "now"))]
        address, values = client.ask("/tides/height", "break")
        assert address == "/soundforge/error" and "a spring tide" in values[1]
        assert client.ask("/tides/depth")[0] == "/soundforge/error"
        assert client.ask("/soundforge/ping", 1) == ("/soundforge/pong", (1,))


def test_midi_of_a_plugin_is_heard_where_the_map_leaves_room() -> None:
    bridge = Bridge()
    session = bound(bridge)
    dispatcher = Dispatcher(session, DEFAULT)
    for message in (mido.Message("note_on", note=100, velocity=90), mido.Message("note_off", note=100),
                    mido.Message("control_change", control=70, value=12), mido.Message("note_on", note=99, velocity=9)):
        dispatcher.on_message(message)
    assert bridge.heard == [("note", 100, 90), ("note", 100, 0), ("control", 70, 12)]


def test_a_note_that_the_map_uses_stays_the_maps_and_that_is_told() -> None:
    session = MemorySession()
    notices: list[str] = []
    session.add_listener(lambda event, origin: notices.append(event.what) if isinstance(event, NoticeEvent) else None)
    session.claims.want_midi("bridge 'tides' of tides (soundforge-tides 1.0)", (40, 100), ())

    async def run() -> None:
        bridge = MidiBridge(session, (), None, None, ())
        await bridge.start()
        await bridge.stop()

    asyncio.run(run())
    (line,) = [what for what in notices if "tides" in what]
    assert line.startswith("MIDI note 40 is wanted by bridge 'tides' of tides (soundforge-tides 1.0), but the MIDI map")
