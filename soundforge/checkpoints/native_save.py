"""Writing the native form of a checkpoint (see `native` for what it is)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.audiocraft import CODEC_FILE, referenced_folder
from soundforge.checkpoints.codecs import load_codec_folder, save_codec_folder
from soundforge.checkpoints.files import read_audiocraft
from soundforge.checkpoints.native import CONFIG_FILE, FORMAT, FORMAT_VERSION, QUANTIZATION_VERSION, WEIGHTS_FILE
from soundforge.errors import CheckpointError, NotCachedError
from soundforge.interfaces import LanguageModelParts, SlotWeights
from soundforge.nn import mert
from soundforge.nn.dac import DacCodec
from soundforge.nn.encodec import EncodecCodec
from soundforge.nn.language_model import LanguageModel
from soundforge.nn.stereo_codec import StereoCodec

ALIGNMENT = 64
_TOKENIZER_FILES = ("spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                    "added_tokens.json")


def save_native(parts: LanguageModelParts, folder: Path, *, dtype: torch.dtype | None = None,
                quantization: str | None = None, resolve: Callable[[str], Path] | None = None) -> None:
    """Write a loaded checkpoint in our own form; the folder appears only when it is complete.

    Args:
        parts: from any layout.
        folder: must not exist yet, or be empty.
        dtype: of the language model's weights; None = float16 where that is exact, else float32.
        quantization: what `parts.lm` was quantised to ("int8", "int4") with `quantise_language_model`, or None.
        resolve: gives the local folder of a companion that is only named; None = it must stand beside.

    Raises:
        CheckpointError: the folder is in use, or the model is none that this form can hold.
    """
    lm, codec = parts.lm, parts.codec
    mono = codec.mono if isinstance(codec, StereoCodec) else codec
    if not isinstance(lm, LanguageModel) or not isinstance(mono, (EncodecCodec, DacCodec)):
        raise CheckpointError(f"{parts.name} is a {type(lm).__name__} over a {type(mono).__name__}; only language "
                              "models of the MusicGen family over EnCodec or DAC have a native form")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} exists already; give a new folder")
    state = lm.state_dict()
    dtype = dtype or (torch.float16 if lm.recipe is None and _fits_half(state) else torch.float32)
    tensors = {f"lm.{name}": _stored(tensor, tensor.dtype if lm.recipe else dtype) for name, tensor in state.items()}
    for item in parts.slots:
        tensors.update(_slot_tensors(item, with_encoder=item.slot.conditioner != "text"))
    building = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    building.mkdir(parents=True)
    try:
        codec_folder = _write_companions(parts, mono, building, resolve or _nowhere)
        config = _config_of(parts, lm, dtype, codec_folder, quantization)
        (building / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        _write_tensors(tensors, building / WEIGHTS_FILE)
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _nowhere(name: str) -> Path:
    raise NotCachedError(f"{name} is not beside the checkpoint")


def _config_of(parts: LanguageModelParts, lm: LanguageModel, dtype: torch.dtype, codec_folder: str,
               quantization: str | None) -> dict[str, Any]:
    recipe = lm.recipe
    slots = [{"name": s.name, "conditioner": s.conditioner, "width": s.width, "fuse": s.fuse,
              "frame_rate_hz": s.frame_rate_hz, "options": dict(s.options), "source_name": s.source_name}
             for s in (item.slot for item in parts.slots)]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "family": "musicgen",
        "name": parts.name,
        "licence": parts.licence,
        "layout": parts.layout,
        "language_model": lm.config.to_dict(),
        "dtype": str(dtype).removeprefix("torch."),
        "quantization": quantization,
        **({} if recipe is None else {"quantization_version": QUANTIZATION_VERSION,
                                      "quantization_recipe": recipe.to_dict()}),
        "delays": list(parts.delays),
        "window_seconds": parts.window_seconds,
        "stride_seconds": parts.stride_seconds,
        "defaults": dict(parts.defaults),
        "stereo": isinstance(parts.codec, StereoCodec),
        "codec": codec_folder,
        "slots": slots,
        "source_config": dict(parts.config),
    }


def _fits_half(state: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor.half().to(tensor.dtype), tensor) for tensor in state.values())


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().cpu().to(dtype).contiguous()


def _slot_tensors(item: SlotWeights, with_encoder: bool) -> dict[str, Tensor]:
    base = f"slot.{item.slot.name}."
    named = {f"{base}weight": item.weight, f"{base}bias": item.bias}
    if with_encoder:  # T5 goes into a folder of its own
        named |= {f"{base}tensors.{name}": tensor for name, tensor in item.tensors.items()}
    # Tensors of a file may be views into one storage, which safetensors refuses to write twice.
    return {name: tensor.detach().cpu().clone() for name, tensor in named.items() if tensor is not None}


def _write_companions(parts: LanguageModelParts, mono: EncodecCodec | DacCodec, folder: Path,
                      resolve: Callable[[str], Path]) -> str:
    """Text encoder, style codec and codec; returns the name of the codec's folder."""
    codec_folder = "codec"
    for item in parts.slots:
        listener_kind = item.slot.options.get("model_name")
        listens_with = item.slot.options.get("encodec_checkpoint") if listener_kind == "encodec" else None
        if item.slot.conditioner == "text":
            _write_text_encoder(parts, item, folder / "text_encoder")
        elif listener_kind == "mert" and parts.folder is not None:
            name = mert.HUB_NAME.rsplit("/", 1)[-1]
            _copy_files(parts.folder / name, folder / name)
        elif listens_with:
            last = str(listens_with).rstrip("/").rsplit("/", 1)[-1]
            try:
                listener = load_codec_folder(referenced_folder(str(listens_with), parts.folder, resolve))
            except NotCachedError:
                continue  # it stays where it is, on the hub
            if isinstance(listener, (EncodecCodec, DacCodec)):
                save_codec_folder(listener, folder / last)
            # A published style checkpoint listens with the codec it speaks: one copy serves both.
            if _codec_pointer(parts.folder) == last:
                codec_folder = last
    if not (folder / codec_folder).is_dir():
        save_codec_folder(mono, folder / codec_folder)
    return codec_folder


