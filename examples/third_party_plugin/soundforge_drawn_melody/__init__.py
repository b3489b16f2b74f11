"""A melody drawn as points in time and pitch. Importing this module imports no torch; the factory does."""

import soundforge as sf
from soundforge.interfaces import ConditionerDescriptor

SOUNDFORGE_CONTRACT = 1


def _make(host, setup):
    from soundforge_drawn_melody.conditioner import DrawnMelody

    return DrawnMelody(setup.slot, setup.device)


@sf.hookimpl
def register_conditioners(register):
    register(ConditionerDescriptor(
        "drawn_melody", feeds=("chroma",), fuse="sum", width=12, factory=_make,
        examples=("0:60 2:72", "0:61 1:64.5"),
        takes="points of seconds and MIDI note: '0:60 2:72', or [(0, 60), (2, 72)]",
        summary="a curve drawn in time and pitch, as pitch classes per frame"))
