"""Registries: what plugins registered, by kind and name, with the plugin and distribution each came from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from soundforge.claims import wrong_claim
from soundforge.errors import PluginError
from soundforge.interfaces import (
    BridgeDescriptor,
    ClipProcessorDescriptor,
    CodecDescriptor,
    ConditionerDescriptor,
    DecoderDescriptor,
    ModelFamilyDescriptor,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,63}")

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a registered part came from: plugin name, distribution and version ("" when unknown)."""

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}".strip()
        return f"{self.plugin} ({source})" if source else self.plugin


class Registry(Generic[D], Mapping[str, D]):
    """Descriptors of one kind by name. Filled at set-up, only read afterwards (then thread-safe)."""

    def __init__(self, kind: str, descriptor: type[D]) -> None:
        self.kind = kind
        self._descriptor = descriptor
        self._entries: dict[str, tuple[D, Origin]] = {}

    def adder(self, origin: Origin) -> Callable[[D], None]:
        """The `register` callable handed to one plugin."""
        return lambda descriptor: self.add(descriptor, origin)

    def add(self, descriptor: D, origin: Origin) -> None:
        """Take a descriptor.

        Raises:
            PluginError: not a descriptor of this kind, an unusable name, or a name that is taken (both
                distributions named: presets refer to names, so a silent renaming is no option).
        """
        if not isinstance(descriptor, self._descriptor):
            raise PluginError(f"registered a {type(descriptor).__name__} as {self.kind}, expected a "
                              f"soundforge.interfaces.{self._descriptor.__name__}", origin.plugin, origin.version)
        name = getattr(descriptor, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(f"registered a {self.kind} called {name!r}, expected 1 to 64 of a-z 0-9 _ . - "
                              "beginning with a letter or digit", origin.plugin, origin.version)
        for attribute in ("factory", "load", "recognises"):
            part = getattr(descriptor, attribute, None)
            if hasattr(descriptor, attribute) and not callable(part):
                raise PluginError(f"{self.kind} {name!r} has a {attribute} that is {part!r}, expected a callable",
                                  origin.plugin, origin.version)
        if name in self._entries:
            raise PluginError(f"{self.kind} {name!r} is registered already by {self._entries[name][1]}, and again by "
                              f"{origin}; disable one of them with --no-plugin", origin.plugin, origin.version)
        if isinstance(descriptor, BridgeDescriptor):
            self._check_claims(descriptor, origin)
        self._entries[name] = (descriptor, origin)

    def _check_claims(self, descriptor: BridgeDescriptor, origin: Origin) -> None:
        """No two bridges hear the same OSC address, MIDI note or controller; raises PluginError naming both."""
        def claims(item: Any) -> dict[str, tuple[Any, ...]]:
            return {"OSC address": item.osc_addresses, "MIDI note": item.midi_notes,
                    "MIDI controller": item.midi_controls}

        own = claims(descriptor)
        wrong = wrong_claim(*own.values())
        if wrong:
            raise PluginError(f"bridge {descriptor.name!r} {wrong}", origin.plugin, origin.version)
        for name, (other, source) in self._entries.items():
            for what, theirs in claims(other).items():
                for wanted in own[what]:
                    if wanted in theirs:
                        raise PluginError(f"bridge {descriptor.name!r} of {origin} wants the {what} {wanted!r}, which "
                                          f"bridge {name!r} of {source} has already; disable one with --no-plugin",
                                          origin.plugin, origin.version)

    def require(self, name: str) -> D:
        """The descriptor called `name`; raises PluginError that lists the choices."""
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            choices = ", ".join(sorted(self._entries)) or "none are loaded (see `soundforge plugins`)"
            raise PluginError(f"there is no {self.kind} called {name!r}; available: {choices}{hint}")
        return self._entries[name][0]

    def origin(self, name: str) -> Origin:
        """Where `name` came from; KeyError when it is not there."""
        return self._entries[name][1]

    def __getitem__(self, name: str) -> D:
        return self._entries[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class Registries:
    """All registries, and which hook fills which."""

    def __init__(self) -> None:
        self.conditioners = Registry("conditioner", ConditionerDescriptor)
        self.codecs = Registry("codec", CodecDescriptor)
        self.model_families = Registry("model family", ModelFamilyDescriptor)
        self.decoders = Registry("decoder", DecoderDescriptor)
        self.clip_processors = Registry("clip processor", ClipProcessorDescriptor)
        self.bridges = Registry("bridge", BridgeDescriptor)

    def by_hook(self) -> dict[str, Registry[Any]]:
        """Registry by the name of the hook that fills it."""
        return {
            "register_conditioners": self.conditioners,
            "register_codecs": self.codecs,
            "register_model_families": self.model_families,
            "register_decoders": self.decoders,
            "register_clip_processors": self.clip_processors,
            "register_bridges": self.bridges,
        }

    def provided_by(self, plugin: str) -> dict[str, list[str]]:
        """Names registered by one plugin, by kind."""
        out: dict[str, list[str]] = {}
        for registry in self.by_hook().values():
            names = sorted(name for name in registry if registry.origin(name).plugin == plugin)
            if names:
                out[registry.kind] = names
        return out
