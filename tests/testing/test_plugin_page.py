"""docs/plugins.md is true: its files work, its tests pass, and every hook stands there as it is, and has a test."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import soundforge as sf
from soundforge import hookspecs
from soundforge.interfaces import (
    BridgeDescriptor,
    ClipProcessorDescriptor,
    CodecDescriptor,
    ConditionerDescriptor,
    ConditionerSetup,
    DecoderDescriptor,
    ModelFamilyDescriptor,
)
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin
from soundforge.requests import NoticeEvent
from soundforge.testing import check_conditioner

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "plugins.md"
FURTHER = (ROOT / "docs" / "plugins-testing.md", ROOT / "docs" / "plugins-shapes.md")
REFERENCE = ROOT / "docs" / "plugins-reference.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
HOOKS = {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "soundforge_spec")}


def _nothing(*arguments: Any) -> Any:
    return None


DESCRIPTORS = {
    "register_conditioners": ConditionerDescriptor("part", ("text",), _nothing),
    "register_codecs": CodecDescriptor("part", _nothing, 8000, 1, 50.0, 2, 16),
    "register_model_families": ModelFamilyDescriptor("part", _nothing, _nothing),
    "register_decoders": DecoderDescriptor("part", ("starter",), _nothing),
    "register_clip_processors": ClipProcessorDescriptor("part", _nothing),
    "register_bridges": BridgeDescriptor("part", _nothing),
}


def test_the_page_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my_plugins"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    names: dict[str, Any] = {}
    for block in [block for page in (PAGE, *FURTHER) for block in BLOCK.findall(page.read_text(encoding="utf-8"))]:
        file = re.match(r"# (\w+\.py)\n", block)
        if file:
            (folder / file[1]).write_text(block, encoding="utf-8")
        if file is None or file[1].startswith("test_"):
            exec(compile(block, f"{PAGE.name}: {file[1] if file else 'python'}", "exec"), names)
    try:
        names["test_the_plugin_loads_without_torch"]()
        names["test_the_conditioner"]()
        (marked,) = names["test_contract"].pytestmark
        assert [check.name for check in marked.args[1]] == ["tonality", "conditioner tonality"]
        for check in marked.args[1]:
            check.run()
    finally:
        sys.modules.pop("tonality", None)
    check_conditioner(names["Energy"](ConditionerSetup(names["ENERGY"].brings, d_model=8)), 0.3, other=0.7,
                      slot=names["ENERGY"].brings, descriptor=names["ENERGY"])
    assert names["loop"].seconds == pytest.approx(1.0)
    with pytest.raises(sf.ConditionError, match="expected a key"):
        names["engine"].generate(seconds=0.1, conditions={"tonality": "H minor"})


def test_the_tutorial_is_short() -> None:
    code = BLOCK.findall(PAGE.read_text(encoding="utf-8"))[0]
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 32


def _signature(hook: Callable[..., Any]) -> str:
    return f"{hook.__name__}{inspect.signature(hook)}".replace("'", "")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_exact_signature(name: str) -> None:
    assert f"```\n{_signature(HOOKS[name])}\n```" in REFERENCE.read_text(encoding="utf-8")
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


def test_the_reference_is_current() -> None:
    spec = importlib.util.spec_from_file_location("write_plugin_reference", ROOT / "scripts/write_plugin_reference.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert REFERENCE.read_text(encoding="utf-8") == script.page(), "run: python scripts/write_plugin_reference.py"


def test_every_hook_has_a_test() -> None:
    assert set(HOOKS) == set(DESCRIPTORS) | {"on_event"}


@pytest.mark.parametrize("hook", DESCRIPTORS)
def test_what_a_hook_registers_is_found_under_its_kind(hook: str) -> None:
    source = f"def {hook}(register): register(descriptor)"
    scope: dict[str, Any] = {"descriptor": DESCRIPTORS[hook]}
    exec(source, scope)
    plugin = type("Plugin", (), {hook: staticmethod(sf.hookimpl(scope[hook]))})
    manager = PluginManager(load_entry_points=False)
    assert manager.register(plugin, Origin("mine", "mine-dist", "1.0")), manager.report()
    registries = manager.registries.by_hook()
    assert registries[hook].require("part") is DESCRIPTORS[hook]
    assert not any(registry for name, registry in registries.items() if name != hook)


def test_on_event_hears_an_event() -> None:
    heard: list[Any] = []
    plugin = type("Plugin", (), {"on_event": staticmethod(sf.hookimpl(lambda event: heard.append(event)))})
    manager = PluginManager(load_entry_points=False)
    manager.register(plugin, Origin("ears"))
    event = NoticeEvent("info", "hello")
    (hook,) = manager.event_hooks()
    hook.call(event)
    assert heard == [event] and hook.plugin == "ears"
