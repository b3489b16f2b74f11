"""Finding and registering plugins: entry points, one-file plugins, checks, and the provenance report.

A plugin that fails is recorded with its name, version and reason, and the rest works on. All of this happens
at set-up; no hook is called in the step loop or the audio callback. Importing this module imports no torch.

Environment: `SOUNDFORGE_PLUGINS=a,b` (entry-point or distribution names; may be empty) limits what loads,
`SOUNDFORGE_TRACE_PLUGINS=1` prints every hook call to stderr.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from soundforge import hookspecs
from soundforge.errors import PluginError, SettingsError
from soundforge.interfaces import CONTRACT_VERSION
from soundforge.registry import Origin, Registries
from soundforge.requests import Event

ENTRY_POINT_GROUP = "soundforge"
PLUGINS_VARIABLE = "SOUNDFORGE_PLUGINS"
TRACE_VARIABLE = "SOUNDFORGE_TRACE_PLUGINS"


@dataclass
class PluginInfo:
    """One line of the provenance report."""

    name: str
    distribution: str = ""
    version: str = ""
    hooks: list[str] = field(default_factory=list)
    provides: dict[str, list[str]] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class EventHook:
    """A plugin's `on_event`; `call(event)` raises whatever the plugin raises."""

    plugin: str
    version: str
    call: Callable[[Event], None]


