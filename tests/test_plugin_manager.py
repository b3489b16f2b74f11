"""The plugin host: what registers, what is refused, and that a failing plugin takes nothing else down."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

import soundforge as sf
from soundforge.errors import CheckpointError, PluginError, SettingsError
from soundforge.host import create_host
from soundforge.interfaces import CodecDescriptor, ConditionerDescriptor, ModelFamilyDescriptor
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin


def codec(name: str = "tin_can") -> CodecDescriptor:
    return CodecDescriptor(name, lambda host, source: None, 8000, 1, 50.0, 2, 16)  # type: ignore[arg-type,return-value]


def codec_plugin(*names: str) -> type:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_codecs(register):  # type: ignore[no-untyped-def]
            for name in names:
                register(codec(name))

    return Plugin


def empty_manager() -> PluginManager:
    return PluginManager(load_entry_points=False)


def errors_of(manager: PluginManager) -> dict[str, str]:
    return {info.name: info.error for info in manager.report() if info.error}


def test_a_plugin_registers_and_is_reported() -> None:
    manager = empty_manager()
    assert manager.register(codec_plugin("tin_can"), Origin("cans", "cans-dist", "1.2"))
    assert list(manager.registries.codecs) == ["tin_can"]
    (info,) = manager.report()
    assert (info.name, info.distribution, info.version, info.hooks) == (
        "cans", "cans-dist", "1.2", ["register_codecs"])
    assert info.provides == {"codec": ["tin_can"]}


def test_a_duplicate_name_names_both_distributions_and_keeps_the_first() -> None:
    manager = empty_manager()
    manager.register(codec_plugin("tin_can"), Origin("first", "dist-one", "1.0"))
    manager.register(codec_plugin("fresh", "tin_can"), Origin("second", "dist-two", "2.0"))
    message = errors_of(manager)["second"]
    assert "dist-one 1.0" in message and "dist-two 2.0" in message and "tin_can" in message
    assert manager.registries.codecs.origin("tin_can").plugin == "first"
    assert manager.registries.codecs.origin("fresh").plugin == "second"


def test_a_misspelt_hook_is_refused_with_the_right_name() -> None:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_codec(register):  # type: ignore[no-untyped-def]
            raise AssertionError("must not be called")

    manager = empty_manager()
    assert not manager.register(Plugin, Origin("typo"))
    assert "did you mean 'register_codecs'" in errors_of(manager)["typo"]


def test_a_wrong_signature_is_refused_by_name() -> None:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_codecs(registrar, colour):  # type: ignore[no-untyped-def]
            raise AssertionError("must not be called")

    manager = empty_manager()
    assert not manager.register(Plugin, Origin("wrong"))
    assert "colour" in errors_of(manager)["wrong"]
    assert manager.register(codec_plugin("still_works"), Origin("right"))


@pytest.mark.parametrize(("descriptor", "said"), [
    (codec("Tin Can"), "1 to 64 of a-z"),
    (codec(""), "1 to 64 of a-z"),
    (ConditionerDescriptor("x", ("text",), lambda h, s: None), "expected a soundforge.interfaces.CodecDescriptor"),  # type: ignore[arg-type,return-value]
    (CodecDescriptor("x", None, 8000, 1, 50.0, 2, 16), "expected a callable"),  # type: ignore[arg-type]
], ids=["spaces", "empty", "other kind", "no factory"])
def test_an_unusable_descriptor_is_refused(descriptor: object, said: str) -> None:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_codecs(register):  # type: ignore[no-untyped-def]
            register(descriptor)

    manager = empty_manager()
    manager.register(Plugin, Origin("odd"))
    assert said in errors_of(manager)["odd"]
    assert not manager.registries.codecs


def test_a_raising_hook_is_recorded_and_the_others_work() -> None:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_codecs(register):  # type: ignore[no-untyped-def]
            raise ZeroDivisionError("oops")

    manager = empty_manager()
    manager.register(Plugin, Origin("bad"))
    manager.register(codec_plugin("good"), Origin("good"))
    assert "ZeroDivisionError: oops" in errors_of(manager)["bad"]
    assert list(manager.registries.codecs) == ["good"]


def test_another_contract_version_is_refused() -> None:
    plugin = SimpleNamespace(SOUNDFORGE_CONTRACT=99)
    manager = empty_manager()
    assert not manager.register(plugin, Origin("future"))
    assert "contract version 99" in errors_of(manager)["future"]


def test_an_unknown_part_lists_the_choices() -> None:
    manager = empty_manager()
    manager.register(codec_plugin("tin_can", "paper_cup"), Origin("cans"))
    with pytest.raises(PluginError, match=r"no codec called 'tin_cn'; available: paper_cup, tin_can; did you mean"):
        manager.registries.codecs.require("tin_cn")


def test_one_file_plugins(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import soundforge as sf\nfrom soundforge.interfaces import CodecDescriptor\n__version__ = '3.4'\n"
        "@sf.hookimpl\ndef register_codecs(register):\n"
        "    register(CodecDescriptor('mine', lambda h, s: None, 8000, 1, 50.0, 2, 16))\n")
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    manager = PluginManager(load_entry_points=False, plugins_dir=tmp_path)
    assert list(manager.registries.codecs) == ["mine"]
    assert manager.registries.codecs.origin("mine").version == "3.4"
    assert "no_such_module_anywhere" in errors_of(manager)["broken"]
    assert "SystemExit" in errors_of(manager)["leaves"]
    (tmp_path / "test_mine.py").write_text("import nowhere_to_be_found\n")  # its tests, which are no plugin
    (tmp_path / "conftest.py").write_text("import nowhere_to_be_found\n")
    again = PluginManager(load_entry_points=False, plugins_dir=tmp_path, disabled=["mine"])
    assert not again.registries.codecs
    with pytest.raises(SettingsError, match="no folder"):
        PluginManager(load_entry_points=False, plugins_dir=tmp_path / "absent")


def test_a_broken_entry_point_is_reported_and_the_rest_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = metadata.EntryPoint("broken", "no_such_module_anywhere", "soundforge")
    real = metadata.entry_points(group="soundforge")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [*real, broken])
    manager = PluginManager()
    assert "ModuleNotFoundError" in errors_of(manager)["broken"]
    assert "encodec" in {info.name for info in manager.report()}


def test_the_environment_limits_what_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFORGE_PLUGINS", "encodec")
    assert {info.name for info in PluginManager().report()} == {"encodec"}
    monkeypatch.setenv("SOUNDFORGE_PLUGINS", "")
    host = create_host()
    assert host.manager.report() == []
    with pytest.raises(CheckpointError, match="SOUNDFORGE_PLUGINS limits plugins to none"):
        host.find_model("starter")


def test_built_ins_come_through_entry_points_and_all_load() -> None:
    manager = PluginManager()
    infos = {info.name: info for info in manager.report()}
    assert {"text", "chroma", "style", "encodec", "dac", "musicgen", "starter", "osc", "midi"} <= set(infos)
    assert errors_of(manager) == {}
    assert infos["encodec"].distribution == "soundforge"
    assert {"encodec_32khz", "dac_44khz", "starter"} <= set(manager.registries.codecs)
    assert {"text", "chroma", "style"} <= {f for d in manager.registries.conditioners.values() for f in d.feeds}
    assert {"musicgen", "starter"} <= set(manager.registries.model_families)
    assert {"osc", "midi"} <= set(manager.registries.bridges)


def test_no_plugin_leaves_one_out() -> None:
    assert "dac" not in {info.name for info in PluginManager(disabled=["dac"]).report()}
    assert not PluginManager(disabled=["soundforge"]).registries.codecs  # a distribution's name takes all of it out
    (slip,) = [info for info in PluginManager(disabled=["dca"]).report() if info.name == "dca"]
    assert slip.error == "is named by --no-plugin, but no plugin is called that; did you mean 'dac'?"


def test_tracing_prints_hook_calls(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SOUNDFORGE_TRACE_PLUGINS", "1")
    manager = empty_manager()
    manager.register(codec_plugin("tin_can"), Origin("cans"))
    assert "register_codecs(register) -> cans" in capsys.readouterr().err


def test_listing_plugins_imports_no_torch() -> None:
    code = ("import sys; from soundforge.plugin_manager import PluginManager; PluginManager().report(); "
            "print(sorted(m for m in ('torch', 'transformers', 'sounddevice') if m in sys.modules))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_failing_factory_names_the_plugin() -> None:
    def explode(host: object, source: object) -> object:
        raise KeyError("lost")

    class Plugin:
        @staticmethod
        @sf.hookimpl
        def register_codecs(register):  # type: ignore[no-untyped-def]
            register(CodecDescriptor("boom", explode, 8000, 1, 50.0, 2, 16))  # type: ignore[arg-type]

        @staticmethod
        @sf.hookimpl
        def register_model_families(register):  # type: ignore[no-untyped-def]
            register(ModelFamilyDescriptor("fam", lambda folder: 1 / 0, lambda h, f, o: None))  # type: ignore[arg-type,return-value]

    host = create_host(load_entry_points=False)
    host.manager.register(Plugin, Origin("bomb", "bomb-dist", "0.9"))
    with pytest.raises(PluginError, match=r"plugin bomb 0\.9: codec 'boom' raised KeyError"):
        host.codec("boom")
    with pytest.raises(PluginError, match=r"plugin bomb 0\.9: model family 'fam' raised ZeroDivisionError"):
        host.find_model(Path.cwd())


def test_an_unknown_model_says_what_there_is() -> None:
    host = create_host(load_entry_points=False)
    with pytest.raises(CheckpointError, match=r"no model 'nonsense'.*embedded models: none"):
        host.find_model("nonsense")
