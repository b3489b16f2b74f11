"""Melody conditioning by chroma: the tune of a recording without its sound, or of written notes."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Conditioner, ConditionerDescriptor, ConditionerSetup, Host
from soundforge.note_sound import example_sounds

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.chroma.conditioner import make_chroma_conditioner

    return make_chroma_conditioner(host, setup)


def _make_melody(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.chroma.melody import make_midi_melody

    return make_midi_melody(host, setup)


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="chroma", feeds=("chroma",), factory=_make, takes="audio",
        summary="strongest of 12 pitch classes per frame (MusicGen Melody)", examples=example_sounds,
    ))
    register(ConditionerDescriptor(
        name="midi_melody", feeds=("chroma",), factory=_make_melody,
        takes="notes: 'C4 E4 G4 -' (a beat each), 'C4@0 E4@0.5', pairs, or a MIDI file",
        summary="a written melody, for models that follow one they hear (chroma)",
        examples=("C4@0 G4@0.5", "A4@0 -@1"),
    ))