class PluginManager:
    """Loads plugins and keeps what they registered.

    Args:
        load_entry_points: look for installed plugins (built-ins are found this way too).
        only: entry-point or distribution names to load; None = `SOUNDFORGE_PLUGINS`, or all when that is unset.
        disabled: names that are not loaded (`--no-plugin`).
        plugins_dir: a folder with one-file plugins (`*.py`, but for tests and names that begin with `_`).

    Raises:
        SettingsError: `plugins_dir` is no folder.
    """

    def __init__(self, *, load_entry_points: bool = True, only: Sequence[str] | None = None,
                 disabled: Iterable[str] = (), plugins_dir: Path | None = None) -> None:
        self.registries = Registries()
        self._pm = pluggy.PluginManager("soundforge")
        self._pm.add_hookspecs(hookspecs)
        self._infos: dict[str, PluginInfo] = {}
        self._failures: list[PluginInfo] = []
        self._disabled = set(disabled)
        self._known: set[str] = set()
        self.limited_to = _limit(only)
        if os.environ.get(TRACE_VARIABLE):
            self._pm.add_hookcall_monitoring(before=_trace_before, after=_trace_after)
        if load_entry_points:
            self._load_entry_points()
        if plugins_dir is not None:
            self._load_folder(plugins_dir)
        if load_entry_points:
            self._tell_unknown()

    # --- loading --------------------------------------------------------------------------------------------

    def _load_entry_points(self) -> None:
        found = sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=_builtin_first)
        seen: set[tuple[str, str, str]] = set()
        known = self._known
        for entry in found:
            distribution = entry.dist.name if entry.dist else ""
            version = entry.dist.version if entry.dist else ""
            # An editable install can be listed twice by the same metadata; that is no conflict.
            if (entry.name, entry.value, distribution) in seen:
                continue
            seen.add((entry.name, entry.value, distribution))
            known |= {entry.name, distribution}
            if {entry.name, distribution} & self._disabled or not self._wanted(entry.name, distribution):
                continue
            origin = Origin(entry.name, distribution, version)
            try:
                module = entry.load()
            # A plugin's import may fail in any way at all, SystemExit included; it is recorded, not hidden.
            except (Exception, SystemExit) as error:
                self._fail(origin, f"cannot be imported ({type(error).__name__}: {error})")
                continue
            self.register(module, origin)

    def _load_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SettingsError(f"--plugins-dir came as {str(folder)!r}, which is no folder; give one with *.py files")
        for path in sorted(folder.glob("*.py")):
            self._known.add(path.stem)
            # A plugin's tests often lie beside it; they are no plugins.
            if path.stem in (*self._disabled, "conftest", "setup") or path.stem.startswith(("_", "test_")):
                continue
            origin = Origin(path.stem, str(path.name))
            module_name = f"soundforge_plugin_file_{path.stem}"
            spec = importlib.util.spec_from_file_location(module_name, path)
            if spec is None or spec.loader is None:
                self._fail(origin, "cannot be imported as a Python file")
                continue
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module  # dataclasses and pickling look the module up by name
            try:
                spec.loader.exec_module(module)
            except (Exception, SystemExit) as error:
                del sys.modules[module_name]
                self._fail(origin, f"cannot be imported ({type(error).__name__}: {error})")
                continue
            version = str(getattr(module, "__version__", ""))
            self.register(module, Origin(path.stem, path.name, version))

    def _tell_unknown(self) -> None:
        """A slip of the finger in --no-plugin would leave a plugin in that somebody wants out."""
        for name in sorted(self._disabled - self._known):
            near = difflib.get_close_matches(name, self._known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; `soundforge plugins` lists them"
            self._fail(Origin(name), f"is named by --no-plugin, but no plugin is called that{hint}")

    def _wanted(self, name: str, distribution: str) -> bool:
        return self.limited_to is None or name in self.limited_to or distribution in self.limited_to

    def _fail(self, origin: Origin, what: str) -> None:
        self._failures.append(PluginInfo(origin.plugin, origin.distribution, origin.version, error=what))

    # --- registering ----------------------------------------------------------------------------------------

    def register(self, plugin: ModuleType | object, origin: Origin) -> bool:
        """Check a plugin and take what it registers; False (and a recorded failure) when it breaks a rule."""
        if origin.plugin in self._infos:
            self._fail(origin, f"the plugin name {origin.plugin!r} is taken by "
                               f"{self._infos[origin.plugin].distribution or 'another plugin'}; rename its entry point")
            return False
        reason = self._reason_to_refuse(plugin)
        if reason:
            self._fail(origin, reason)
            return False
        try:
            self._pm.register(plugin, name=origin.plugin)
        except (ValueError, pluggy.PluginValidationError) as error:
            # pluggy keeps a plugin whose validation failed half-registered; take it out again.
            if self._pm.has_plugin(origin.plugin):
                self._pm.unregister(name=origin.plugin)
            self._fail(origin, " ".join(str(error).split()))
            return False
        callers = self._pm.get_hookcallers(plugin) or []
        info = PluginInfo(origin.plugin, origin.distribution, origin.version,
                          hooks=sorted(caller.name for caller in callers))
        self._infos[origin.plugin] = info
        self._collect(plugin, origin, info)
        return True

    def _reason_to_refuse(self, plugin: object) -> str:
        contract = getattr(plugin, "SOUNDFORGE_CONTRACT", CONTRACT_VERSION)
        if contract != CONTRACT_VERSION:
            return (f"was built for contract version {contract!r}, this SoundForge has {CONTRACT_VERSION}; "
                    "install a matching version of the plugin")
        known = {name for name in vars(hookspecs) if name.startswith(("register_", "on_"))}
        for name in dir(plugin):
            if name not in known and isinstance(getattr(getattr(plugin, name, None), "soundforge_impl", None), dict):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; hooks are {', '.join(sorted(known))}"
                return f"implements a hook {name!r} that does not exist{hint}"
        return ""

    def _collect(self, plugin: object, origin: Origin, info: PluginInfo) -> None:
        others = [p for p in self._pm.get_plugins() if p is not plugin]
        errors = []
        for hook, registry in self.registries.by_hook().items():
            if hook not in info.hooks:
                continue
            caller = self._pm.subset_hook_caller(hook, remove_plugins=others)
            try:
                caller(register=registry.adder(origin))
            except PluginError as error:
                errors.append(error.what)
            # Third-party code runs here: whatever it raises is the plugin's failure, not the host's.
            except Exception as error:
                errors.append(f"{hook} raised {type(error).__name__}: {error}")
        info.provides = self.registries.provided_by(origin.plugin)
        if errors:
            info.error = "; ".join(errors)

    # --- afterwards -----------------------------------------------------------------------------------------

    def event_hooks(self) -> list[EventHook]:
        """What to call for each plugin that hears of events."""
        hooks = []
        for plugin in self._pm.get_plugins():
            info = self._infos[self._pm.get_name(plugin) or ""]
            if "on_event" in info.hooks:
                others = [p for p in self._pm.get_plugins() if p is not plugin]
                caller = self._pm.subset_hook_caller("on_event", remove_plugins=others)
                hooks.append(EventHook(info.name, info.version, functools.partial(_call_event, caller)))
        return hooks

    def report(self) -> list[PluginInfo]:
        """Every plugin that was found, failed ones included, sorted by name."""
        return sorted([*self._infos.values(), *self._failures], key=lambda info: (info.name, info.distribution))

    def hooks(self) -> list[str]:
        """Names of all hooks."""
        return sorted(name for name in vars(self._pm.hook) if not name.startswith("_"))


def _call_event(caller: Any, event: Event) -> None:
    caller(event=event)


def _limit(only: Sequence[str] | None) -> frozenset[str] | None:
    if only is not None:
        return frozenset(only)
    value = os.environ.get(PLUGINS_VARIABLE)
    return None if value is None else frozenset(part.strip() for part in value.split(",") if part.strip())


def _builtin_first(entry: metadata.EntryPoint) -> tuple[bool, str, str]:
    """Built-ins are registered first, so that in a conflict of names the newcomer is the one refused."""
    distribution = entry.dist.name if entry.dist else ""
    return distribution != "soundforge", distribution, entry.name


def _trace_before(hook_name: str, hook_impls: Sequence[Any], kwargs: Any) -> None:
    names = ", ".join(impl.plugin_name for impl in hook_impls)
    print(f"soundforge plugins: {hook_name}({', '.join(kwargs)}) -> {names or 'nobody'}", file=sys.stderr)


def _trace_after(outcome: Any, hook_name: str, hook_impls: Sequence[Any], kwargs: Any) -> None:
    if outcome.exception is not None:
        print(f"soundforge plugins: {hook_name} raised {outcome.exception!r}", file=sys.stderr)
