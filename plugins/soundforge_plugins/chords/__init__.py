"""Chords in time as a condition: symbols, MIDI, or rows of the model's own table."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Conditioner, ConditionerDescriptor, ConditionerSetup, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.chords.conditioner import make_chords_conditioner

    return make_chords_conditioner(host, setup)


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="chords", feeds=("chords",), factory=_make, takes="chords: 'C@0 G@2 Am@4', pairs, or a MIDI file",
        summary="chord symbols with start times, one embedding per frame (JASCO)",
    ))
