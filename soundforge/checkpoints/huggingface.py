"""MusicGen in the transformers layout: `config.json` beside safetensors that hold everything.

Read: MusicgenForConditionalGeneration (mono and stereo) and MusicgenMelodyForConditionalGeneration, in one file
or sharded, as released and as newer versions save them. Differences from AudioCraft that this layout stands for:
padded text is masked in cross-attention, and delays are one frame per codebook (per pair for stereo).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.audiocraft_lm import optional, setting
from soundforge.checkpoints.files import assign_state, build_empty, read_json, read_tensors
from soundforge.checkpoints.parts import check_codec, check_window, make_lm_config, reading, weights_dtype
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, FuseMethod, LanguageModelParts, Slot, SlotWeights
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.stereo_codec import StereoCodec

MODEL_TYPES = ("musicgen", "musicgen_melody")

CodecFromTensors = Callable[[Mapping[str, Any], Mapping[str, Tensor], str], Codec]

_TEXT, _AUDIO, _DECODER = "text_encoder.", "audio_encoder.", "decoder."
_LAYER = re.compile(r"^model\.decoder\.layers\.(\d+)\.(.+)$")
_LAYER_NAMES = {
    "self_attn.out_proj": "self_attn.out_proj",
    "encoder_attn.q_proj": "cross_attn.q_proj",
    "encoder_attn.out_proj": "cross_attn.out_proj",
    "fc1": "linear1",
    "fc2": "linear2",
    "self_attn_layer_norm": "norm1",
    "encoder_attn_layer_norm": "norm_cross",
    "final_layer_norm": "norm2",
}
# Projections that transformers keeps apart and we keep fused, in this order.
_FUSED = {
    "self_attn.in_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "cross_attn.kv_proj": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
_OTHER_NAMES = (
    (re.compile(r"^model\.decoder\.embed_tokens\.(\d+)\.weight$"), r"emb.\1.weight"),
    (re.compile(r"^model\.decoder\.layer_norm\.(weight|bias)$"), r"out_norm.\1"),
    (re.compile(r"^lm_heads\.(\d+)\.(weight|bias)$"), r"heads.\1.\2"),
)
# What transformers' configuration classes mean by an entry that a file leaves out.
_DECODER_DEFAULTS = {"vocab_size": 2048, "num_hidden_layers": 24, "ffn_dim": 4096, "num_attention_heads": 16,
                     "hidden_size": 1024, "num_codebooks": 4, "activation_function": "gelu"}
# Tables that older versions saved although they are computed.
_COMPUTED = ("model.decoder.embed_positions.weights",)


def load_huggingface(folder: Path, *, codec_from_tensors: CodecFromTensors, device: str = "cpu", name: str = "",
                     licence: str = "") -> LanguageModelParts:
    """A checkpoint folder to its parts.

    Args:
        folder: holds `config.json` and the weights, and the tokenizer unless `text_encoder/` stands beside them.
        codec_from_tensors: builds the codec from its configuration and its tensors.
        device: where the language model goes.
        name, licence: kept in the result.

    Raises:
        CheckpointError: a file is missing or corrupted, tensors do not fit (all are listed), or the
            configuration asks for something no published checkpoint has.
    """
    config = read_json(folder / "config.json")
    source = str(folder)
    if config.get("model_type") not in MODEL_TYPES:
        raise CheckpointError(f"{source} holds a {config.get('model_type')!r}, expected one of "
                              f"{', '.join(MODEL_TYPES)}")
    groups = _grouped(read_tensors(folder), source)
    with reading(source):
        parts = _empty_parts(folder, config, groups, codec_from_tensors, name or folder.name, licence)
    lm = parts.lm
    assign_state(lm, lm_tensors(groups[_DECODER]), source=source, dtype=weights_dtype(groups[_DECODER], device),
                 names=transformers_names(lm.state_dict()))
    lm.to(device)
    return parts


def _empty_parts(folder: Path, config: Mapping[str, Any], groups: Mapping[str, dict[str, Tensor]],
                 codec_from_tensors: CodecFromTensors, name: str, licence: str) -> LanguageModelParts:
    """Everything but the language model's weights."""
    source = str(folder)
    melody = config["model_type"] == "musicgen_melody"
    network = lm_config(config, melody, source)
    mono = codec_from_tensors(setting(config, "audio_encoder", dict, source), groups[_AUDIO], source)
    stereo = optional(config, "decoder.audio_channels", 1) == 2
    codec = StereoCodec(mono) if stereo else mono
    lm = build_empty(lambda: LanguageModel(network))
    window = check_window(_window_seconds(folder, codec.frame_rate_hz), source)
    parts = LanguageModelParts(
        name=name,
        lm=lm,
        codec=codec,
        slots=_slots(folder, config, groups, network.d_model, melody),
        delays=tuple(index // 2 if stereo else index for index in range(network.n_codebooks)),
        window_seconds=window,
        stride_seconds=18.0 if window > 18.0 else 0.6 * window,
        defaults=_defaults(folder),
        layout="transformers",
        folder=folder,
        config=config,
        licence=licence,
    )
    check_codec(parts, source)
    return parts


def lm_config(config: Mapping[str, Any], melody: bool, source: str) -> LanguageModelConfig:
    """The network that `config.json` describes; raises `CheckpointError`."""
    decoder = {**_DECODER_DEFAULTS, **setting(config, "decoder", dict, source)}
    if decoder["activation_function"] != "gelu":
        raise CheckpointError(f"{source}: decoder.activation_function is {decoder['activation_function']!r}; only "
                              "'gelu', as in the published checkpoints, is supported")
    return make_lm_config(
        source,
        d_model=setting(decoder, "hidden_size", int, source),
        n_heads=setting(decoder, "num_attention_heads", int, source),
        n_layers=setting(decoder, "num_hidden_layers", int, source),
        n_codebooks=setting(decoder, "num_codebooks", int, source),
        card=setting(decoder, "vocab_size", int, source),
        ffn_width=setting(decoder, "ffn_dim", int, source),
        cross_attention=not melody,
    )


def lm_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's tensors (names without `decoder.`) under our names; unknown ones keep theirs."""
    renamed: dict[str, Tensor] = {}
    apart: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name in _COMPUTED:
            continue
        layer = _LAYER.match(name)
        if layer:
            part, kind = layer[2].rsplit(".", 1)
            fused = next((ours for ours, parts in _FUSED.items() if part in parts), None)
            if fused is not None:
                apart.setdefault(f"layers.{layer[1]}.{fused}.{kind}", {})[part] = tensor
                continue
            name = f"layers.{layer[1]}.{_LAYER_NAMES[part]}.{kind}" if part in _LAYER_NAMES else name
        else:
            for pattern, ours in _OTHER_NAMES:
                if pattern.match(name):
                    name = pattern.sub(ours, name)
                    break
        renamed[name] = tensor
    for name, found in apart.items():
        wanted = next(parts for ours, parts in _FUSED.items() if f".{ours}." in name)
        if all(part in found and found[part].shape[1:] == found[wanted[0]].shape[1:] for part in wanted):
            renamed[name] = torch.cat([found[part] for part in wanted])
        else:  # left apart under their own names: the error then lists what is there
            base, kind = f"model.decoder.layers.{name.split('.')[1]}", name.rsplit(".", 1)[-1]
            renamed.update({f"{base}.{part}.{kind}": tensor for part, tensor in found.items()})
    return renamed


def transformers_names(names: Iterable[str]) -> dict[str, str]:
    """Our tensor names -> transformers', for messages about its files."""
    shown = {}
    parts = {ours: theirs for theirs, ours in _LAYER_NAMES.items()}
    parts["self_attn.in_proj"], parts["cross_attn.kv_proj"] = "self_attn.{q,k,v}_proj", "encoder_attn.{k,v}_proj"
    for name in names:
        theirs = re.sub(r"^emb\.(\d+)", r"model.decoder.embed_tokens.\1", name)
        theirs = re.sub(r"^heads\.", "lm_heads.", theirs)
        theirs = re.sub(r"^out_norm\.", "model.decoder.layer_norm.", theirs)
        if name.startswith("layers."):
            _, layer, *part, kind = name.split(".")
            theirs = f"model.decoder.layers.{layer}.{parts['.'.join(part)]}.{kind}"
        shown[name] = f"{_DECODER}{theirs}"
    return shown


def _grouped(tensors: Mapping[str, Tensor], source: str) -> dict[str, dict[str, Tensor]]:
    """Tensors by the part they belong to, names without the part's prefix."""
    groups: dict[str, dict[str, Tensor]] = {_TEXT: {}, _AUDIO: {}, _DECODER: {}, "": {}}
    for name, tensor in tensors.items():
        prefix = next((p for p in (_TEXT, _AUDIO, _DECODER) if name.startswith(p)), "")
        groups[prefix][name.removeprefix(prefix)] = tensor
    known = {"enc_to_dec_proj.weight", "enc_to_dec_proj.bias", "audio_enc_to_dec_proj.weight",
             "audio_enc_to_dec_proj.bias"}
    surplus = sorted(set(groups[""]) - known)
    if surplus:
        raise CheckpointError(f"{source} has {len(surplus)} surplus tensors: {', '.join(surplus[:20])}")
    return groups


def _slots(folder: Path, config: Mapping[str, Any], groups: Mapping[str, dict[str, Tensor]], d_model: int,
           melody: bool) -> tuple[SlotWeights, ...]:
    """For melody the chroma stands first, then the text, then the tokens."""
    source = str(folder)
    text_width = setting(config, "text_encoder.d_model", int, source)
    embedded = {} if (folder / "text_encoder").is_dir() else groups[_TEXT]
    text = _slot("text", "text", "prepend" if melody else "cross", text_width, d_model, groups[""],
                 "enc_to_dec_proj", source, {"name": optional(config, "text_encoder._name_or_path", "t5-base")},
                 embedded)
    if not melody:
        return (text,)
    options = {**_chroma_settings(folder), "num_chroma": int(optional(config, "num_chroma", 12)),
               "length_frames": int(optional(config, "chroma_length", 235))}
    chroma = _slot("chroma", "chroma", "prepend", options["num_chroma"], d_model, groups[""],
                   "audio_enc_to_dec_proj", source, options, {})
    return chroma, text


def _slot(name: str, conditioner: str, fuse: FuseMethod, width: int, d_model: int, tensors: Mapping[str, Tensor],
          projection: str, source: str, options: Mapping[str, Any], kept: Mapping[str, Tensor]) -> SlotWeights:
    """A slot with its projection; there is none when the features have the network's width already."""
    slot = Slot(name, conditioner, width, fuse, options=options, source_name=name)
    weight, bias = tensors.get(f"{projection}.weight"), tensors.get(f"{projection}.bias")
    if weight is None and bias is None and width == d_model:
        return SlotWeights(slot, tensors=kept)
    if weight is None or bias is None or weight.shape != (d_model, width) or bias.shape != (d_model,):
        found = "none" if weight is None or bias is None else f"{list(weight.shape)} and {list(bias.shape)}"
        raise CheckpointError(f"{source}: condition {name!r} needs {projection} with weight [{d_model}, {width}] and "
                              f"bias [{d_model}], found {found}")
    return SlotWeights(slot, weight.float(), bias.float(), kept)


def _chroma_settings(folder: Path) -> dict[str, Any]:
    """What the feature extractor's own file says of rate, window and longest wave."""
    path = folder / "preprocessor_config.json"
    given = read_json(path) if path.is_file() else {}
    return {name: given[name] for name in ("sampling_rate", "n_fft", "hop_length", "n_samples") if name in given}


def _generation_config(folder: Path) -> dict[str, Any]:
    path = folder / "generation_config.json"
    return read_json(path) if path.is_file() else {}


def _window_seconds(folder: Path, frame_rate_hz: float) -> float:
    """`max_length` counts frames; released checkpoints have 1500 at 50 Hz."""
    longest = _generation_config(folder).get("max_length")
    return longest / frame_rate_hz if isinstance(longest, int) and longest > 1 else 30.0


def _defaults(folder: Path) -> dict[str, Any]:
    guidance = _generation_config(folder).get("guidance_scale")
    return {"cfg": float(guidance) if isinstance(guidance, (int, float)) else 3.0, "top_k": 250, "temperature": 1.0}
