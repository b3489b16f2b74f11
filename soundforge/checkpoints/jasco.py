"""JASCO in AudioCraft's layout: `state_dict.bin` with `lm_model: flow_matching`, and a codec that is only named.

The network's file also holds a copy of the codec, which codes the drums. In the reference, loading it overwrites
the codec's weights, so that copy is the one that sounds; it is taken here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.audiocraft_lm import lm_tensors, optional, setting
from soundforge.checkpoints.codecs import AUDIOCRAFT_FILE, codec_from_transformers, load_codec_folder
from soundforge.checkpoints.files import assign_state, build_empty, read_audiocraft, read_json
from soundforge.checkpoints.magnet import audiocraft_slots
from soundforge.checkpoints.parts import weights_dtype
from soundforge.errors import CheckpointError
from soundforge.interfaces import SlotWeights
from soundforge.nn.jasco_network import JascoConfig, JascoNetwork
from soundforge.nn.language_model import LanguageModelConfig
from soundforge.nn.streaming_codec import NeuralCodec

LM_FILE = "state_dict.bin"
# AudioCraft's conditioner models -> (the condition's name for users, the conditioner that feeds it).
_CONDITIONERS = {"t5": ("text", "text"), "chords_emb": ("chords", "chords"), "drum_latents": ("drums", "drums"),
                 "melody": ("melody", "melody")}
_FUSED = {"text": "cross", "chords": "concat", "drums": "concat", "melody": "concat"}
_CODEC_COPY = "compression_model."
# Whatever departs from these would load and sound wrong.
_PUBLISHED: dict[str, tuple[Any, ...]] = {
    "activation": ("gelu",), "norm_first": (True,), "norm": ("layer_norm",), "causal": (False,),
    "past_context": (None,), "layer_scale": (None,), "positional_embedding": ("sin",), "xpos": (False, None),
    "qk_layer_norm": (False, None), "qk_layer_norm_cross": (False, None), "kv_repeat": (1, None),
}


@dataclass(frozen=True)
class JascoParts:
    """What a JASCO checkpoint holds.

    Args:
        network: loaded, in inference mode.
        slots: by condition name, with their projections.
        codec: its codec.
        latent_mean, latent_std: of the latents it was trained on: the network's are `(latents - mean) / std`.
        frame_rate_hz: of the latents.
        window_seconds: length it was trained on.
        dropped: conditions that the text-only branch of guidance leaves out.
        config: the configuration as plain dicts.
    """

    network: JascoNetwork
    slots: Mapping[str, SlotWeights]
    codec: NeuralCodec
    latent_mean: float
    latent_std: float
    frame_rate_hz: float
    window_seconds: float
    dropped: frozenset[str]
    config: Mapping[str, Any]


def load_jasco(folder: Path, *, resolve: Callable[[str], Path], device: str = "cpu") -> JascoParts:
    """A checkpoint folder to its parts.

    Args:
        folder: holds `state_dict.bin` and `compression_state_dict.bin`, which names the codec.
        resolve: gives the local folder of a model that is not beside the checkpoint.

    Raises:
        CheckpointError: missing, corrupted or malicious, tensors that do not fit (all are listed), or a network
            that is not JASCO's.
    """
    file = read_audiocraft(folder / LM_FILE)
    source = str(file.path)
    if file.config.get("lm_model") != "flow_matching":
        raise CheckpointError(f"{source} holds a {file.config.get('lm_model')!r}, expected JASCO's 'flow_matching'")
    config = jasco_config(file.config, source)
    slots = audiocraft_slots(file, _CONDITIONERS, fuse=_FUSED)
    _check_slots(slots, config, source)
    network = build_empty(lambda: JascoNetwork(config))
    assign_state(network, _named(file.tensors, config), source=source, dtype=weights_dtype(file.tensors, device))
    drums = slots.get("drums")
    codec = _codec(folder, {} if drums is None else drums.tensors, resolve)
    mean, std, rate, window = (float(setting(file.config, name, (int, float), source)) for name in (
        "compression_model_latent_mean", "compression_model_latent_std", "compression_model_framerate",
        "dataset.segment_duration"))
    dropout = optional(file.config, "attribute_dropout", {})
    listed = {name for kind in ("symbolic", "wav") for name in (dropout.get(kind) or {})}
    dropped = frozenset(name for name, slot in slots.items() if slot.slot.source_name in listed)
    return JascoParts(network.to(device), slots, codec.to(device), mean, std, rate, window, dropped, file.config)


def jasco_config(config: Mapping[str, Any], source: str) -> JascoConfig:
    """The network that `xp.cfg` describes; raises CheckpointError."""
    network = setting(config, "transformer_lm", dict, source)
    for name, published in _PUBLISHED.items():
        if name in network and network[name] not in published:
            raise CheckpointError(f"{source}: transformer_lm.{name} is {network[name]!r}; only {published[0]!r}, as in "
                                  "the published checkpoints, is supported")
    fused = optional(config, "fuser", {})
    for method in ("sum", "prepend", "input_interpolate"):
        if fused.get(method):
            raise CheckpointError(f"{source}: {fused[method]} enter by {method}, which no published checkpoint uses "
                                  "and which is not supported")
    if not fused.get("cross") or fused.get("cross_attention_pos_emb"):
        raise CheckpointError(f"{source}: JASCO attends to its description, without positions; fuser is {fused}")
    width = setting(network, "dim", int, source)
    dims = {name: network.get(f"{name}_dim") for name in ("chords", "drums", "melody")}
    try:
        layers = LanguageModelConfig(
            d_model=width, n_heads=setting(network, "num_heads", int, source),
            n_layers=setting(network, "num_layers", int, source), n_codebooks=1, card=1,
            ffn_width=int(width * float(optional(network, "hidden_scale", 4))), cross_attention=True,
            bias_attention=bool(optional(network, "bias_attn", True)),
            bias_ffn=bool(optional(network, "bias_ff", True)))
        return JascoConfig(
            layers, flow_dim=int(optional(network, "flow_dim", 128)),
            condition_dims={name: int(dim) for name, dim in dims.items() if dim},
            time_dim=int(optional(network, "time_embedding_dim", 128)),
            skip_connections=bool(optional(network, "skip_connections", False)),
            bias_out=bool(optional(network, "bias_proj", True)))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def _check_slots(slots: Mapping[str, SlotWeights], config: JascoConfig, source: str) -> None:
    expected = {"text": config.layers.d_model, **config.condition_dims}
    found = {name: _out_width(slot) for name, slot in slots.items()}
    if found != expected:
        raise CheckpointError(f"{source}: its conditioners give {found}, but the network takes {expected}")


def _out_width(slot: SlotWeights) -> int | None:
    weight = slot.tensors.get("emb.weight") if slot.weight is None else slot.weight
    if weight is None or weight.ndim != 2:
        return None
    return int(weight.shape[1] if slot.weight is None else weight.shape[0])


def _named(tensors: Mapping[str, Tensor], config: JascoConfig) -> dict[str, Tensor]:
    ours = {"temb.dense.0.": "time_in.", "temb.dense.1.": "time_hidden.", "temb_proj.": "time_out.",
            "transformer.skip_projections.": "skip_projections."}
    named = {}
    for name, tensor in lm_tensors(tensors, config.layers).items():
        theirs = next((prefix for prefix in ours if name.startswith(prefix)), None)
        named[name if theirs is None else ours[theirs] + name.removeprefix(theirs)] = tensor
    return named


def _codec(folder: Path, tensors: Mapping[str, Tensor], resolve: Callable[[str], Path]) -> NeuralCodec:
    path = folder / AUDIOCRAFT_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {AUDIOCRAFT_FILE}, the codec that belongs to {LM_FILE}")
    pointer = read_audiocraft(path).pretrained
    copy = {name.removeprefix(f"{_CODEC_COPY}model."): tensor for name, tensor in tensors.items()
            if name.startswith(f"{_CODEC_COPY}model.")}
    if pointer is None or not copy:
        return load_codec_folder(path, resolve=resolve)
    pointer = pointer.removeprefix("//pretrained/")
    beside = folder / pointer.rstrip("/").rpartition("/")[2]
    place = beside if beside.is_dir() else resolve(pointer)
    if not (place / "config.json").is_file():
        return load_codec_folder(place, resolve=resolve)
    weights = {name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
               for name, tensor in copy.items()}
    return codec_from_transformers(read_json(place / "config.json"), weights, str(place))
