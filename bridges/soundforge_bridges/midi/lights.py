"""States as MIDI out, for a controller's lights and motor faders. Pure: events in, `mido.Message`s out.

A lit note has velocity 127, a dark one velocity 0:

    capture-hold, capture-toggle                 while something is recorded
    continue, generate, regenerate, takeover     while a job waits or runs
    stop                                         while a clip plays

Controllers that drive a parameter are sent once at the start, so that rings and faders show where they stand.
"""

from __future__ import annotations

from typing import Any

from soundforge import SoundForgeError
from soundforge.requests import CaptureEvent, ClipEvent, Event, JobEvent
from soundforge_bridges.midi.map import TOP, MidiMap, Scale
from soundforge_bridges.port import SessionPort

CAPTURE = ("capture-hold", "capture-toggle")
JOBS = ("continue", "generate", "regenerate", "takeover")
PLAYING = ("stop",)
_OPEN = ("accepted", "progress", "playing")


class Lights:
    """Keeps what is lit, and says what changes."""

    def __init__(self, midi_map: MidiMap) -> None:
        self._map = midi_map
        self._jobs: set[str] = set()
        self._clips: set[str] = set()
        self._lit: dict[int, bool] = {}

    @property
    def channel(self) -> int:
        """Of the messages, 0 to 15; a map for every channel answers on the first."""
        return max(0, self._map.channel - 1)

    def start(self, session: SessionPort) -> list[Any]:
        """All lights dark, and every controller where its parameter stands."""
        import mido

        self._jobs.clear()
        self._clips.clear()
        self._lit.clear()
        messages = self._light(CAPTURE + JOBS + PLAYING, False)
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

    def _light(self, actions: tuple[str, ...], lit: bool) -> list[Any]:
        """Messages for the notes of these actions whose light is not so already."""
        import mido

        messages = []
        for note, bound in sorted(self._map.notes.items()):
            if bound.action in actions and self._lit.get(note) != lit:
                self._lit[note] = lit
                messages.append(mido.Message("note_on", channel=self.channel, note=note, velocity=TOP if lit else 0))
        return messages
