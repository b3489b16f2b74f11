"""JASCO: text, chords, drums and melody to music, by flow matching over codec latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soundforge import hookimpl
from soundforge.checkpoints.audiocraft_kind import audiocraft_kind
from soundforge.interfaces import (
    Conditioner,
    ConditionerDescriptor,
    ConditionerSetup,
    GenerativeModel,
    Host,
    LoadOptions,
    ModelFamilyDescriptor,
)

SOUNDFORGE_CONTRACT = 1


def _recognises(folder: Path) -> bool:
    return audiocraft_kind(folder) == "flow_matching"


def _load(host: Host, folder: Path | None, options: LoadOptions) -> GenerativeModel:
    from soundforge_plugins.jasco.loading import load_model

    return load_model(host, folder, options)


def _make_drums(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.jasco.drums import make_drums_conditioner

    return make_drums_conditioner(host, setup)


def _make_melody(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.jasco.melody import make_melody_conditioner

    return make_melody_conditioner(host, setup)


@hookimpl
def register_model_families(register: Callable[[ModelFamilyDescriptor], None]) -> None:
    register(ModelFamilyDescriptor(
        name="jasco", recognises=_recognises, load=_load,
        summary="JASCO (10 s): flow matching with chords, drums and melody in time",
    ))


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="drums", feeds=("drums",), factory=_make_drums, takes="audio",
        summary="the coarse sound of a drum track, frame by frame (JASCO)",
    ))
    register(ConditionerDescriptor(
        name="melody", feeds=("melody",), factory=_make_melody,
        takes="audio, a MIDI file, or a salience matrix",
        summary="the strongest note of every frame (JASCO)",
    ))
