"""Melody conditioning by chroma: the tune of a recording, without its sound."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Conditioner, ConditionerDescriptor, ConditionerSetup, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.chroma.conditioner import make_chroma_conditioner

    return make_chroma_conditioner(host, setup)


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="chroma", feeds=("chroma",), factory=_make, takes="audio",
        summary="strongest of 12 pitch classes per frame (MusicGen Melody)",
    ))
