"""Golden cases of language models: files, expected tensors with their tolerances, and a host to load them with."""

from __future__ import annotations

import json
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from soundforge import Waveform
from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.errors import NotCachedError
from soundforge.interfaces import (
    Codec,
    Condition,
    ConditionContext,
    Conditioner,
    ConditionerDescriptor,
    ConditionerSetup,
    LanguageModelParts,
    LoadOptions,
    SlotWeights,
)
from soundforge.nn.language_model import FusedInputs, LanguageModel
from soundforge_plugins import chroma, style, text
from soundforge_plugins.musicgen.loading import load_musicgen


class FolderHost:
    """A host that finds parts on disk only and never connects."""

    def codec(self, name: str, source: Path | None = None) -> Codec:
        assert source is not None, name
        return load_codec_folder(source)

    def conditioner(self, name: str, setup: ConditionerSetup) -> Conditioner:
        found: dict[str, ConditionerDescriptor] = {}
        for plugin in (text, chroma, style):
            plugin.register_conditioners(lambda descriptor: found.__setitem__(descriptor.name, descriptor))
        return found[name].factory(self, setup)

    def resolve(self, name: str) -> Path:
        raise NotCachedError(f"{name} is not on this machine")


class LmCase:
    """One golden case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        self.tensors = load_file(folder / "case.safetensors")

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def wave(self, name: str, sample_rate: int = 32000) -> Waveform:
        return Waveform(np.asarray(self[name]), sample_rate)

    def close(self, name: str, found: Tensor) -> None:
        """Assert that `found` is the tensor `name`, within its own tolerance."""
        wanted, about = self[name], self.about["tensors"][name]
        assert found.shape == wanted.shape, f"{name}: {list(found.shape)}, expected {list(wanted.shape)}"
        error = float((found.double() - wanted.double()).abs().max()) if wanted.numel() else 0.0
        limit = 0.0 if about.get("exact") else about.get("recommended_max_abs_error", 0.0)
        assert error <= limit, f"{name}: off by {error:g}, at most {limit:g} allowed"

    @cached_property
    def parts(self) -> LanguageModelParts:
        return load_musicgen(FolderHost(), self.folder, LoadOptions())


@cache
def lm_case(folder: Path) -> LmCase:
    """A case, loaded once; nobody may change it."""
    return LmCase(folder)


def slot_of(parts: LanguageModelParts, name: str) -> SlotWeights:
    return next(item for item in parts.slots if item.slot.name == name)


def conditioner_of(parts: LanguageModelParts, name: str) -> Any:
    item = slot_of(parts, name)
    setup = ConditionerSetup(item.slot, item.tensors, parts.folder, parts.layout, parts.config, parts.codec)
    return FolderHost().conditioner(item.slot.conditioner, setup)


def context(**changes: Any) -> ConditionContext:
    return ConditionContext(**{"sample_rate": 32000, "frame_rate_hz": 50.0, "n_frames": 60, **changes})


def projected(item: SlotWeights, condition: Condition) -> Tensor:
    """What the network is given: projection with bias, then the mask."""
    values = condition.values
    if item.weight is not None:
        values = torch.nn.functional.linear(values, item.weight, item.bias)
    return values * condition.mask[..., None]


def teacher_forced(parts: LanguageModelParts, codes: Tensor, fused: FusedInputs) -> Tensor:
    """Logits `[B, K, T, card]` re-aligned with the codes `[B, K, T]`."""
    assert isinstance(parts.lm, LanguageModel)
    batch, books, n_frames = codes.shape
    special = parts.lm.config.special_token
    sequence = torch.full((batch, books, n_frames + max(parts.delays) + 1), special)
    for book, delay in enumerate(parts.delays):
        sequence[:, book, delay + 1 : delay + 1 + n_frames] = codes[:, book]
    with torch.inference_mode():
        logits = parts.lm(sequence, fused)
    return torch.stack([logits[:, book, delay : delay + n_frames] for book, delay in enumerate(parts.delays)], dim=1)
