"""MusicGen and AudioGen in AudioCraft's layout: `state_dict.bin` and `compression_state_dict.bin`.

    parts = load_audiocraft(folder, load_codec=load_codec_folder, resolve=hub.resolve)

T5 is not in these files; the text conditioner fetches it (from `text_encoder/` beside them, else from the hub).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from soundforge.checkpoints.audiocraft_lm import (
    CONDITIONERS,
    audiocraft_names,
    delays,
    lm_config,
    lm_tensors,
    optional,
    setting,
)
from soundforge.checkpoints.files import AudioCraftFile, assign_state, build_empty, read_audiocraft
from soundforge.checkpoints.parts import check_codec, check_window, reading, weights_dtype
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, LanguageModelParts, Slot, SlotWeights
from soundforge.nn.language_model import LanguageModel
from soundforge.nn.stereo_codec import StereoCodec

LM_FILE = "state_dict.bin"
CODEC_FILE = "compression_state_dict.bin"

# AudioCraft's conditioner models -> (condition's name for users, conditioner that feeds it).
_CONDITIONERS = {"t5": ("text", "text"), "chroma_stem": ("chroma", "chroma"), "style": ("style", "style")}
_FUSED_AS = ("prepend", "cross", "sum")


def load_audiocraft(folder: Path, *, load_codec: Callable[[Path], Codec], resolve: Callable[[str], Path],
                    device: str = "cpu", name: str = "", licence: str = "") -> LanguageModelParts:
    """A checkpoint folder to its parts.

    Args:
        folder: holds `state_dict.bin` and `compression_state_dict.bin`.
        load_codec: gives the codec of a folder or file.
        resolve: gives the local folder of a model named by the pointer form of the codec's file.
        device: where the language model goes. On the CPU half precision is up-cast to float32.
        name, licence: kept in the result.

    Raises:
        CheckpointError: a file is missing, corrupted or malicious, tensors do not fit (all are listed), or the
            configuration asks for something no published checkpoint has.
    """
    file = read_audiocraft(folder / LM_FILE)
    if file.pretrained is not None:
        raise CheckpointError(f"{file.path} only points to {file.pretrained!r}; load that model instead")
    with reading(str(file.path)):
        parts = _empty_parts(file, folder, load_codec, resolve, name or folder.name, licence)
    lm = parts.lm
    assert isinstance(lm, LanguageModel)
    assign_state(lm, lm_tensors(file.tensors, lm.config), source=str(file.path),
                 dtype=weights_dtype(file.tensors, device), names=audiocraft_names(lm.state_dict()))
    lm.to(device)
    return parts


def _empty_parts(file: AudioCraftFile, folder: Path, load_codec: Callable[[Path], Codec],
                 resolve: Callable[[str], Path], name: str, licence: str) -> LanguageModelParts:
    """Everything but the language model's weights."""
    source = str(file.path)
    config = lm_config(file.config, source)
    lm = build_empty(lambda: LanguageModel(config))
    codec = _codec(folder, file.config, load_codec, resolve)
    window = check_window(setting(file.config, "dataset.segment_duration", (int, float), source), source)
    parts = LanguageModelParts(
        name=name,
        lm=lm,
        codec=codec,
        slots=_slots(file, config.d_model, window),
        delays=delays(file.config, config.n_codebooks, source),
        window_seconds=window,
        stride_seconds=_stride(file.config, window),
        defaults=_defaults(file.config),
        layout="audiocraft",
        folder=folder,
        config=file.config,
        licence=licence,
    )
    check_codec(parts, source, setting(file.config, "sample_rate", int, source), optional(file.config, "channels"))
    return parts


def referenced_folder(name: str, beside: Path | None, resolve: Callable[[str], Path]) -> Path:
    """The folder of a model that a checkpoint only names: a sub-folder of that last name first, then the hub."""
    if name.startswith("//pretrained/"):
        name = name.removeprefix("//pretrained/")
    last = name.rstrip("/").rsplit("/", 1)[-1]
    if beside is not None and last not in ("", ".", "..") and (beside / last).is_dir():
        return beside / last
    return resolve(name)


