"""Text conditioning by T5, as MusicGen, AudioGen and their relatives were trained with it."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Conditioner, ConditionerDescriptor, ConditionerSetup, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.text.conditioner import make_text_conditioner

    return make_text_conditioner(host, setup)


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="text", feeds=("text",), factory=_make, takes="text",
        summary="T5 encoder; the checkpoint's own, its text_encoder/ folder, or the hub's",
    ))
