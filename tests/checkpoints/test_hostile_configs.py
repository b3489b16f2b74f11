"""Configurations changed at random: a checkpoint loads, or one of our errors says why; nothing else comes out."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from goldens import find_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_cases import FolderHost

from soundforge.errors import SoundForgeError
from soundforge.interfaces import ConditionerSetup, LoadOptions
from soundforge_plugins.musicgen.loading import load_musicgen
from soundforge_plugins.musicgen.recognise import layout_of

# What inference reads; the rest of AudioCraft's configuration is about training.
_READ = ("transformer_lm", "codebooks_pattern", "fuser", "conditioners", "classifier_free_guidance", "dataset",
         "interleave_stereo_codebooks", "sample_rate", "channels", "lm_model", "solver")
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70), st.sampled_from([2**40, -(2**40), 10**30, 1e308, 0.5]),
    st.just(float("nan")), st.just(float("inf")), st.text(max_size=5), st.just([]), st.just({}), st.just([1, "a"]),
    st.just({"model": "t5"}),
)


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(p for key, value in inner for p in _paths(value, (*path, key)))] if path else [
        p for key, value in inner for p in _paths(value, (key,))]


def _changed(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    config = copy.deepcopy(config)
    node: Any = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return config


def _put_beside(case: Path, folder: Path, without: str) -> None:
    """Everything of a case but one file."""
    for other in case.iterdir():
        if other.name == without:
            continue
        try:
            (folder / other.name).symlink_to(other)
        except OSError:  # Windows without the privilege
            copy_tree = shutil.copytree if other.is_dir() else shutil.copyfile
            copy_tree(other, folder / other.name)


def _loads_or_is_refused(folder: Path) -> bool:
    """Load and build the conditioners, as the engine does; what is refused is refused in one line."""
    try:
        if layout_of(folder) is None:
            return True
        parts = load_musicgen(FolderHost(), folder, LoadOptions())
        for item in parts.slots:
            setup = ConditionerSetup(item.slot, item.tensors, folder, parts.layout, parts.config, parts.codec)
            if item.slot.conditioner in ("text", "chroma", "style"):
                FolderHost().conditioner(item.slot.conditioner, setup)
    except SoundForgeError as error:
        return "\n" not in str(error)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", ["musicgen_text", "musicgen_style", "musicgen_melody"])
@given(data=st.data())
@settings(max_examples=60)
def test_audiocraft(name: str, data: st.DataObject) -> None:
    case = find_golden(name)
    if case is None:
        pytest.skip(f"no golden case {name}")
    package = torch.load(case / "state_dict.bin", weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    path = data.draw(st.sampled_from(_paths({key: config[key] for key in _READ if key in config})))
    changed = _changed(config, path, data.draw(_VALUES))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        _put_beside(case, folder, "state_dict.bin")
        torch.save({**package, "xp.cfg": yaml.safe_dump(changed)}, folder / "state_dict.bin")
        assert _loads_or_is_refused(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf_musicgen", "hf_musicgen_stereo", "hf_musicgen_melody"])
@given(data=st.data())
@settings(max_examples=60)
def test_transformers(name: str, data: st.DataObject) -> None:
    case = find_golden(name)
    if case is None:
        pytest.skip(f"no golden case {name}")
    file = data.draw(st.sampled_from(["config.json", "generation_config.json", "preprocessor_config.json"]))
    config = json.loads((case / file).read_text())
    changed = _changed(config, data.draw(st.sampled_from(_paths(config))), data.draw(_VALUES))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        _put_beside(case, folder, file)
        (folder / file).write_text(json.dumps(changed))
        assert _loads_or_is_refused(folder)
