"""Registering plugins: checks, what each provides, and the provenance report. Finding them: `plugin_finding`.

A plugin that fails is recorded with its name, version and reason, and the rest works on. All of this happens
at set-up; no hook is called in the step loop or the audio callback. Importing this module imports no torch.

Environment: `SOUNDFORGE_PLUGINS=a,b` (entry-point or distribution names; may be empty) limits what loads,
`SOUNDFORGE_TRACE_PLUGINS=1` prints every hook call to stderr.
"""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from soundforge import hookspecs
from soundforge.errors import PluginError
from soundforge.interfaces import CONTRACT_VERSION
from soundforge.plugin_finding import Found, installed_plugins, plugins_in_folder
from soundforge.registry import Origin, Registries
from soundforge.requests import Event

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
            self._take(installed_plugins(self._wanted, self._known))
        if plugins_dir is not None:
            self._take(plugins_in_folder(plugins_dir, self._disabled, self._known))
        if load_entry_points:
            self._tell_unknown()

    # --- loading --------------------------------------------------------------------------------------------

    def _take(self, found: Iterable[Found]) -> None:
        for one in found:
            if one.plugin is None:
                self._fail(one.origin, one.error)
            else:
                self.register(one.plugin, one.origin)

    def _tell_unknown(self) -> None:
        """A slip of the finger in --no-plugin would leave a plugin in that somebody wants out."""
        for name in sorted(self._disabled - self._known):
            near = difflib.get_close_matches(name, self._known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; `soundforge plugins` lists them"
            self._fail(Origin(name), f"is named by --no-plugin, but no plugin is called that{hint}")

    def _wanted(self, name: str, distribution: str) -> bool:
        names = {name, distribution}
        return not names & self._disabled and (self.limited_to is None or bool(names & self.limited_to))

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


def _trace_before(hook_name: str, hook_impls: Sequence[Any], kwargs: Any) -> None:
    names = ", ".join(impl.plugin_name for impl in hook_impls)
    print(f"soundforge plugins: {hook_name}({', '.join(kwargs)}) -> {names or 'nobody'}", file=sys.stderr)


def _trace_after(outcome: Any, hook_name: str, hook_impls: Sequence[Any], kwargs: Any) -> None:
    if outcome.exception is not None:
        print(f"soundforge plugins: {hook_name} raised {outcome.exception!r}", file=sys.stderr)
