"""The host that factories ask for other parts, and the way from a model's name to its family.

Parts are built once and kept. Thread-safe: building is guarded by one lock. Importing this module imports no
torch; the factories do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from soundforge.errors import CheckpointError, PluginError, SoundForgeError
from soundforge.interfaces import (
    Codec,
    Conditioner,
    ConditionerSetup,
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
    """`soundforge.interfaces.Host` over a `PluginManager`."""

    def __init__(self, manager: PluginManager) -> None:
        self.manager = manager
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
                self._codecs[key] = self._build(self.registries.codecs, name,
                                                lambda: descriptor.factory(self, source))
            return self._codecs[key]

    def conditioner(self, name: str, setup: ConditionerSetup) -> Conditioner:
        """A fresh conditioner for one slot; raises `PluginError`, `CheckpointError`."""
        registry = self.registries.conditioners
        descriptor = registry.require(name)
        if setup.slot.name not in descriptor.feeds:
            raise PluginError(f"conditioner {name!r} feeds {', '.join(descriptor.feeds)}, and the model's slot is "
                              f"{setup.slot.name!r} ({setup.slot.fuse}, width {setup.slot.width})",
                              registry.origin(name).plugin, registry.origin(name).version)
        with self._lock:
            return self._build(registry, name, lambda: descriptor.factory(self, setup))

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
        """
        text = os.fspath(name)
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
        with self._lock:
            return self._build(self.registries.model_families, family.name,
                               lambda: family.load(self, folder, options))

    def _recognises(self, family: ModelFamilyDescriptor, folder: Path) -> bool:
        registry = self.registries.model_families
        return bool(self._build(registry, family.name, lambda: family.recognises(folder)))

    def _limit_hint(self) -> str:
        limit = self.manager.limited_to
        return "" if limit is None else f" ({PLUGINS_VARIABLE} limits plugins to {', '.join(sorted(limit)) or 'none'})"

    @staticmethod
    def _build(registry: Registry[T], name: str, make: Callable[[], R]) -> R:
        origin = registry.origin(name)
        try:
            return make()
        except SoundForgeError:
            raise
        except MemoryError:
            raise
        # Third-party code: its failure must name it, and must not look like ours.
        except Exception as error:
            raise PluginError(f"{registry.kind} {name!r} raised {type(error).__name__}: {error}",
                              origin.plugin, origin.version) from error


def create_host(*, load_entry_points: bool = True, only: Sequence[str] | None = None,
                disabled: Iterable[str] = (), plugins_dir: Path | None = None) -> PluginHost:
    """A host with all plugins registered; arguments as of `PluginManager`."""
    return PluginHost(PluginManager(load_entry_points=load_entry_points, only=only, disabled=disabled,
                                    plugins_dir=plugins_dir))
