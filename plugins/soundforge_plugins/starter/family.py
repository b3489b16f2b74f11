"""The starter's checkpoint: configuration and two files of tensors to the parts that the engine runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from soundforge.errors import CheckpointError
from soundforge.interfaces import Host, LanguageModelParts, LoadOptions, RestLimits, Slot, SlotWeights
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge_plugins.starter.codec import WEIGHTS


def slot_of(values: dict[str, Any]) -> Slot:
    """A slot as the configuration file describes it."""
    options = dict(values.get("options", {}))
    return Slot(
        name=values["name"],
        conditioner=values["conditioner"],
        width=values["width"],
        fuse=values["fuse"],
        frame_rate_hz=values.get("frame_rate_hz"),
        options=options,
        source_name=values["name"],
    )


def parts_of(values: dict[str, Any]) -> list[str]:
    """Slots whose projections stand side by side in that of a slot: a text also sets a beat and a key."""
    return [values["name"], *values.get("options", {}).get("with", ())]


def load_starter(host: Host, folder: Path | None, options: LoadOptions) -> LanguageModelParts:
    """Parts of the model in `folder`, or of the one in the package.

    Raises:
        CheckpointError: files are missing or do not fit.
    """
    source = folder or WEIGHTS
    device = torch.device("cpu" if options.device == "auto" else options.device)
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        tensors = {name: value.float() for name, value in load_file(source / "lm.safetensors").items()}
        lm = LanguageModel(LanguageModelConfig.from_dict(config["lm"]))
        lm.load_state_dict({name.removeprefix("lm."): t for name, t in tensors.items() if name.startswith("lm.")})
        slots = []
        for values in config["slots"]:
            slot = slot_of(values)
            inner = f"conditioners.{slot.name}."
            slots.append(
                SlotWeights(
                    slot,
                    weight=torch.cat([tensors[f"slots.{part}.weight"] for part in parts_of(values)], dim=1),
                    tensors={name.removeprefix(inner): t for name, t in tensors.items() if name.startswith(inner)},
                )
            )
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the starter model in {source} cannot be read: {error}; expected config.json, "
            "lm.safetensors and codec.safetensors"
        ) from error
    codec = host.codec("starter", folder).to(device)
    return LanguageModelParts(
        name="starter" if folder is None else folder.name,
        lm=lm.to(device).eval(),
        codec=codec,
        slots=slots,
        delays=config["delays"],
        window_seconds=config["window_seconds"],
        stride_seconds=config["stride_seconds"],
        defaults=config["defaults"],
        layout="native",
        folder=folder,
        config=config,
        licence=config["licence"],
        rests=RestLimits(**config["rests"]) if "rests" in config else None,
    )
