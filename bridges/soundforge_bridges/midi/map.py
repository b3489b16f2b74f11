"""The MIDI map: which note, controller or program does what. One table; a TOML file changes any of it.

The default map is the one promised to users, on channel 1. Values are plain numbers as MIDI has them (0 to 127,
channels 1 to 16); how a controller's 128 steps become a parameter is `Scale`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from soundforge.live.params import find_param
from soundforge_bridges.midi.chords import ChordInput

Curve = Literal["linear", "log"]
TOP = 127
PADS = 16

ACTIONS: Mapping[str, str] = MappingProxyType({
    "capture-hold": "records while the note is held",
    "capture-toggle": "begins to record, ends it the next time",
    "continue": "goes on from the last take",
    "generate": "makes a clip from `param/text`",
    "regenerate": "the last continuation once more, with another seed",
    "takeover": "records bars from the next bar line and goes on without a gap",
    "continue-endless": "goes on from the last take until it is released",
    "generate-endless": "makes music from `param/text` until it is released",
    "release": "ends a takeover, or another job, that has no end",
    "stop": "stops what sounds; jobs go on",
    "cancel": "cancels all jobs",
    "panic": "everything silent at once, all jobs cancelled",
    "pad": "plays a pad's clip (or stops it, as `/soundforge/pad/set` says), louder with velocity",
    "silence": "stops what sounds; cancels nothing (hosts send it at every stop)",
})
"""Every action by name; the velocity of a note that starts a sound is the sound's gain (127 = full). In the map a note
may also be "none", which takes it out of the default map."""


@dataclass(frozen=True, slots=True)
class NoteAction:
    """What a note does. `pad` for the action pad; `bars_in` and `bars_out` for takeover (0 out = until released)."""

    action: str
    pad: int = 0
    bars_in: int = 4
    bars_out: int = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """How a controller drives a parameter: from `low` at 0 to `high` at 127, evenly or by equal ratios (log)."""

    param: str
    low: float
    high: float
    curve: Curve = "linear"

    def value(self, step: int) -> float | int:
        """The parameter's value at a controller's 0 to 127; both ends are exact, integers are rounded."""
        kind = find_param(self.param).kind
        if kind == "switch":
            return int(step > TOP // 2)
        if step <= 0 or step >= TOP:
            value = self.high if step > 0 else self.low
        elif self.curve == "log":
            value = self.low * (self.high / self.low) ** (step / TOP)
        else:
            value = self.low + (self.high - self.low) * step / TOP
        return round(value) if kind == "integer" else value

    def step(self, value: float) -> int:
        """The controller's position nearest to a value; for lights and motor faders."""
        return min(range(TOP + 1), key=lambda step: abs(self.value(step) - value))


@dataclass(frozen=True)
class MidiMap:
    """A whole map.

    Args:
        channel: 1 to 16, or 0 for every channel.
        notes: action by note number.
        controls: a parameter's scale, or an action's name, by controller number.
        programs: text by program number; programs that are not here pick from the settings' `presets`.
        chords: where chords are played that become the condition `chords`, or None.
    """

    channel: int = 1
    notes: Mapping[int, NoteAction] = field(default_factory=dict)
    controls: Mapping[int, Scale | str] = field(default_factory=dict)
    programs: Mapping[int, str] = field(default_factory=dict)
    chords: ChordInput | None = None


DEFAULT = MidiMap(
    channel=1,
    notes=MappingProxyType({
        36: NoteAction("capture-hold"), 38: NoteAction("capture-toggle"), 40: NoteAction("continue"),
        41: NoteAction("generate"), 42: NoteAction("regenerate"), 43: NoteAction("takeover", bars_in=4, bars_out=4),
        45: NoteAction("stop"), 47: NoteAction("cancel"),
        **{47 + pad: NoteAction("pad", pad=pad) for pad in range(1, PADS + 1)},
    }),
    controls=MappingProxyType({
        20: Scale("temperature", 0, 2), 21: Scale("cfg", 0, 10), 22: Scale("top_k", 1, 1000, "log"),
        23: Scale("seconds", 1, 30), 24: Scale("gain", 0, 2), 25: Scale("crossfade_ms", 0, 100),
        26: Scale("morph", 0, 1),
        120: "silence", 123: "silence",
    }),
)
