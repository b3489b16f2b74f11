"""Style conditioning: a few seconds of a recording set the sound of what is generated (MusicGen-Style)."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Conditioner, ConditionerDescriptor, ConditionerSetup, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.style.loading import make_style_conditioner

    return make_style_conditioner(host, setup)


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    register(ConditionerDescriptor(
        name="style", feeds=("style",), factory=_make, takes="audio",
        summary="quantised style of an excerpt (MusicGen-Style); options eval_q, excerpt_seconds, "
                "excerpt_start_seconds",
    ))
