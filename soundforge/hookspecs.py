"""The plugin contract: every hook, and nothing else.

A plugin is a module named by an entry point of the group `soundforge`. It marks its hooks with
`@soundforge.hookimpl`. A `register_*` hook receives a callable and calls it once per descriptor
(see `soundforge.interfaces`): it is called at set-up, in every process that has plugins, and imports nothing heavy.
What a hook raises is recorded as its plugin's failure, and the rest works on. A hook may take fewer arguments than its
specification.
"""

from __future__ import annotations

from collections.abc import Callable

import pluggy

from soundforge.interfaces import (
    BridgeDescriptor,
    ClipProcessorDescriptor,
    CodecDescriptor,
    ConditionerDescriptor,
    DecoderDescriptor,
    ModelFamilyDescriptor,
)
from soundforge.requests import Event

hookspec = pluggy.HookspecMarker("soundforge")
hookimpl = pluggy.HookimplMarker("soundforge")


@hookspec
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    """Register conditioners: parts that turn a user's value into features for a slot."""


@hookspec
def register_codecs(register: Callable[[CodecDescriptor], None]) -> None:
    """Register codecs: waveform to codes and back."""


@hookspec
def register_model_families(register: Callable[[ModelFamilyDescriptor], None]) -> None:
    """Register model families: checkpoint folders to models."""


@hookspec
def register_decoders(register: Callable[[DecoderDescriptor], None]) -> None:
    """Register decoders: codes to waveform by another road than the codec's own."""


@hookspec
def register_clip_processors(register: Callable[[ClipProcessorDescriptor], None]) -> None:
    """Register clip processors: waveform to waveform, after rendering."""


@hookspec
def register_bridges(register: Callable[[BridgeDescriptor], None]) -> None:
    """Register bridges: control from outside (OSC, MIDI, ...)."""


@hookspec
def on_event(event: Event) -> None:
    """Hear of every event (job accepted, clip rendered, take captured, ...).

    Called on a thread of this plugin's own in the control process: it may block, upload, write. Events come one after
    the other; a plugin that is slower than they are loses some. One that raises is reported once and not called again.
    """
