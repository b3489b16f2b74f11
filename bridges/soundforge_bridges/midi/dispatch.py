"""From a MIDI message to the session's methods, by the map. Pure logic: no ports, no threads; on the event loop.

MIDI has no way to answer, so what the session refuses is given to `report` as one line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from soundforge import RequestError, SoundForgeError
from soundforge.requests import CaptureEvent, Event
from soundforge_bridges.midi.chords import CONDITION, ChordTrack
from soundforge_bridges.midi.map import TOP, MidiMap, NoteAction, Scale
from soundforge_bridges.port import SessionPort

ORIGIN = "midi"


class Dispatcher:
    """Carries out MIDI messages.

    Args:
        session: what is driven.
        midi_map: what does what.
        presets: texts for Program Change that the map does not name.
        report: hears of refusals, one line each.
    """

    def __init__(self, session: SessionPort, midi_map: MidiMap, presets: Sequence[str] = (),
                 report: Callable[[str], None] = print) -> None:
        self._session, self._map, self._presets, self._report = session, midi_map, tuple(presets), report
        self._capturing = False
        self._held: dict[tuple[int, int], NoteAction] = {}
        self._controls: dict[tuple[int, int], int] = {}
        self._chords = None if midi_map.chords is None else ChordTrack(midi_map.chords)

    def on_event(self, event: Event) -> None:
        """From the session: whoever started or ended a capture, the toggle must know."""
        if isinstance(event, CaptureEvent):
            self._capturing = event.kind == "started"

    def on_message(self, message: Any) -> None:
        """Carry out one `mido.Message`; anything that the map does not name is left alone."""
        channel = getattr(message, "channel", None)
        if channel is None:
            return
        try:
            if self._heard_as_chord(message, channel):
                return
            if self._map.channel not in (0, channel + 1):
                return
            if message.type == "note_on" and message.velocity > 0:
                self._note_on((channel, message.note), message.velocity)
            elif message.type in ("note_on", "note_off"):
                self._note_off((channel, message.note))
            elif message.type == "control_change":
                self._control(channel, message.control, message.value)
            elif message.type == "program_change":
                self._program(message.program)
        except SoundForgeError as error:
            self._report(str(error))

    def _heard_as_chord(self, message: Any, channel: int) -> bool:
        """Whether the message is a note of the chords' channel; what it changes is told to the session."""
        chosen = self._map.chords
        if chosen is None or self._chords is None or channel + 1 != chosen.channel:
            return False
        if message.type == "note_on" and message.velocity > 0:
            text = self._chords.note_on(message.note, self._session.transport().beat)
            if text is not None:
                self._session.set_condition(CONDITION, text)
        elif message.type in ("note_on", "note_off"):
            self._chords.note_off(message.note)
        return message.type in ("note_on", "note_off")

    def release_held(self) -> None:
        """An input vanished: notes that were held on it will never be let go."""
        if self._chords is not None:
            self._chords.release_all()
        for key in tuple(self._held):
            try:
                self._note_off(key)
            except SoundForgeError as error:
                self._report(str(error))

    def _note_on(self, key: tuple[int, int], velocity: int) -> None:
        action = self._map.notes.get(key[1])
        if action is None:
            self._session.claims.midi("note", key[1], velocity)
            return
        if action.action == "capture-hold":
            if key not in self._held:
                self._session.capture_start(origin=ORIGIN)
                self._held[key] = action  # only now: a capture that was refused is not ended later
            return
        self._act(action, velocity)
        if action.action == "pad":
            self._held[key] = action

    def _note_off(self, key: tuple[int, int]) -> None:
        if key[1] not in self._map.notes:
            self._session.claims.midi("note", key[1], 0)
        held = self._held.pop(key, None)
        if held is None:
            return
        if held.action == "pad":
            self._session.release_pad(held.pad)
        else:
            self._session.capture_stop()

    def _control(self, channel: int, control: int, value: int) -> None:
        target = self._map.controls.get(control)
        if target is None:
            self._session.claims.midi("control", control, value)
        elif isinstance(target, Scale):
            self._session.set_param(target.param, target.value(value))
        else:
            # A pedal sends many values on its way down: it acts once, when it passes the middle. Channel mode
            # messages (120 and up) mean what they say whatever their value is.
            before = self._controls.get((channel, control), 0)
            self._controls[channel, control] = value
            if control >= 120 or (value > TOP // 2 >= before):
                self._act(NoteAction(target), TOP)

    def _program(self, program: int) -> None:
        text = self._map.programs.get(program)
        if text is None:
            if program >= len(self._presets):
                raise RequestError(f"program {program} came and the settings hold {len(self._presets)} presets; "
                                   f"add presets in soundforge.toml or [programs] {program} = \"...\" in the MIDI map")
            text = self._presets[program]
        self._session.set_param("text", text)

    def _act(self, action: NoteAction, velocity: int) -> None:
        session, gain = self._session, velocity / TOP
        if action.action == "capture-toggle":
            if self._capturing:
                session.capture_stop()
            else:
                session.capture_start(origin=ORIGIN)
        elif action.action == "continue":
            session.continue_take(origin=ORIGIN, gain=gain)
        elif action.action == "generate":
            session.generate(origin=ORIGIN, gain=gain)
        elif action.action == "continue-endless":
            session.continue_take(origin=ORIGIN, gain=gain, endless=True)
        elif action.action == "generate-endless":
            session.generate(origin=ORIGIN, gain=gain, endless=True)
        elif action.action == "regenerate":
            session.regenerate(origin=ORIGIN, gain=gain)
        elif action.action == "takeover":
            session.takeover(action.bars_in, action.bars_out, origin=ORIGIN, gain=gain)
        elif action.action == "pad":
            session.play_pad(action.pad, gain)
        elif action.action == "cancel":
            session.cancel("*")
        elif action.action in ("stop", "silence"):
            session.silence()
        elif action.action == "release":
            session.release()
        elif action.action == "panic":
            session.panic()
        else:
            raise RequestError(f"the MIDI map names the action {action.action!r}, which does not exist")
