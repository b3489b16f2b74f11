"""What plugins' bridges hear through the built-in ones: OSC addresses, MIDI notes and controllers of their own.

A bridge's descriptor declares them, so that two that want the same are found at load. The running bridge then gets
them through its methods `on_osc(address, arguments)` and `on_midi(kind, number, value)`.

Threading: belongs to the event loop. Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

MidiKind = Literal["note", "control"]
OscReplies = Iterable[Sequence[Any]] | None
OWN_PREFIX = "/soundforge"
_ADDRESS = re.compile(r"(/[A-Za-z0-9_.\-]+)+")


def wrong_claim(osc_addresses: Sequence[Any], midi_notes: Sequence[Any], midi_controls: Sequence[Any]) -> str:
    """What is wrong with declared claims, or ""."""
    for address in osc_addresses:
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address) or len(address) > 200:
            return f"declares the OSC address {address!r}, expected one such as /tides/height"
        if address == OWN_PREFIX or address.startswith(OWN_PREFIX + "/"):
            return f"declares the OSC address {address!r}, but {OWN_PREFIX} is SoundForge's own; choose another prefix"
    for what, numbers in (("note", midi_notes), ("controller", midi_controls)):
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 127:
                return f"declares the MIDI {what} {number!r}, expected a number from 0 to 127"
    return ""


class Claims:
    """Who hears what. Filled by the composition root, read by the OSC and the MIDI bridge."""

    def __init__(self) -> None:
        self.midi_wanted: dict[tuple[MidiKind, int], str] = {}
        self._osc: dict[str, Callable[[str, tuple[Any, ...]], OscReplies]] = {}
        self._midi: dict[tuple[MidiKind, int], Callable[[MidiKind, int, int], None]] = {}

    def want_midi(self, who: str, notes: Sequence[int], controls: Sequence[int]) -> None:
        """Known before any bridge starts, so that the MIDI map can be compared with it."""
        self.midi_wanted.update({("note", number): who for number in notes})
        self.midi_wanted.update({("control", number): who for number in controls})

    def bind(self, bridge: Any, addresses: Sequence[str], notes: Sequence[int], controls: Sequence[int]) -> None:
        """A bridge that runs hears what its descriptor declared."""
        self._osc.update(dict.fromkeys(addresses, bridge.on_osc) if addresses else {})
        midi: list[tuple[MidiKind, int]] = [*(("note", n) for n in notes), *(("control", n) for n in controls)]
        self._midi.update(dict.fromkeys(midi, bridge.on_midi) if midi else {})

    def osc(self, address: str) -> Callable[[str, tuple[Any, ...]], OscReplies] | None:
        """Who hears an OSC address."""
        return self._osc.get(address)

    def midi(self, kind: MidiKind, number: int, value: int) -> bool:
        """Hand a note (value = velocity, 0 = let go) or a controller to who hears it; whether anybody does."""
        heard = self._midi.get((kind, number))
        if heard is not None:
            heard(kind, number, value)
        return heard is not None
