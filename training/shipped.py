"""The weights of the package as evaluation uses them: plain modules, no engine, no plugins."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.starter_codec import StarterCodecConfig, StarterCodecNet
from training.export import WEIGHTS


@dataclass(frozen=True)
class Shipped:
    """Codec, decoder, projections ``{slot: [d_model, W]}`` and the defaults of the configuration."""

    codec: StarterCodecNet
    lm: LanguageModel
    projections: dict[str, Tensor]
    defaults: dict[str, Any]

    @property
    def n_codebooks(self) -> int:
        """Codebooks of the language model."""
        return self.lm.config.n_codebooks

    def untrained(self) -> Shipped:
        """The same codec with a freshly initialised language model: a baseline."""
        torch.manual_seed(0)
        fresh = LanguageModel(self.lm.config).eval()
        fresh.heads.weight.data.mul_(0.1)
        return replace(self, lm=fresh)


def load_shipped(folder: Path | None = None) -> Shipped:
    """From the package's weights, or from another folder of the same form."""
    folder = folder or WEIGHTS
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    codec = StarterCodecNet(StarterCodecConfig.from_dict(config["codec"]))
    codec.load_state_dict(
        {
            name: value.float() if value.is_floating_point() else value
            for name, value in load_file(folder / "codec.safetensors").items()
        }
    )
    tensors = {name: value.float() for name, value in load_file(folder / "lm.safetensors").items()}
    lm = LanguageModel(LanguageModelConfig.from_dict(config["lm"]))
    lm.load_state_dict({name[3:]: value for name, value in tensors.items() if name.startswith("lm.")})
    projections = {name.split(".")[1]: value for name, value in tensors.items() if name.startswith("slots.")}
    return Shipped(codec.eval(), lm.eval(), projections, config["defaults"])
