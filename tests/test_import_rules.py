"""Who may import whom: the table of docs/architecture.md over the syntax tree, and what must come up without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (ROOT / "soundforge", ROOT / "plugins" / "soundforge_plugins", ROOT / "bridges" / "soundforge_bridges")
HEAVY = ("torch", "transformers", "huggingface_hub", "scipy")
FIRST_ROW = ("soundforge.errors", "soundforge.audio", "soundforge.requests", "soundforge.request_record",
             "soundforge.cancel_token", "soundforge.events", "soundforge.settings",
             "soundforge.settings_values", "soundforge.library", "soundforge.library_ids", "soundforge.library_pads",
             "soundforge.clip", "soundforge.take", "soundforge.wav", "soundforge.wav_chunks", "soundforge.wav_file",
             "soundforge.wav_info",
             "soundforge.wav_record", "soundforge.wav_riff", "soundforge.version", "soundforge.logfile",
             "soundforge.tasks")
CONTRACT = ("soundforge.interfaces", "soundforge.hookspecs")
HOST = ("soundforge.plugin_manager", "soundforge.plugin_finding", "soundforge.registry", "soundforge.host")
API = ("soundforge.api", "soundforge.loaded_engine", "soundforge.model_streams", "soundforge.shared_host")
PLUGINS, BRIDGES = "soundforge_plugins", "soundforge_bridges"


@dataclass(frozen=True)
class Import:
    """One import: the module that is named, where it stands, and whether only type checkers see it."""

    module: str
    line: int
    for_types: bool
    in_function: bool


@dataclass(frozen=True)
class Layer:
    """What the modules beginning with one of `members` must not import; `lazily` = allowed inside functions."""

    name: str
    members: tuple[str, ...]
    forbidden: tuple[str, ...]
    except_for: tuple[str, ...] = ()
    lazily: tuple[str, ...] = ()


LAYERS = (
    Layer("values, settings, library", FIRST_ROW,
          (*HEAVY, "pluggy", "sounddevice", "mido", "pythonosc", *CONTRACT, *HOST, "soundforge.nn", "soundforge.engine",
           "soundforge.checkpoints", "soundforge.live", *API, "soundforge.app", "soundforge.cli", PLUGINS,
           BRIDGES)),
    Layer("contract and plugin host", (*CONTRACT, *HOST),
          (*HEAVY, "sounddevice", "soundforge.nn", "soundforge.engine", "soundforge.live", *API,
           "soundforge.app", "soundforge.cli", PLUGINS, BRIDGES), except_for=HOST),
    Layer("networks", ("soundforge.nn",),
          # not the contract's values: codecs built from nn give `soundforge.interfaces.EncodedAudio`
          ("pluggy", "sounddevice", "mido", "pythonosc", "soundforge.hookspecs", *HOST, "soundforge.engine",
           "soundforge.checkpoints", "soundforge.live", *API, "soundforge.app", "soundforge.cli", PLUGINS,
           BRIDGES)),
    Layer("engine", ("soundforge.engine",),
          ("pluggy", "sounddevice", "mido", "pythonosc", *HOST, "soundforge.live", *API, "soundforge.app",
           "soundforge.cli", PLUGINS, BRIDGES)),
    Layer("checkpoints", ("soundforge.checkpoints",),
          ("pluggy", "sounddevice", "mido", "pythonosc", *HOST, "soundforge.live", *API, "soundforge.app",
           "soundforge.cli", PLUGINS, BRIDGES)),
    Layer("live", ("soundforge.live",),
          ("pythonosc", "mido", "soundforge.cli", "soundforge.app", PLUGINS, BRIDGES)),
    Layer("plugins", (PLUGINS,),
          ("sounddevice", "mido", "pythonosc", "soundforge.engine", "soundforge.live", "soundforge.app",
           "soundforge.cli", BRIDGES)),
    Layer("bridges", (BRIDGES,),
          (*HEAVY, "sounddevice", "soundforge.nn", "soundforge.engine", "soundforge.checkpoints", *API,
           "soundforge.cli", PLUGINS)),
)


def module_name(path: Path) -> str:
    base = next(package for package in PACKAGES if path.is_relative_to(package))
    parts = path.relative_to(base.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for package in PACKAGES for path in sorted(package.rglob("*.py"))}


def imports_of(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Every import in a module, relative ones resolved."""
    def visit(node: ast.AST, for_types: bool, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for name in child.names:
                    yield Import(name.name, child.lineno, for_types, in_function)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = module.split(".")
                    keep = len(parts) - child.level + (1 if is_package else 0)
                    base = ".".join([*parts[:keep], *([base] if base else [])])
                yield Import(base, child.lineno, for_types, in_function)
                for name in child.names:
                    yield Import(f"{base}.{name.name}", child.lineno, for_types, in_function)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for part in child.body:
                    yield from visit(ast.Module([part], []), True, in_function)
                for part in child.orelse:
                    yield from visit(ast.Module([part], []), for_types, in_function)
            else:
                inside = in_function or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
                yield from visit(child, for_types, inside)

    yield from visit(ast.parse(source), False, False)


def under(module: str, roots: tuple[str, ...]) -> str | None:
    """The root that `module` is, or lies below."""
    return next((root for root in roots if module == root or module.startswith(root + ".")), None)


def all_imports(module: str, path: Path) -> list[Import]:
    return list(imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py"))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_no_layer_imports_what_lies_below_it(layer: Layer) -> None:
    wrong = [
        f"{module}:{item.line} imports {item.module}"
        for module, path in modules().items() if under(module, layer.members)
        for item in all_imports(module, path)
        if not item.for_types and under(item.module, layer.forbidden)
        and not (layer.except_for and under(item.module, layer.except_for))]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_only_the_audio_process_touches_the_sound_card() -> None:
    allowed = ("soundforge.live.audio_process", "soundforge.hardware", "soundforge.doctor")
    wrong = {f"{module}:{item.line}" for module, path in modules().items() if not under(module, allowed)
             for item in all_imports(module, path)
             if under(item.module, ("sounddevice",)) and not under(module, ("soundforge.live",))}
    assert not wrong


@pytest.mark.parametrize("part", ["sounddevice", "torch", "soundforge.engine"])
def test_in_live_only_one_process_imports_each_heavy_part(part: str) -> None:
    owner = "audio" if part == "sounddevice" else "engine"
    wrong = {f"{module}:{item.line} imports {item.module}" for module, path in modules().items()
             if under(module, ("soundforge.live",)) and owner not in module.rpartition(".")[2]
             for item in all_imports(module, path) if not item.for_types and under(item.module, (part,))}
    assert not wrong


def test_no_plugin_or_bridge_imports_another_one() -> None:
    parts = {entry.value.rpartition(":")[0] or entry.value for entry in metadata.entry_points(group="soundforge")}
    wrong = [f"{module}:{item.line} imports {item.module}" for module, path in modules().items()
             for item in all_imports(module, path)
             if (own := under(module, tuple(parts))) and under(item.module, tuple(parts - {own}))]
    assert parts >= {"soundforge_plugins.text", "soundforge_bridges.osc"}
    assert not wrong, "\n".join(wrong)


PUBLIC = ("soundforge.interfaces", "soundforge.audio", "soundforge.clip", "soundforge.errors", "soundforge.requests",
          "soundforge.chord_names", "soundforge.midi_notes", "soundforge.note_sound", "soundforge.written_notes",
          "soundforge.model_conditions", "soundforge.tempo", "soundforge.checkpoints", "soundforge.nn")
"""What built-in plugins may use, and so may anybody's: docs/plugins.md names the same."""


def test_built_in_plugins_eat_what_everybody_s_eat() -> None:
    import soundforge

    names = tuple(f"soundforge.{name}" for name in soundforge.__all__)
    wrong = {f"{module}:{item.line} imports {item.module}" for module, path in modules().items()
             if under(module, (PLUGINS,)) for item in all_imports(module, path)
             if under(item.module, ("soundforge",)) and item.module != "soundforge"
             and not under(item.module, (*PUBLIC, *names))}
    assert not wrong, "\n".join(sorted(wrong))


def test_the_page_names_what_is_public() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert [name for name in PUBLIC if f"`{name}`" not in page] == []


def test_the_walk_sees_imports_of_every_kind() -> None:
    source = ("import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\n"
              "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import h\n"
              "def later():\n    import i\n")
    found = {item.module: (item.for_types, item.in_function) for item in imports_of(source, "p.q.r", False)}
    assert found["a.b"] == found["c.d"] == found["p.q.e"] == found["p.f.g"] == (False, False)
    assert found["h"] == (True, False)
    assert found["i"] == (False, True)


LIGHT = {
    "import soundforge": "import soundforge",
    "the settings": "from soundforge.settings import load_settings; load_settings(environ={})",
    "listing plugins": "from soundforge.plugin_manager import PluginManager; PluginManager().report()",
    "the command line's help": "from soundforge.cli import main; import contextlib, io\n"
                               "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): "
                               "main(['--help'])",
    "the listing of models": "from soundforge.cli import main; import contextlib, io\n"
                             "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): "
                             "main(['models', '--json'])",
}


@pytest.mark.parametrize("what", LIGHT)
def test_comes_up_without_torch(what: str) -> None:
    seen = "import sys; print([m for m in ('torch', 'transformers', 'sounddevice') if m in sys.modules])"
    code = f"{LIGHT[what]}\n{seen}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout
