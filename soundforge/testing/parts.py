"""All checks of all parts that a plugin registers, from what the plugin itself declares.

`soundforge plugin check`, the pytest plugin (`pytest --soundforge-plugin NAME`) and `plugin_checks` in a test module
run these. A part that needs what is not there (trained weights, a checkpoint) is left to the plugin's own tests, and
said to be.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from soundforge.errors import CheckpointError, PluginError
from soundforge.host import PluginHost
from soundforge.interfaces import (
    BridgeDescriptor,
    CodecDescriptor,
    Conditioner,
    ConditionerDescriptor,
    ConditionerSetup,
    Decoder,
    DecoderDescriptor,
    DecoderSetup,
    ModelFamilyDescriptor,
    Slot,
)
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin, Registries
from soundforge.testing.plugins import check_plugin, find_plugin_modules

MOST_ENCODE_SECONDS = 1.0
TINY_WIDTH = 32


class LeftToItsTestsError(Exception):
    """A check that cannot be made here; the text says why, and what to do."""


@dataclass(frozen=True)
class PartCheck:
    """One check. `run` returns, raises AssertionError with one line, or `LeftToItsTestsError`."""

    name: str
    run: Callable[[], None]


def registered_by(module: str) -> Registries:
    """What one module registers; raises PluginError when it is refused."""
    manager = PluginManager(load_entry_points=False)
    manager.register(importlib.import_module(module), Origin(module))
    info = manager.report()[0]
    if info.error:
        raise PluginError(info.error, module)
    return manager.registries


def host_for(module: str) -> PluginHost:
    """A host with everything that is installed, and this module's parts in place of those of the same names."""
    manager = PluginManager(disabled=_names_of(module))
    manager.register(importlib.import_module(module), Origin(module))
    return PluginHost(manager)


def _names_of(module: str) -> list[str]:
    from importlib import metadata

    return [entry.name for entry in metadata.entry_points(group="soundforge") if entry.value == module]


def checks_of(package: str) -> list[PartCheck]:
    """The checks of a distribution, an entry point, or a module, part by part.

    Raises:
        InputError: nothing is called that.
    """
    return [check for module in find_plugin_modules(package) for check in _checks_of_module(module)]


def plugin_checks(package: str) -> Any:
    """A parametrised test function for a test module: `test_plugin = plugin_checks("soundforge_tides")`."""
    import pytest

    checks = checks_of(package)

    @pytest.mark.parametrize("check", checks, ids=[check.name for check in checks])
    def test(check: PartCheck) -> None:
        try:
            check.run()
        except LeftToItsTestsError as reason:
            pytest.skip(str(reason))

    return test


def _checks_of_module(module: str) -> Iterator[PartCheck]:
    def whole() -> None:
        check_plugin(module)

    yield PartCheck(module, whole)
    try:
        registries = registered_by(module)
    except Exception:
        return  # why is what the first check says
    host: list[PluginHost] = []

    def lazily() -> PluginHost:
        if not host:
            host.append(host_for(module))
        return host[0]

    for conditioner in registries.conditioners.values():
        yield PartCheck(f"conditioner {conditioner.name}", lambda c=conditioner: _conditioner(c, lazily()))  # type: ignore[misc]
    for codec in registries.codecs.values():
        yield PartCheck(f"codec {codec.name}", lambda c=codec: _codec(c, lazily()))  # type: ignore[misc]
    for decoder in registries.decoders.values():
        yield PartCheck(f"decoder {decoder.name}", lambda d=decoder: _decoder(d, lazily()))  # type: ignore[misc]
    for family in registries.model_families.values():
        yield PartCheck(f"model family {family.name}", lambda f=family: _family(f, lazily()))  # type: ignore[misc]
    for processor in registries.clip_processors.values():
        yield PartCheck(f"clip processor {processor.name}", lambda p=processor: _processor(p, lazily()))  # type: ignore[misc]
    for bridge in registries.bridges.values():
        yield PartCheck(f"bridge {bridge.name}", lambda b=bridge: _bridge(b))  # type: ignore[misc]


def build_conditioner(descriptor: ConditionerDescriptor, host: PluginHost) -> tuple[Conditioner, Slot, tuple[Any, ...]]:
    """A conditioner for the slot that it declares (or brings), and its examples; raises LeftToItsTestsError."""
    own = "with soundforge.testing.check_conditioner"
    slot = descriptor.brings or next((slot for slot in map(partial(_slot, descriptor), descriptor.feeds) if slot), None)
    if slot is None:
        raise LeftToItsTestsError(f"it declares no width and feeds {', '.join(descriptor.feeds)}; left to its own "
                                  f"tests, {own}")
    examples = descriptor.example_values()
    if not examples:
        raise LeftToItsTestsError(f"its descriptor has no examples to check it with; left to its own tests, {own}")
    import torch

    from soundforge.testing.tiny_model import tiny_codec

    setup = ConditionerSetup(slot, codec=tiny_codec(), model="tiny", d_model=TINY_WIDTH)
    try:
        torch.manual_seed(0)  # a part without its trained weights may draw some
        return descriptor.factory(host, setup), slot, examples
    except CheckpointError as error:
        raise LeftToItsTestsError(f"it needs weights ({error}); left to its own tests, {own}") from error


