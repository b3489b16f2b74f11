"""Bridges, and the host that factories ask for other parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from soundforge.interfaces.codecs import Codec
    from soundforge.interfaces.conditions import Conditioner, ConditionerSetup


@runtime_checkable
class Bridge(Protocol):
    """Connects the session to the outside (OSC, MIDI, ...). Lives on the control process's event loop."""

    async def start(self) -> None:
        """Open ports; raise a `SoundForgeError` whose text says what to do when that fails."""
        ...

    async def stop(self) -> None:
        """Close everything; safe to call twice."""
        ...


@dataclass(frozen=True)
class BridgeDescriptor:
    """A registered bridge.

    Args:
        name: unique.
        factory: `factory(session, settings)` with `soundforge.live.session.Session` and `Settings`.
        summary: one line.
        default: started by `soundforge serve`.
        osc_addresses: addresses outside `/soundforge` that come to SoundForge's OSC port and are this bridge's:
            its method `on_osc(address, arguments)` gets them and gives replies `(address, argument, ...)`, or None.
        midi_notes, midi_controls: of SoundForge's MIDI inputs, on the map's channel: its method
            `on_midi(kind, number, value)` gets them ("note" with the velocity, 0 = let go; "control").

    Two bridges that declare the same are refused at load; a note that the MIDI map uses stays the map's, and that is
    told when the server starts. `on_osc` and `on_midi` run on the event loop: they must not block.
    """

    name: str
    factory: Callable[[Any, Any], Bridge]
    summary: str = ""
    default: bool = True
    osc_addresses: tuple[str, ...] = ()
    midi_notes: tuple[int, ...] = ()
    midi_controls: tuple[int, ...] = ()


@runtime_checkable
class Host(Protocol):
    """What a factory may ask of the host. Every part it gives is loaded once and kept."""

    def codec(self, name: str, source: Path | None = None) -> Codec:
        """A codec by registered name, built from `source` when given; raises `CheckpointError`, `PluginError`."""
        ...

    def conditioner(self, name: str, setup: ConditionerSetup) -> Conditioner:
        """A fresh conditioner by registered name for one slot."""
        ...

    def resolve(self, name: str) -> Path:
        """The local folder of a checkpoint named by folder or hub name; raises `NotCachedError`."""
        ...
