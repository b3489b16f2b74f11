"""The host that factories ask for other parts, and the way from a model's name to its family.

Parts are built once and kept. Thread-safe: building is guarded by one lock. Importing this module imports no
torch; the factories do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from soundforge.audio import Waveform
from soundforge.errors import CheckpointError, PluginError, RequestError, SettingsError
from soundforge.guarded_parts import (
    GuardedCodec,
    GuardedDecoder,
    guarded_conditioner,
    guarded_processor,
    guarded_stream,
)
from soundforge.guards import OWN_DISTRIBUTION, Guard
from soundforge.interfaces import (
    Codec,
    Conditioner,
    ConditionerSetup,
    Decoder,
    DecoderSetup,
    GenerativeModel,
    LanguageModelParts,
    LoadOptions,
    ModelFamilyDescriptor,
)
from soundforge.plugin_manager import PLUGINS_VARIABLE, PluginManager
from soundforge.registry import Registries, Registry

R = TypeVar("R")
T = TypeVar("T")


class PluginHost:
    """`soundforge.interfaces.Host` over a `PluginManager`.

    Args:
        manager: what is registered.
        call_seconds: how long one call of a third party's part may take (see `soundforge.guards`); None = for ever.
    """

    def __init__(self, manager: PluginManager, call_seconds: float | None = None) -> None:
        self.manager = manager
        self._call_seconds = call_seconds
        self._lock = threading.RLock()  # a factory may ask for another part while its own is being built
        self._codecs: dict[tuple[str, Path | None], Codec] = {}

    @property
    def registries(self) -> Registries:
        return self.manager.registries

    def codec(self, name: str, source: Path | None = None) -> Codec:
        """A codec by registered name; raises `PluginError`, `CheckpointError`."""
        with self._lock:
            key = (name, source)
            if key not in self._codecs:
                descriptor = self.registries.codecs.require(name)
                codec = self._build(self.registries.codecs, name, lambda: descriptor.factory(self, source))
                guard = self._guard(self.registries.codecs, name)
                own = guard.origin.distribution == OWN_DISTRIBUTION
                self._codecs[key] = codec if own else GuardedCodec(codec, guard)
            return self._codecs[key]

    def conditioner(self, name: str, setup: ConditionerSetup) -> Conditioner:
        """A fresh conditioner for one slot; raises `PluginError`, `CheckpointError`."""
        registry = self.registries.conditioners
        descriptor = registry.require(name)
        why = descriptor.misfit(setup.slot)
        if why:
            origin = registry.origin(name)
            raise PluginError(f"conditioner {name!r} {why}", origin.plugin, origin.version)
        with self._lock:
            made = self._build(registry, name, lambda: descriptor.factory(self, setup))
        return guarded_conditioner(made, setup.slot, self._guard(registry, name))

    def decoder(self, name: str, setup: DecoderSetup) -> Decoder:
        """A fresh decoder for one codec; raises `PluginError`, `CheckpointError`."""
        registry = self.registries.decoders
        descriptor = registry.require(name)
        with self._lock:
            made = self._build(registry, name, lambda: descriptor.factory(self, setup))
        return GuardedDecoder(made, setup.codec, self._guard(registry, name))

    def clip_processor(self, name: str, options: Mapping[str, Any]) -> Callable[[Waveform], Waveform]:
        """A clip processor with its options.

        Raises:
            RequestError: there is none of that name, or it does not take these options. PluginError: it failed.
        """
        registry = self.registries.clip_processors
        if name not in registry:
            raise RequestError(f"clip processor came as {name[:80]!r}, expected one of "
                               f"{', '.join(sorted(registry)) or 'none is loaded'}")
        made = self._build(registry, name, lambda: registry[name].factory(self, options))
        return guarded_processor(made, self._guard(registry, name))

    def resolve(self, name: str) -> Path:
        """The local folder of a checkpoint: a folder as it is, else from the hub's cache or the hub."""
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        from soundforge.checkpoints import hub

        return hub.resolve(name)

    def find_model(self, name: str | os.PathLike[str]) -> tuple[ModelFamilyDescriptor, Path | None]:
        """The family that loads `name` (embedded name, folder, or hub name) and the folder, None when embedded.

        Raises:
            CheckpointError: no such folder, or no family recognises it.
            SettingsError: what came is no name.
        """
        text = name_of(name, "model")
        families = self.registries.model_families
        for family in families.values():
            if text in family.embedded:
                return family, None
        folder = Path(text).expanduser()
        if not folder.is_dir():
            embedded = ", ".join(sorted(e for f in families.values() for e in f.embedded)) or "none"
            if "/" not in text or text.startswith((".", "/", "~")) or folder.exists():
                raise CheckpointError(f"there is no model {text!r}: no folder of that name; embedded models: "
                                      f"{embedded}; published ones: see `soundforge models`{self._limit_hint()}")
            _check_is_model(text)
            folder = self.resolve(text)
        for family in families.values():
            if self._recognises(family, folder):
                return family, folder
        raise CheckpointError(f"the folder {str(folder)!r} is no checkpoint that a loaded model family recognises "
                              f"(families: {', '.join(sorted(families)) or 'none'}); expected state_dict.bin, or "
                              f"config.json beside safetensors{self._limit_hint()}")

    def load_model(self, name: str | os.PathLike[str], options: LoadOptions) -> LanguageModelParts | GenerativeModel:
        """Load a model by embedded name, folder, or hub name; raises `CheckpointError`, `PluginError`."""
        family, folder = self.find_model(name)
        registry = self.registries.model_families
        with self._lock:
            loaded = self._build(registry, family.name, lambda: family.load(self, folder, options))
        origin = registry.origin(family.name)
        if not isinstance(loaded, LanguageModelParts) and origin.distribution != OWN_DISTRIBUTION:
            # A clip as a whole takes what it takes, as long as the model says that it goes on.
            loaded.stream = guarded_stream(loaded.stream, self._guard(registry, family.name))  # type: ignore[method-assign]
        return loaded

    def _recognises(self, family: ModelFamilyDescriptor, folder: Path) -> bool:
        registry = self.registries.model_families
        return bool(self._build(registry, family.name, lambda: family.recognises(folder)))

    def _limit_hint(self) -> str:
        limit = self.manager.limited_to
        return "" if limit is None else f" ({PLUGINS_VARIABLE} limits plugins to {', '.join(sorted(limit)) or 'none'})"

    def _guard(self, registry: Registry[T], name: str) -> Guard:
        return Guard(registry.kind, name, registry.origin(name), self._call_seconds)

    @staticmethod
    def _build(registry: Registry[T], name: str, make: Callable[[], R]) -> R:
        # Without a limit: what is built may have to be fetched first.
        return Guard(registry.kind, name, registry.origin(name)).call("set-up", make)


def _check_is_model(name: str) -> None:
    """Told before gigabytes are fetched: a published codec or decoder makes no music by itself."""
    from soundforge.checkpoints import catalog

    entry = catalog.find(name)
    if entry is not None and entry.kind in ("codec", "decoder"):
        use = f"load_codec({entry.name!r})" if entry.kind == "codec" else "a model with --decoder"
        raise CheckpointError(f"{entry.name} is a {entry.kind}, not a model; use {use}")


def name_of(name: Any, what: str) -> str:
    """The text of a name or path; raises SettingsError for what is neither."""
    if not isinstance(name, (str, os.PathLike)):
        raise SettingsError(f"{what} came as {type(name).__name__}, expected a name or a folder")
    return str(os.fspath(name))


def create_host(*, load_entry_points: bool = True, only: Sequence[str] | None = None,
                disabled: Iterable[str] = (), plugins_dir: Path | None = None,
                call_seconds: float | None = None) -> PluginHost:
    """A host with all plugins registered; arguments as of `PluginManager` and `PluginHost`."""
    return PluginHost(PluginManager(load_entry_points=load_entry_points, only=only, disabled=disabled,
                                    plugins_dir=plugins_dir), call_seconds)