def known_slots() -> tuple[Slot, ...]:
    """Slots that a conditioner without a declared width is checked with: the one made for it, else the first of what it
    feeds. They are the starter's (the width of `style` goes with the tiny codec), and MusicGen Melody's chroma."""
    from soundforge.nn.starter_conditions import CHROMA_WIDTH, LEVEL_WIDTH, TRANSPORT_WIDTH

    return (
        Slot("text", "starter_text", 64 + TRANSPORT_WIDTH + CHROMA_WIDTH, "sum", 50.0),
        Slot("transport", "transport", TRANSPORT_WIDTH, "sum", 50.0),
        Slot("chroma", "starter_chroma", CHROMA_WIDTH, "sum", 50.0),
        Slot("style", "starter_style", 16, "sum"),
        Slot("level", "starter_level", LEVEL_WIDTH, "sum"),
        Slot("chroma", "chroma", 12, "prepend", options={"segment_seconds": 2.0, "argmax": True}),
    )


def _slot(descriptor: ConditionerDescriptor, name: str) -> Slot | None:
    known = [slot for slot in known_slots() if slot.name == name]
    fitting = [slot for slot in known if not descriptor.misfit(slot)]
    if fitting:
        return next((slot for slot in fitting if slot.conditioner == descriptor.name), fitting[0])
    if not known and not descriptor.width:
        return None
    fuse = descriptor.fuse or "sum"
    rate = descriptor.frame_rate_hz or (50.0 if fuse == "sum" else None)
    named = known[0].conditioner if known else descriptor.name
    return Slot(name, named, descriptor.width or known[0].width, fuse, rate)


def _conditioner(descriptor: ConditionerDescriptor, host: PluginHost) -> None:
    from soundforge.testing.conditioners import check_conditioner

    made, slot, (value, *others) = build_conditioner(descriptor, host)
    check_conditioner(made, value, other=others[0] if others else None, slot=slot, descriptor=descriptor,
                      max_encode_seconds=MOST_ENCODE_SECONDS)


def build_codec(descriptor: CodecDescriptor, host: PluginHost) -> Any:
    """A codec that is in the package; raises LeftToItsTestsError."""
    own = "left to its own tests, with soundforge.testing.check_codec"
    if descriptor.hub_name:
        raise LeftToItsTestsError(f"its weights come from {descriptor.hub_name}; {own}")
    try:
        return descriptor.factory(host, None)
    except CheckpointError as error:
        raise LeftToItsTestsError(f"it needs weights ({error}); {own}") from error


def _codec(descriptor: CodecDescriptor, host: PluginHost) -> None:
    from soundforge.testing.codecs import check_codec

    check_codec(build_codec(descriptor, host), descriptor=descriptor, tolerance=1e-3)


def build_decoder(descriptor: DecoderDescriptor, host: PluginHost) -> tuple[Decoder, Any]:
    """A decoder with a codec that it takes and that needs no download; raises LeftToItsTestsError."""
    own = "left to its own tests, with soundforge.testing.check_decoder"
    codecs = host.registries.codecs
    name = next((name for name in descriptor.codecs if name in codecs and not codecs[name].hub_name), None)
    if name is None:
        raise LeftToItsTestsError(f"of its codecs ({', '.join(descriptor.codecs)}) none is here without a download; "
                                  f"{own}")
    try:
        codec = host.codec(name)
        return descriptor.factory(host, DecoderSetup(codec, name)), codec
    except CheckpointError as error:
        raise LeftToItsTestsError(f"it needs weights ({error}); {own}") from error


def _decoder(descriptor: DecoderDescriptor, host: PluginHost) -> None:
    from soundforge.testing.sound import check_decoder

    check_decoder(*build_decoder(descriptor, host))


def _family(descriptor: ModelFamilyDescriptor, host: PluginHost) -> None:
    from soundforge.testing.families import check_model_family, check_recognises

    check_recognises(descriptor)
    if not descriptor.embedded:
        raise LeftToItsTestsError("it refuses foreign folders; what it loads is left to its own tests, with "
                                  "soundforge.testing.check_model_family")
    check_model_family(descriptor, host)


def _processor(descriptor: Any, host: PluginHost) -> None:
    from soundforge.testing.sound import check_clip_processor

    check_clip_processor(descriptor.factory(host, {}), keeps_rate=False)


def _bridge(descriptor: BridgeDescriptor) -> None:
    from soundforge.testing.bridges import check_bridge

    check_bridge(descriptor, max_blocking_seconds=5.0)


