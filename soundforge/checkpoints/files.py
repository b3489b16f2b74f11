"""Reading model files safely, and putting their tensors into modules.

Every file that holds weights is read here. A model file may come from anybody, so nothing in it is ever
executed: PyTorch files are read by the weights-only reader, safetensors hold no code at all. Files are
memory-mapped and modules are built without storage (the meta device), so that a loaded model takes its
size once.

    model = build_empty(lambda: SeanetDecoder(config))
    assign_state(model, read_tensors(path), source=str(path))

Layouts: one `.safetensors` file, a sharded set with its index, a PyTorch `.bin` / `.pt` / `.th`, and the
AudioCraft export `{'best_state': tensors, 'xp.cfg': YAML text, ...}` or `{'pretrained': name}`.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.assign import assign_state, build_empty, listed
from soundforge.checkpoints.xp_config import inert_omegaconf, parse_xp_config, plain_config
from soundforge.errors import CheckpointError

_ZIP_MAGIC = b"PK\x03\x04"
_STAND_INS_LOCK = threading.Lock()
# Order of preference inside a folder in the transformers layout.
_FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True)
class AudioCraftFile:
    """An AudioCraft export: weights with their configuration, or the name of another model.

    Args:
        path: the file.
        tensors: state dictionary, memory-mapped; empty in the pointer form.
        config: the resolved `xp.cfg` as plain dicts and lists; empty in the pointer form.
        pretrained: name that the pointer form refers to (`facebook/encodec_32khz`), else None.
    """

    path: Path
    tensors: dict[str, Tensor] = field(repr=False)
    config: dict[str, Any] = field(repr=False)
    pretrained: str | None = None


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file (`config.json`, an index)."""
    path = _existing_file(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint in the transformers layout or a plain state dictionary.

    Args:
        path: a `.safetensors` file, an index (`*.index.json`) of a sharded set, a PyTorch file holding a
            flat state dictionary, or a folder with any of these under the name transformers gives it.

    Returns:
        Name -> CPU tensor in the file's own dtype, memory-mapped where the format allows.
    """
    path = Path(path)
    if path.is_dir():
        path = _weights_in_folder(path)
    path = _existing_file(path)
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    loaded = read_torch_file(path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, expected a dictionary of tensors")
    return _only_tensors(loaded, path)


def read_torch_file(path: str | Path, *, with_omegaconf: bool = False) -> Any:
    """The object in a PyTorch file: tensors, numbers, text and containers of them; never code.

    The tensors stay connected to the file: replace such a file by renaming, never by writing over it.

    Args:
        path: file written by `torch.save`, zip or legacy form.
        with_omegaconf: also take `omegaconf` configuration objects, which some AudioCraft files pickle;
            they are read as data by stand-ins and come back as plain dicts. omegaconf is not imported.

    Raises:
        CheckpointError: missing, truncated, corrupted, or holding anything else.
    """
    path = _existing_file(path)
    with path.open("rb") as stream:
        is_zip = stream.read(4) == _ZIP_MAGIC
    stand_ins = inert_omegaconf() if with_omegaconf else contextlib.nullcontext()
    try:
        # PyTorch keeps the list of stand-ins per process, so two readers must not change it at once.
        with _STAND_INS_LOCK, stand_ins:
            # Only the zip form can be mapped; the legacy form (2019 and before) is read into memory.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        return plain_config(loaded) if with_omegaconf else loaded
    except CheckpointError:
        raise
    except Exception as error:  # the unpickler raises whatever a broken stream makes it stumble over
        raise CheckpointError(f"{path} was refused, nothing in it was executed: {_cause(error)}") from error


def read_audiocraft(path: str | Path) -> AudioCraftFile:
    """An AudioCraft export (`state_dict.bin`, `compression_state_dict.bin`)."""
    path = _existing_file(path)
    package = read_torch_file(path, with_omegaconf=True)
    if not isinstance(package, dict):
        raise CheckpointError(f"{path} holds a {type(package).__name__}, expected an AudioCraft dictionary")
    pointer = package.get("pretrained")
    if isinstance(pointer, str):
        return AudioCraftFile(path, {}, {}, pointer)
    state, text = package.get("best_state"), package.get("xp.cfg")
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]  # a training checkpoint that was not exported
    if not isinstance(state, dict) or text is None:
        raise CheckpointError(
            f"{path} is not an AudioCraft export: expected 'best_state' and 'xp.cfg' or 'pretrained', "
            f"found {sorted(map(str, package))[:10]}"
        )
    config = text if isinstance(text, dict) else parse_xp_config(text, source=str(path))
    return AudioCraftFile(path, _only_tensors(state, path), config)


def _existing_file(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    return path


def _weights_in_folder(folder: Path) -> Path:
    for name in _FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder} holds no weights; expected one of {', '.join(_FOLDER_FILES)}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {_cause(error)}") from error


def _read_shards(index: Path) -> dict[str, Tensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index} has no usable 'weight_map'")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        if Path(shard).name != shard or shard.endswith(".json"):
            raise CheckpointError(f"{index} names a shard outside its folder: {shard!r}")
        tensors.update(read_tensors(index.parent / shard))
    absent = sorted(set(weight_map) - set(tensors))
    if absent:
        raise CheckpointError(f"the shards of {index} lack tensors: {listed('missing', absent)}")
    return tensors


def _only_tensors(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    others = [str(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise CheckpointError(f"{path} holds entries that are not tensors: {', '.join(others[:10])}")
    return dict(state)


def _cause(error: Exception) -> str:
    """One line; PyTorch's own text is a page of advice that includes turning the protection off."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it asks for {refused[1]}, which is not tensor data"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:160]}" if first else type(error).__name__


__all__ = [
    "AudioCraftFile",
    "assign_state",
    "build_empty",
    "read_audiocraft",
    "read_json",
    "read_tensors",
    "read_torch_file",
]
