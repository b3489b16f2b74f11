"""States as MIDI out, for a controller's lights and motor faders. Pure: events in, `mido.Message`s out.

A lit note has velocity 127, a dark one velocity 0, a dim one velocity 32:

    capture-hold, capture-toggle                 while something is recorded
    continue, generate, regenerate, takeover     while a job waits or runs
    stop                                         while a clip plays
    pad                                          dim with a clip on it, lit while that plays

Controllers that drive a parameter are sent at the start and whenever somebody else moves that parameter, so that
rings and motor faders show where it stands; a fader is never sent back what it has just said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundforge import SoundForgeError
from soundforge.requests import CaptureEvent, ClipEvent, Event, JobEvent, ParamEvent
from soundforge_bridges.midi.map import TOP, MidiMap, Scale
from soundforge_bridges.port import SessionPort

CAPTURE = ("capture-hold", "capture-toggle")
JOBS = ("continue", "continue-endless", "generate", "generate-endless", "regenerate", "takeover")
PLAYING = ("stop",)
DIM = 32
_OPEN = ("accepted", "progress", "playing")


class Lights:
    """Keeps what is lit, and says what changes."""

    def __init__(self, midi_map: MidiMap) -> None:
        self._map = midi_map
        self._jobs: set[str] = set()
        self._clips: set[str] = set()
        self._lit: dict[int, int] = {}
        self._stands: dict[int, int] = {}

    @property
    def channel(self) -> int:
        """Of the messages, 0 to 15; a map for every channel answers on the first."""
        return max(0, self._map.channel - 1)

    def start(self, session: SessionPort) -> list[Any]:
        """All lights as they are now, and every controller where its parameter stands."""
        self._jobs.clear()
        self._clips.clear()
        self._lit.clear()
        self._stands.clear()
        messages = self._light(CAPTURE + JOBS + PLAYING, False) + self.pads(session.library.pads)
        for number, target in sorted(self._map.controls.items()):
            if isinstance(target, Scale):
                try:
                    value = session.get_param(target.param)
                except SoundForgeError:
                    continue  # a parameter that this session does not have has no place on the controller
                messages += self._move(number, target, value)
        return messages

    def heard(self, control: int, value: int) -> None:
        """A controller was moved by hand: that is where it stands."""
        self._stands[control] = value

    def on_event(self, event: Event) -> list[Any]:
        """What an event changes."""
        if isinstance(event, CaptureEvent):
            return self._light(CAPTURE, event.kind == "started")
        if isinstance(event, JobEvent):
            (self._jobs.add if event.kind in _OPEN else self._jobs.discard)(event.job)
            return self._light(JOBS, bool(self._jobs))
        if isinstance(event, ClipEvent) and event.kind in ("playing", "stopped", "deleted"):
            (self._clips.add if event.kind == "playing" else self._clips.discard)(event.clip)
            return self._light(PLAYING, bool(self._clips))
        if isinstance(event, ParamEvent):
            return [message for number, target in sorted(self._map.controls.items())
                    if isinstance(target, Scale) and target.param == event.name
                    for message in self._move(number, target, event.value)]
        return []

    def pads(self, clips: Mapping[int, str]) -> list[Any]:
        """What changes on the pads, given the clip on each; asked after every event and now and then."""
        wanted = {note: 0 if not (clip := clips.get(bound.pad)) else TOP if clip in self._clips else DIM
                  for note, bound in self._map.notes.items() if bound.action == "pad"}
        return self._change(wanted)

    def _move(self, control: int, scale: Scale, value: str | float) -> list[Any]:
        """A controller to where a value stands, unless it stands there."""
        import mido

        if isinstance(value, str) or (control in self._stands and scale.value(self._stands[control]) == value):
            return []
        self._stands[control] = scale.step(value)
        return [mido.Message("control_change", channel=self.channel, control=control, value=self._stands[control])]

    def _light(self, actions: tuple[str, ...], lit: bool) -> list[Any]:
        """Messages for the notes of these actions whose light is not so already."""
        return self._change({note: TOP if lit else 0 for note, bound in self._map.notes.items()
                             if bound.action in actions})

    def _change(self, wanted: Mapping[int, int]) -> list[Any]:
        import mido

        changed = {note: velocity for note, velocity in sorted(wanted.items()) if self._lit.get(note) != velocity}
        self._lit.update(changed)
        return [mido.Message("note_on", channel=self.channel, note=note, velocity=velocity)
                for note, velocity in changed.items()]