def _codec(folder: Path, config: Mapping[str, Any], load_codec: Callable[[Path], Codec],
           resolve: Callable[[str], Path]) -> Codec:
    path = folder / CODEC_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CODEC_FILE}, the codec that belongs to {LM_FILE}")
    pointer = read_audiocraft(path).pretrained
    codec = load_codec(path if pointer is None else referenced_folder(pointer, folder, resolve))
    if not optional(config, "interleave_stereo_codebooks.use", False):
        return codec
    if optional(config, "interleave_stereo_codebooks.per_timestep", False):
        raise CheckpointError(f"{folder}: interleave_stereo_codebooks.per_timestep is on, which no published "
                              "checkpoint uses and which is not supported")
    return StereoCodec(codec)


def _slots(file: AudioCraftFile, d_model: int, window_seconds: float) -> tuple[SlotWeights, ...]:
    """All condition slots; those that are put before the tokens in the order in which they stand there.

    The reference puts each condition in front of what it has so far, texts first and waves after them: so waves
    come to stand before texts.
    """
    source = str(file.path)
    described = {name: value for name, value in optional(file.config, "conditioners", {}).items() if name != "args"}
    fused = {name: method for method in _FUSED_AS for name in optional(file.config, f"fuser.{method}", [])}
    interpolated = optional(file.config, "fuser.input_interpolate", [])
    if interpolated:
        raise CheckpointError(f"{source}: {interpolated} enter by input_interpolate, which no published checkpoint "
                              "uses and which is not supported")
    present = {name.removeprefix(CONDITIONERS).split(".")[0] for name in file.tensors if name.startswith(CONDITIONERS)}
    unknown = sorted(present - set(described))
    if unknown:
        raise CheckpointError(f"{source} has weights of conditioners that its configuration lacks: "
                              f"{', '.join(unknown)}")
    order = sorted(described, key=lambda name: described[name].get("model") in ("t5", "lut"))
    return tuple(_slot(file, name, described[name], fused[name], d_model, window_seconds)
                 for name in order if name in fused)


def _slot(file: AudioCraftFile, source_name: str, described: Mapping[str, Any], fuse: Any, d_model: int,
          window_seconds: float) -> SlotWeights:
    model = str(described.get("model"))
    options = {**(described.get(model) or {}), "segment_seconds": window_seconds}
    if options.get("normalize_text"):
        warnings.warn(f"{file.path}: the checkpoint was trained on normalised text (lemmas without stop words); "
                      "SoundForge passes text as it is", stacklevel=2)
    tensors = {name.removeprefix(f"{CONDITIONERS}{source_name}."): tensor for name, tensor in file.tensors.items()
               if name.startswith(f"{CONDITIONERS}{source_name}.")}
    weight, bias = tensors.pop("output_proj.weight", None), tensors.pop("output_proj.bias", None)
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[0] != d_model or bias.shape != (d_model,):
        found = "none" if weight is None or bias is None else f"{list(weight.shape)} and {list(bias.shape)}"
        raise CheckpointError(f"{file.path}: condition {source_name!r} needs {CONDITIONERS}{source_name}.output_proj "
                              f"with weight [{d_model}, W] and bias [{d_model}], found {found}")
    name, conditioner = _CONDITIONERS.get(model, (source_name, model))
    slot = Slot(name, conditioner, int(weight.shape[1]), fuse, options=options, source_name=source_name)
    return SlotWeights(slot, weight.float(), bias.float(), _conditioner_tensors(tensors, model, file, source_name))


def _conditioner_tensors(tensors: dict[str, Tensor], model: str, file: AudioCraftFile,
                         source_name: str) -> dict[str, Tensor]:
    if model == "chroma_stem":
        window = tensors.pop("chroma.spec.window", None)
        tensors.pop("chroma.fbanks", None)  # old exports hold the filter bank too; it is computed
        kept = {} if window is None else {"window": window.float()}
    elif model == "t5":
        kept = {}
    else:
        return tensors  # the conditioner itself knows what it needs, and checks
    if tensors:
        names = ", ".join(f"{CONDITIONERS}{source_name}.{name}" for name in sorted(tensors)[:20])
        raise CheckpointError(f"{file.path} has {len(tensors)} surplus tensors: {names}")
    return kept


def _is_audiogen(config: Mapping[str, Any]) -> bool:
    return config.get("solver") == "audiogen"


def _stride(config: Mapping[str, Any], window_seconds: float) -> float:
    """The reference's `extend_stride`; models with a shorter window than it get the same share of theirs."""
    usual = 2.0 if _is_audiogen(config) else 18.0
    return usual if usual < window_seconds else 0.6 * window_seconds


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"cfg": float(optional(config, "classifier_free_guidance.inference_coef", 3.0)), "top_k": 250,
            "temperature": 1.0}


