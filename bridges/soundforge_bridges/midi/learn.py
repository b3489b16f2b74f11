"""MIDI learn: ask for one control after the other, and make a map of what was played. Pure: no ports, no clock.

First the notes (or buttons that send controllers), then the first of sixteen pads, then the knobs. What is not played
in time stays as it was (`skip`, which the bridge calls after a while). A control that is taken already is not taken
twice in one learning: a knob sends many values, and a key its release.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from soundforge_bridges.midi.map import ACTIONS, PADS, TOP, MidiMap, NoteAction, Scale

_HELD = ("capture-hold", "pad")


@dataclass(frozen=True, slots=True)
class Step:
    """One question: where a note's action or a parameter's scale is now (None = nowhere), and what it is."""

    number: int | None
    target: NoteAction | Scale

    @property
    def name(self) -> str:
        if isinstance(self.target, Scale):
            return self.target.param
        return "pad 1 of 16" if self.target.action == "pad" else self.target.action

    @property
    def question(self) -> str:
        now = "nothing" if self.number is None else f"{self.number}"
        if isinstance(self.target, Scale):
            return f"turn the knob for {self.name} (now controller {now})"
        if self.target.action == "pad":
            return f"play the first of sixteen pads in a row (now note {now})"
        return f"play {self.name}: {ACTIONS[self.target.action]} (now note {now})"


class Learner:
    """Asks, and builds a map.

    Args:
        base: the map to begin with.
    """

    def __init__(self, base: MidiMap) -> None:
        self._base = base
        self._notes, self._controls = dict(base.notes), dict(base.controls)
        self._taken: dict[tuple[str, int], str] = {}
        self._channels: set[int] = set()
        self._steps = _steps(base)

    @property
    def done(self) -> bool:
        return not self._steps

    @property
    def question(self) -> str:
        """What to ask now; empty when all is learnt."""
        return self._steps[0].question if self._steps else ""

    @property
    def map(self) -> MidiMap:
        """The map so far. Its channel is the one that was played on, every one when there were several."""
        channel = self._base.channel
        if self._channels:
            channel = min(self._channels) + 1 if len(self._channels) == 1 else 0
        return replace(self._base, channel=channel, notes=dict(self._notes), controls=dict(self._controls))

    def skip(self) -> None:
        """Leave the control that is asked for as it was."""
        if self._steps:
            self._steps.pop(0)

    def hear(self, message: Any) -> str:
        """Take a `mido.Message` as the answer when it can be one; gives a line to say, or ""."""
        if not self._steps:
            return ""
        step = self._steps[0]
        if message.type == "note_on" and message.velocity > 0 and isinstance(step.target, NoteAction):
            number, kind = message.note, "note"
        elif message.type == "control_change" and message.control < 120 and self._control_fits(step, message):
            number, kind = message.control, "controller"
        else:
            return ""
        if (kind, number) in self._taken:
            return "" if kind == "controller" else f"note {number} is {self._taken[kind, number]} already; play another"
        if isinstance(step.target, NoteAction) and step.target.action == "pad" and number + PADS - 1 > TOP:
            return f"note {number} leaves no room for sixteen pads up to {TOP}; play a lower one"
        self._bind(step, kind, number)
        self._channels.add(message.channel)
        self._steps.pop(0)
        return f"{step.name} is {kind} {number}"

    @staticmethod
    def _control_fits(step: Step, message: Any) -> bool:
        if isinstance(step.target, Scale):
            return True
        # A button that sends a controller can be pressed; it cannot be held or struck with a velocity.
        return step.target.action not in _HELD and message.value > TOP // 2

    def _bind(self, step: Step, kind: str, number: int) -> None:
        target = step.target
        if isinstance(target, Scale):
            if step.number is not None:
                self._controls.pop(step.number, None)
            self._controls[number] = target
            self._taken[kind, number] = step.name
            return
        count = PADS if target.action == "pad" else 1
        for note in [note for note, bound in self._notes.items() if bound.action == target.action]:
            if ("note", note) not in self._taken:
                del self._notes[note]
        for offset in range(count):
            self._taken[kind, number + offset] = step.name
            if kind == "controller":
                self._controls[number] = target.action
            else:
                self._notes[number + offset] = replace(target, pad=offset + 1) if target.action == "pad" else target


def _steps(base: MidiMap) -> list[Step]:
    """Every action once, where it is now; then the pads; then every parameter that has a controller."""
    where = {bound.action: (note, bound) for note, bound in sorted(base.notes.items(), reverse=True)}
    actions = [name for name in ACTIONS if name in where and name != "pad"]
    steps = [Step(where[name][0], where[name][1]) for name in actions]
    if "pad" in where:
        steps.append(Step(where["pad"][0], NoteAction("pad", pad=1)))
    return steps + [Step(number, scale) for number, scale in sorted(base.controls.items())
                    if isinstance(scale, Scale)]
