"""Models of published sizes with random weights, for benchmarks: as fast and as large as the real ones."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import torch

from soundforge.api import Engine
from soundforge.engine.model import LanguageModelRuntime
from soundforge.host import create_host
from soundforge.interfaces import Condition, ConditionContext, LanguageModelParts, Slot, SlotWeights
from soundforge.nn.encodec import EncodecCodec, EncodecConfig, encodec_network
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.seanet import SeanetConfig

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


def encodec_32khz() -> EncodecCodec:
    """The shape of MusicGen's codec."""
    half = SeanetConfig(dimension=128, n_filters=64, ratios=(8, 5, 4, 4), pad_mode="constant", kernel_size=7)
    config = EncodecConfig(32_000, half, half, 4, 2048, 50.0)
    network = encodec_network(config)
    with torch.no_grad():
        network.quantizer.codebooks.normal_()
    return EncodecCodec(network, config)


def musicgen_parts(size: str = "small", quantize: str | None = None, device: str = "cpu") -> LanguageModelParts:
    """MusicGen's shape with text conditions."""
    config = musicgen_config(size)
    lm = LanguageModel(config).eval().requires_grad_(False)
    if quantize == "bfloat16":
        lm.to(torch.bfloat16)
    elif quantize is not None:
        from soundforge.nn.quantised_model import quantise_language_model

        quantise_language_model(lm, quantize)
    slot = SlotWeights(Slot("text", "text", TEXT_WIDTH, "cross"), torch.randn(config.d_model, TEXT_WIDTH) / 28,
                       torch.zeros(config.d_model))
    return LanguageModelParts(f"musicgen-{size}, random weights", lm.to(device), encodec_32khz().to(device), (slot,),
                              (0, 1, 2, 3), 30.0, 18.0)


def musicgen_runtime(size: str = "small", quantize: str | None = None, device: str = "cpu") -> LanguageModelRuntime:
    parts, text = musicgen_parts(size, quantize, device), RandomText()
    return LanguageModelRuntime(parts, lambda name: (parts.slots[0].slot, text, False) if name == "text" else None)


def musicgen_engine(size: str = "small", quantize: str | None = None, device: str = "cpu") -> Engine:
    return Engine(musicgen_runtime(size, quantize, device), create_host(load_entry_points=False))
