"""Chords in time as a condition: symbols, MIDI, or rows of the model's own table; for chroma slots, their sound."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Conditioner, ConditionerDescriptor, ConditionerSetup, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: ConditionerSetup) -> Conditioner:
    if setup.slot.name == "chroma":
        from soundforge_plugins.chords.as_chroma import make_chords_as_chroma

        return make_chords_as_chroma(host, setup)
    from soundforge_plugins.chords.conditioner import make_chords_conditioner

    return make_chords_conditioner(host, setup)


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="chords", feeds=("chords", "chroma"), factory=_make,
        takes="chords: 'Am F C G' (a bar each), 'C@0 G@2 Am@4', pairs, or a MIDI file",
        summary="a chord track, for JASCO's chords and for models that follow a melody (chroma)",
        examples=("C@0 G@1", "Am@0 F@0.5"),
    ))
