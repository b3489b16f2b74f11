"""Our own form of a checkpoint: one folder, self-contained, memory-mapped.

    folder/
      config.json          what the network is, its slots, delays, window, defaults, licence
      model.safetensors    lm.* · slot.NAME.weight · slot.NAME.bias · slot.NAME.tensors.*
      codec/               the codec (`codecs.save_codec_folder`); CONFIG says where when it is named otherwise
      text_encoder/        T5 with its tokenizer, when the source had them at hand
      encodec_32khz/       the codec that a style condition listens with, or MERT-v1-95M/

Numbers round-trip exactly: weights are written in half precision only where that loses nothing. `layout` keeps
the rules of the layout the checkpoint came from (whether padded text is attended to).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from soundforge.checkpoints.files import assign_state, build_empty, read_json, read_tensors
from soundforge.checkpoints.parts import check_codec, check_window, make_lm_config, reading, weights_dtype
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, LanguageModelParts, Slot, SlotWeights
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.quantised_model import Recipe, quantised_language_model
from soundforge.nn.stereo_codec import StereoCodec

FORMAT = "soundforge"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
QUANTIZATIONS = ("int8", "int4")
QUANTIZATION_VERSION = 2
"""Of the layout of quantised weights; 1 held them row by row."""


def load_native(folder: Path, *, load_codec: Callable[[Path], Codec], device: str = "cpu") -> LanguageModelParts:
    """A native folder to its parts; the counterpart of `native_save.save_native`.

    Args:
        folder: the checkpoint.
        load_codec: gives the codec of a folder.
        device: where the language model goes.

    Raises:
        CheckpointError: a file is missing or corrupted, of a later version, or tensors do not fit (all are listed).
    """
    source = str(folder)
    config = read_json(folder / CONFIG_FILE)
    if config.get("format") != FORMAT or config.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{source} has format {config.get('format')!r} version {config.get('format_version')!r}, "
                              f"this version reads {FORMAT!r} version {FORMAT_VERSION}")
    quantization = config.get("quantization")
    if quantization not in (None, *QUANTIZATIONS):
        raise CheckpointError(f"{source} is quantised to {quantization!r}, this version reads "
                              f"{' and '.join(QUANTIZATIONS)}")
    with reading(source):
        network = make_lm_config(source, **config["language_model"])
        recipe = None if quantization is None else _recipe(config, source)
        lm = build_empty(lambda: _network(network, recipe))
        slots = [Slot(**slot) for slot in config["slots"]]
        tensors = read_tensors(folder / WEIGHTS_FILE)
        codec = load_codec(folder / Path(str(config["codec"])).name)
        parts = LanguageModelParts(
            name=str(config.get("name", folder.name)),
            lm=lm,
            codec=StereoCodec(codec) if config.get("stereo") else codec,
            slots=tuple(_slot_weights(slot, tensors, network.d_model, source) for slot in slots),
            delays=tuple(int(delay) for delay in config["delays"]),
            window_seconds=check_window(float(config["window_seconds"]), source),
            stride_seconds=check_window(float(config["stride_seconds"]), source),
            defaults=dict(config.get("defaults", {})),
            layout=str(config.get("layout", "native")),
            folder=folder,
            config=dict(config.get("source_config", {})),
            licence=str(config.get("licence", "")),
        )
    check_codec(parts, source)
    known = {f"slot.{slot.name}." for slot in slots}
    surplus = [name for name in tensors if not name.startswith(("lm.", *known))]
    if surplus:
        raise CheckpointError(f"{source} has {len(surplus)} surplus tensors: {', '.join(surplus[:20])}")
    lm_tensors = {name.removeprefix("lm."): tensor for name, tensor in tensors.items() if name.startswith("lm.")}
    # Quantised weights stay as they lie in the file, types included: they are read from there.
    assign_state(lm, lm_tensors, source=source, dtype=None if recipe else weights_dtype(lm_tensors, device))
    lm.to(device)
    return parts


def quantization_of(folder: Path | None) -> str | None:
    """What a native folder's weights were quantised to; None for floating ones and for other layouts."""
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return None
    config = read_json(folder / CONFIG_FILE)
    quantization = config.get("quantization") if config.get("format") == FORMAT else None
    return quantization if isinstance(quantization, str) else None


def _network(config: LanguageModelConfig, recipe: Recipe | None) -> LanguageModel:
    return LanguageModel(config) if recipe is None else quantised_language_model(config, recipe)


def _recipe(config: Mapping[str, Any], source: str) -> Recipe:
    version = config.get("quantization_version")
    if version != QUANTIZATION_VERSION:
        raise CheckpointError(f"{source} is quantised in the layout of version {version or 1}, this version reads "
                              f"{QUANTIZATION_VERSION}; convert the original checkpoint again")
    return Recipe.from_dict(config["quantization_recipe"])


def _slot_weights(slot: Slot, tensors: Mapping[str, Tensor], d_model: int, source: str) -> SlotWeights:
    base = f"slot.{slot.name}."
    own = {name.removeprefix(base): tensor for name, tensor in tensors.items() if name.startswith(base)}
    weight, bias = own.pop("weight", None), own.pop("bias", None)
    misfit = slot.width != d_model if weight is None else weight.shape != (d_model, slot.width)
    misfit = misfit or (bias is not None and bias.shape != (d_model,))
    surplus = [name for name in own if not name.startswith("tensors.")]
    if misfit or surplus:
        raise CheckpointError(f"{source}: the projection of slot {slot.name!r} does not fit, expected weight "
                              f"[{d_model}, {slot.width}] and bias [{d_model}] under {base}, nothing else")
    return SlotWeights(slot, weight, bias, {name.removeprefix("tensors."): tensor for name, tensor in own.items()})
