"""MAGNeT in AudioCraft's layout: the same two files as MusicGen's, with `lm_model: transformer_lm_magnet`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from soundforge.checkpoints.audiocraft_lm import CONDITIONERS, lm_config, lm_tensors, optional, setting
from soundforge.checkpoints.files import AudioCraftFile, assign_state, build_empty, read_audiocraft
from soundforge.checkpoints.parts import weights_dtype
from soundforge.errors import CheckpointError
from soundforge.interfaces import Slot, SlotWeights
from soundforge.nn.magnet_network import MagnetConfig, MagnetNetwork

LM_FILE = "state_dict.bin"


@dataclass(frozen=True)
class MagnetParts:
    """What a MAGNeT checkpoint holds besides its codec.

    Args:
        network: loaded, in inference mode.
        text: the slot of the description with its projection.
        window_seconds: length it was trained on.
        sample_rate: Hz.
        config: the configuration as plain dicts.
    """

    network: MagnetNetwork
    text: SlotWeights
    window_seconds: float
    sample_rate: int
    config: Mapping[str, Any]


def load_magnet(folder: Path, device: str = "cpu") -> MagnetParts:
    """The network of a checkpoint folder.

    Raises:
        CheckpointError: missing, corrupted or malicious, tensors that do not fit (all are listed), or a network
            that is not MAGNeT's.
    """
    file = read_audiocraft(folder / LM_FILE)
    source = str(file.path)
    if file.config.get("lm_model") != "transformer_lm_magnet":
        raise CheckpointError(f"{source} holds a {file.config.get('lm_model')!r}, expected 'transformer_lm_magnet'")
    config = magnet_config(file.config, source)
    network = build_empty(lambda: MagnetNetwork(config))
    slots = audiocraft_slots(file, {"t5": ("text", "text")}, fuse="cross")
    if set(slots) != {"text"} or slots["text"].weight is None or slots["text"].weight.shape[0] != config.lm.d_model:
        raise CheckpointError(f"{source}: MAGNeT is conditioned on a T5 description alone, projected to "
                              f"{config.lm.d_model}; the checkpoint has {', '.join(sorted(slots)) or 'nothing'}")
    dtype = weights_dtype(file.tensors, device)
    assign_state(network, lm_tensors(file.tensors, config.lm), source=source, dtype=dtype)
    window = float(setting(file.config, "dataset.segment_duration", (int, float), source))
    return MagnetParts(network.to(device), slots["text"], window, setting(file.config, "sample_rate", int, source),
                       file.config)


def magnet_config(config: Mapping[str, Any], source: str) -> MagnetConfig:
    """The network that `xp.cfg` describes; raises CheckpointError."""
    network = setting(config, "transformer_lm", dict, source)
    if network.get("causal") is not False:
        raise CheckpointError(f"{source}: transformer_lm.causal is {network.get('causal')!r}, expected MAGNeT's False")
    # Beside the mask of its attention it is the decoder LM, and is checked as such.
    lm = lm_config({**config, "lm_model": "transformer_lm", "transformer_lm": {**network, "causal": True}}, source)
    span = setting(config, "masking.span_len", int, source)
    context = optional(network, "subcodes_context", 5)
    if not isinstance(context, int) or not 1 <= span <= 1000:
        raise CheckpointError(f"{source}: masking.span_len is {span!r} and subcodes_context {context!r}, expected "
                              "whole numbers, the first at least 1")
    return MagnetConfig(lm, context, span)


def audiocraft_slots(file: AudioCraftFile, known: Mapping[str, tuple[str, str]], *,
                     fuse: Any) -> dict[str, SlotWeights]:
    """The conditions of an AudioCraft file by our names.

    Args:
        file: the export.
        known: AudioCraft's conditioner model -> (the condition's name for users, the conditioner that feeds it).
        fuse: how they enter; a mapping from our name, or one method for all.

    Raises:
        CheckpointError: a conditioner that is not known.
    """
    slots: dict[str, SlotWeights] = {}
    for source_name, described in optional(file.config, "conditioners", {}).items():
        if source_name == "args":
            continue
        model = str(described.get("model"))
        if model not in known:
            raise CheckpointError(f"{file.path}: condition {source_name!r} is fed by {model!r}, expected one of "
                                  f"{', '.join(sorted(known))}")
        prefix = f"{CONDITIONERS}{source_name}."
        tensors: dict[str, Tensor] = {name.removeprefix(prefix): tensor for name, tensor in file.tensors.items()
                                      if name.startswith(prefix)}
        weight, bias = tensors.pop("output_proj.weight", None), tensors.pop("output_proj.bias", None)
        name, conditioner = known[model]
        width = weight.shape[1] if weight is not None and weight.ndim == 2 else int(
            (described.get(model) or {}).get("out_dim", 0))
        slot = Slot(name, conditioner, int(width), fuse[name] if isinstance(fuse, Mapping) else fuse,
                    options=described.get(model) or {}, source_name=source_name)
        slots[name] = SlotWeights(slot, None if weight is None else weight.float(),
                                  None if bias is None else bias.float(), tensors)
    return slots
