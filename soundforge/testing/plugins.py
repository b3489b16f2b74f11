"""The conformance check of a whole plugin: how it imports, what it registers, and how long that takes.

The plugin is imported in a fresh interpreter: in this one torch may be loaded already.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from soundforge.errors import InputError
from soundforge.interfaces import CONTRACT_VERSION
from soundforge.plugin_finding import ENTRY_POINT_GROUP
from soundforge.testing.asserting import require

HEAVY_MODULES = ("torch", "transformers", "sounddevice", "mido", "pythonosc", "scipy", "matplotlib", "huggingface_hub")

_PROBE = """
import importlib, json, pathlib, sys, tempfile, time
module, heavy, path = json.loads(sys.argv[1])
sys.path[:0] = path
import soundforge.plugin_manager as manager_module
from soundforge.registry import Origin
before = set(sys.modules)
out = {"error": "", "hooks": [], "provides": {}, "contract": None, "no_summary": []}
began = time.perf_counter()
try:
    plugin = importlib.import_module(module)
except BaseException as error:
    out["error"] = f"cannot be imported ({type(error).__name__}: {error})"
else:
    manager = manager_module.PluginManager(load_entry_points=False)
    manager.register(plugin, Origin("checked"))
    info = manager.report()[0]
    out.update(error=info.error, hooks=info.hooks, provides=info.provides,
               contract=getattr(plugin, "SOUNDFORGE_CONTRACT", None))
    for registry in manager.registries.by_hook().values():
        out["no_summary"] += [name for name in registry if not registry[name].summary.strip()]
    with tempfile.TemporaryDirectory() as folder:
        for family in manager.registries.model_families.values():
            family.recognises(pathlib.Path(folder))
out["seconds"] = time.perf_counter() - began
out["heavy"] = sorted(name for name in heavy if name in sys.modules and name not in before)
print(json.dumps(out))
"""


@dataclass(frozen=True)
class PluginFacts:
    """What a fresh interpreter saw of a plugin's module.

    Args:
        module: that was imported.
        error: why it was refused, or "".
        hooks: that it implements.
        provides: names by kind.
        contract: its `SOUNDFORGE_CONTRACT`, or None.
        heavy: modules of `HEAVY_MODULES` that importing, registering and recognising brought in.
        no_summary: names registered without a summary.
        seconds: that all of it took.
    """

    module: str
    error: str
    hooks: Sequence[str]
    provides: Mapping[str, Sequence[str]]
    contract: object
    heavy: Sequence[str]
    no_summary: Sequence[str] = ()
    seconds: float = field(default=0.0, compare=False)


def find_plugin_modules(package: str) -> list[str]:
    """Modules behind an entry point's name, a distribution's name, or a module's own.

    Raises:
        InputError: nothing is called that.
    """
    entries = metadata.entry_points(group=ENTRY_POINT_GROUP)
    wanted = package.lower().replace("-", "_")
    found = {entry.value for entry in entries if entry.name == package}
    found |= {entry.value for entry in entries
              if entry.dist is not None and entry.dist.name.lower().replace("-", "_") == wanted}
    if found:
        return sorted(found)
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None or spec.origin is None:  # a folder that merely has that name is a namespace, without origin
        raise InputError(f"plugin came as {package!r}, expected an installed distribution, an entry point of the group "
                         f"{ENTRY_POINT_GROUP!r}, a module, or its file; install it first (`pip install -e .`), or go "
                         "into the folder where the module lies")
    return [package]


def probe_plugin(module: str) -> PluginFacts:
    """Import and register a plugin's module in a fresh interpreter and say what came of it."""
    argument = json.dumps([module, HEAVY_MODULES, [p for p in sys.path if p]])
    done = subprocess.run([sys.executable, "-c", _PROBE, argument], capture_output=True, text=True, timeout=120,
                          check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no text"])[-1]
        return PluginFacts(module, f"ended a fresh interpreter ({last})", [], {}, None, [])
    return PluginFacts(module=module, **json.loads(lines[-1]))


def check_plugin(module: str, *, max_seconds: float | None = None) -> PluginFacts:
    """Check a plugin's module: imports, registers, brings in nothing heavy, declares its contract.

    Args:
        module: dotted name.
        max_seconds: that import and registering may take; None = not checked.

    Returns:
        What was seen, for reports.

    Raises:
        AssertionError: with one line that says what is wrong.
    """
    facts = probe_plugin(module)
    require(not facts.error, f"plugin {module} {facts.error}")
    require(bool(facts.hooks), f"plugin {module} implements no hook; mark its functions with @soundforge.hookimpl")
    require(not facts.heavy, f"plugin {module} imports {', '.join(facts.heavy)} when it is listed; "
                             "import them inside the factory")
    require(facts.contract == CONTRACT_VERSION,
            f"plugin {module} declares SOUNDFORGE_CONTRACT {facts.contract!r}, expected {CONTRACT_VERSION}")
    require(not facts.no_summary, f"plugin {module} registers {', '.join(facts.no_summary)} without a summary")
    require(max_seconds is None or facts.seconds <= max_seconds,
            f"plugin {module} took {facts.seconds:.2f} s to import and register, expected at most {max_seconds} s")
    return facts
