"""Where plugins come from: the entry points of what is installed, and a folder with one-file plugins.

What is found is imported here and given with its origin; what cannot be imported is given with the reason, and the
rest is found all the same. Nothing is registered or called here. Importing this module imports no torch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from soundforge.errors import SettingsError
from soundforge.registry import Origin

ENTRY_POINT_GROUP = "soundforge"


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin: `plugin` to be registered, or None and the reason in `error`."""

    origin: Origin
    plugin: object | None = None
    error: str = ""


def installed_plugins(wanted: Callable[[str, str], bool], known: set[str]) -> Iterator[Found]:
    """Plugins of the entry-point group, built-ins first.

    Args:
        wanted: asked with each one's entry-point and distribution names; one that is not wanted is not imported.
        known: gets the names of all, wanted or not.
    """
    seen: set[tuple[str, str, str]] = set()
    for entry in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=_builtin_first):
        distribution = entry.dist.name if entry.dist else ""
        # An editable install can be listed twice by the same metadata; that is no conflict.
        if (entry.name, entry.value, distribution) in seen:
            continue
        seen.add((entry.name, entry.value, distribution))
        known |= {entry.name, distribution}
        if not wanted(entry.name, distribution):
            continue
        origin = Origin(entry.name, distribution, entry.dist.version if entry.dist else "")
        try:
            module = entry.load()
        # A plugin's import may fail in any way at all, SystemExit included; it is recorded, not hidden.
        except (Exception, SystemExit) as error:
            yield Found(origin, error=_not_imported(error))
        else:
            yield Found(origin, module)


def plugins_in_folder(folder: Path, disabled: set[str], known: set[str]) -> Iterator[Found]:
    """One-file plugins: `*.py`, but for tests and names that begin with `_`.

    Args:
        disabled: names that are not imported.
        known: gets the names of all.

    Raises:
        SettingsError: `folder` is no folder.
    """
    if not folder.is_dir():
        raise SettingsError(f"--plugins-dir came as {str(folder)!r}, which is no folder; give one with *.py files")
    for path in sorted(folder.glob("*.py")):
        known.add(path.stem)
        # A plugin's tests often lie beside it; they are no plugins.
        if path.stem not in (*disabled, "conftest", "setup") and not path.stem.startswith(("_", "test_")):
            yield _from_file(path)


def _from_file(path: Path) -> Found:
    origin = Origin(path.stem, path.name)
    module_name = f"soundforge_plugin_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        return Found(origin, error="cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickling look the module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        return Found(origin, error=_not_imported(error))
    return Found(Origin(path.stem, path.name, str(getattr(module, "__version__", ""))), module)


def _not_imported(error: BaseException) -> str:
    return f"cannot be imported ({type(error).__name__}: {error})"


def _builtin_first(entry: metadata.EntryPoint) -> tuple[bool, str, str]:
    """Built-ins are registered first, so that in a conflict of names the newcomer is the one refused."""
    distribution = entry.dist.name if entry.dist else ""
    return distribution != "soundforge", distribution, entry.name
