"""Models of published sizes with random weights, for benchmarks: as fast and as large as the real ones."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from soundforge.api import Engine
from soundforge.engine.model import LanguageModelRuntime
from soundforge.host import create_host
from soundforge.interfaces import Condition, ConditionContext, LanguageModelParts, Slot, SlotWeights
from soundforge.nn.encodec import EncodecCodec, EncodecConfig, encodec_network
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.quantised_model import quantised_language_model
from soundforge.nn.seanet import SeanetConfig

M = TypeVar("M", bound=torch.nn.Module)
SIZES = {"small": (1024, 16, 24), "medium": (1536, 24, 48), "large": (2048, 32, 48)}
"""MusicGen's: width, heads, layers."""

TEXT_WIDTH, TEXT_LENGTH = 768, 16


class RandomText:
    """16 vectors per text, as T5 gives for a short description; none of its computing, which happens once."""

    def prepare(self, value: Any, context: ConditionContext) -> str | None:
        return value or None

    def encode(self, prepared: Sequence[str | None], context: ConditionContext) -> Condition:
        values = torch.zeros(len(prepared), TEXT_LENGTH, TEXT_WIDTH)
        for row, text in enumerate(prepared):
            if text is not None:
                values[row] = torch.randn(TEXT_LENGTH, TEXT_WIDTH,
                                          generator=torch.Generator().manual_seed(zlib.crc32(text.encode())))
        mask = torch.tensor([[text is not None] * TEXT_LENGTH for text in prepared])
        return Condition(values, mask)


def musicgen_config(size: str = "small") -> LanguageModelConfig:
    width, heads, layers = SIZES[size]
    return LanguageModelConfig(width, heads, layers, 4, 2048, cross_attention=True)


def filled(model: M) -> M:
    """A model built without storage, given memory and small random weights, fast."""
    model.to_empty(device="cpu").eval().requires_grad_(False)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.dtype == torch.uint8:
            tensor.random_(0, 256)
        elif name.endswith(".scale"):
            tensor.fill_(0.003)
        else:
            tensor.uniform_(-0.03, 0.03)
    return model


def language_model(config: LanguageModelConfig, quantize: str | None = None) -> LanguageModel:
    """In float32, or in "bfloat16", "int8", "int4"."""
    with torch.device("meta"):
        empty = (LanguageModel(config) if quantize in (None, "bfloat16")
                 else quantised_language_model(config, quantize))
    return filled(empty.to(torch.bfloat16) if quantize == "bfloat16" else empty)


def encodec_32khz() -> EncodecCodec:
    """The shape of MusicGen's codec."""
    half = SeanetConfig(dimension=128, n_filters=64, ratios=(8, 5, 4, 4), pad_mode="constant", kernel_size=7)
    config = EncodecConfig(32_000, half, half, 4, 2048, 50.0)
    network = encodec_network(config)
    with torch.no_grad():
        network.quantizer.codebooks.normal_()  # type: ignore[operator]
    return EncodecCodec(network, config)


def musicgen_parts(size: str = "small", quantize: str | None = None, device: str = "cpu") -> LanguageModelParts:
    """MusicGen's shape with text conditions."""
    config = musicgen_config(size)
    lm = language_model(config, quantize)
    slot = SlotWeights(Slot("text", "text", TEXT_WIDTH, "cross"), torch.randn(config.d_model, TEXT_WIDTH) / 28,
                       torch.zeros(config.d_model))
    return LanguageModelParts(f"musicgen-{size}, random weights", lm.to(device), encodec_32khz().to(device), (slot,),
                              (0, 1, 2, 3), 30.0, 18.0)


def musicgen_runtime(size: str = "small", quantize: str | None = None, device: str = "cpu") -> LanguageModelRuntime:
    parts, text = musicgen_parts(size, quantize, device), RandomText()
    return LanguageModelRuntime(parts, lambda name: (parts.slots[0].slot, text, False) if name == "text" else None)


def musicgen_engine(size: str = "small", quantize: str | None = None, device: str = "cpu") -> Engine:
    return Engine(musicgen_runtime(size, quantize, device), create_host(load_entry_points=False))