def _codec_pointer(folder: Path | None) -> str | None:
    """The last name of the codec that an AudioCraft folder only refers to."""
    if folder is None or not (folder / CODEC_FILE).is_file():
        return None
    name = read_audiocraft(folder / CODEC_FILE).pretrained
    return None if name is None else name.rstrip("/").rsplit("/", 1)[-1]


def _write_text_encoder(parts: LanguageModelParts, item: SlotWeights, folder: Path) -> None:
    """The T5 that the source brought along; one that comes from the hub is left there."""
    if parts.folder is None:
        return
    if _copy_files(parts.folder / "text_encoder", folder):
        return
    config = parts.config.get("text_encoder")
    if not item.tensors or not isinstance(config, Mapping):
        return
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(config), indent=1) + "\n", encoding="utf-8")
    _write_tensors({name: tensor.detach().clone() for name, tensor in item.tensors.items()},
                   folder / WEIGHTS_FILE)
    for name in _TOKENIZER_FILES:
        if (parts.folder / name).is_file():
            shutil.copyfile(parts.folder / name, folder / name)


def _copy_files(source: Path, folder: Path) -> bool:
    """The files of a folder, where there is one; without permissions, which may forbid writing."""
    if not source.is_dir():
        return False
    folder.mkdir()
    for file in source.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    return True


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata={"format": "pt"})
    # Weights are computed with where they lie in the file: their numbers are to begin at a multiple of 64 bytes, which
    # a longer header sees to (tensors follow each other without gaps, large types first).
    with path.open("rb") as stream:
        header = 8 + int.from_bytes(stream.read(8), "little")
    if header % ALIGNMENT:
        room = '","padding":""'
        padding = (ALIGNMENT - header - len(room)) % ALIGNMENT
        save_file(tensors, path, metadata={"format": "pt", "padding": "-" * padding})
