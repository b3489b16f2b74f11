"""States as MIDI out, for a controller's lights and motor faders. Pure: events in, `mido.Message`s out.

A lit note has velocity 127, a dark one velocity 0, a dim one velocity 32:

    capture-hold, capture-toggle                 while something is recorded
    continue, generate, regenerate, takeover     while a job waits or runs
    stop                                         while a clip plays
    pad                                          dim with a clip on it, lit while that plays

Controllers that drive a parameter are sent once at the start, so that rings and faders show where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundforge import SoundForgeError
from soundforge.requests import CaptureEvent, ClipEvent, Event, JobEvent
from soundforge_bridges.midi.map import TOP, MidiMap, Scale
from soundforge_bridges.port import SessionPort

CAPTURE = ("capture-hold", "capture-toggle")
JOBS = ("continue", "generate", "regenerate", "takeover")
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

    @property
    def channel(self) -> int:
        """Of the messages, 0 to 15; a map for every channel answers on the first."""
        return max(0, self._map.channel - 1)

    def start(self, session: SessionPort) -> list[Any]:
        """All lights as they are now, and every controller where its parameter stands."""
        import mido

        self._jobs.clear()
        self._clips.clear()
        self._lit.clear()
        messages = self._light(CAPTURE + JOBS + PLAYING, False) + self.pads(session.library.pads)
        for number, target in sorted(self._map.controls.items()):
            if isinstance(target, Scale):
                try:
                    value = session.get_param(target.param)
                except SoundForgeError:
                    continue  # a parameter that this session does not have has no place on the controller
                if not isinstance(value, str):
                    messages.append(mido.Message("control_change", channel=self.channel, control=number,
                                                 value=target.step(value)))
        return messages

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
        return []

    def pads(self, clips: Mapping[int, str]) -> list[Any]:
        """What changes on the pads, given the clip on each; asked after every event and now and then."""
        wanted = {note: 0 if not (clip := clips.get(bound.pad)) else TOP if clip in self._clips else DIM
                  for note, bound in self._map.notes.items() if bound.action == "pad"}
        return self._change(wanted)

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
