"""A tiny model with random weights: everything a real one has, at toy size, made in a few milliseconds.

    engine = tiny_engine()                       # text (attended to), mood (audio, in front), pulse (summed)
    clip = engine.generate("anything", seconds=1, seed=1)

Its sound is noise; its arithmetic is real. For tests of plugins, of the live server, and of the engine itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from soundforge.api import Engine
from soundforge.audio import Waveform
from soundforge.engine.model import LanguageModelRuntime
from soundforge.errors import ConditionError
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import Condition, ConditionContext, Conditioner, LanguageModelParts, Slot, SlotWeights
from soundforge.nn.encodec import EncodecCodec, EncodecConfig, encodec_network
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.seanet import SeanetConfig

SAMPLE_RATE, HOP, CARD, WIDTH = 8_000, 160, 40, 8


class TinyText:
    """Words to fixed vectors; null items are one masked vector, padded with the others."""

    def prepare(self, value: Any, context: ConditionContext) -> list[str] | None:
        if not isinstance(value, str):
            raise ConditionError(f"condition 'text' came as {type(value).__name__}, expected text")
        return value.split() or None

    def encode(self, prepared: Sequence[list[str] | None], context: ConditionContext) -> Condition:
        length = max(1, *(len(words or ()) for words in prepared))
        values, mask = torch.zeros(len(prepared), length, WIDTH), torch.zeros(len(prepared), length, dtype=torch.bool)
        for row, words in enumerate(prepared):
            for place, word in enumerate(words or ()):
                generator = torch.Generator().manual_seed(zlib.crc32(word.encode()))
                values[row, place], mask[row, place] = torch.randn(WIDTH, generator=generator), True
        return Condition(values, mask)


class TinyMood:
    """Audio to four vectors in front of the tokens: loudness of its quarters."""

    def prepare(self, value: Any, context: ConditionContext) -> Tensor:
        if not isinstance(value, Waveform) or value.n_samples < 4:
            raise ConditionError(f"condition 'mood' came as {type(value).__name__}, expected audio")
        quarters = torch.from_numpy(value.samples.mean(axis=0)).tensor_split(4)
        return torch.stack([q.square().mean().sqrt() * torch.ones(WIDTH) for q in quarters])

    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        rows = [torch.zeros(4, WIDTH) if item is None else item for item in prepared]
        mask = torch.tensor([[item is not None] * 4 for item in prepared])
        return Condition(torch.stack(rows), mask)


class TinyPulse:
    """Beat phase per frame; makes its features by itself when the tempo is known."""

    def prepare(self, value: Any, context: ConditionContext) -> float | None:
        return context.bpm if value is None else float(value)

    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        frames = torch.arange(context.n_frames) - context.prompt_frames
        values = torch.zeros(len(prepared), context.n_frames, WIDTH)
        for row, bpm in enumerate(prepared):
            if bpm is not None:
                beat = (context.start_beat or 0.0) + frames / context.frame_rate_hz * bpm / 60.0
                values[row] = torch.sin(2 * torch.pi * beat[:, None] * torch.arange(1, WIDTH + 1))
        mask = torch.tensor([[bpm is not None] * context.n_frames for bpm in prepared])
        return Condition(values, mask)


def tiny_codec(n_codebooks: int = 4, causal: bool = True, seed: int = 0) -> EncodecCodec:
    """A codec at 8 kHz, 50 frames per second."""
    half = SeanetConfig(channels=1, dimension=8, n_filters=2, ratios=(8, 5, 4), causal=causal, pad_mode="constant",
                        norm="none", lstm=1, compress=1)
    config = EncodecConfig(SAMPLE_RATE, half, half, n_codebooks, CARD, SAMPLE_RATE / HOP)
    network = encodec_network(config)
    _randomise(network, seed)
    return EncodecCodec(network, config, "tiny")


def tiny_parts(delays: Sequence[int] = (0, 1, 2, 3), *, causal: bool = True, window_seconds: float = 4.0,
               layout: str = "native", seed: int = 0) -> LanguageModelParts:
    """Parts of a tiny decoder LM with three slots."""
    config = LanguageModelConfig(d_model=32, n_heads=4, n_layers=2, n_codebooks=len(delays), card=CARD,
                                 cross_attention=True)
    lm = LanguageModel(config)
    _randomise(lm, seed, scale=0.25)
    generator = torch.Generator().manual_seed(seed + 1)

    def slot(name: str, fuse: Any, rate: float | None = None) -> SlotWeights:
        weight, bias = (torch.randn(shape, generator=generator) for shape in ((32, WIDTH), (32,)))
        return SlotWeights(Slot(name, f"tiny_{name}", WIDTH, fuse, rate), weight, bias)

    slots = (slot("mood", "prepend"), slot("text", "cross"), slot("pulse", "sum", 50.0))
    return LanguageModelParts("tiny", lm, tiny_codec(len(delays), causal, seed), slots, tuple(delays), window_seconds,
                              window_seconds * 0.6, layout=layout, licence="MIT")


def tiny_runtime(parts: LanguageModelParts | None = None) -> LanguageModelRuntime:
    """What the engine runs, without a plugin host."""
    parts = parts or tiny_parts()
    made: dict[str, tuple[Conditioner, bool]] = {"text": (TinyText(), False), "mood": (TinyMood(), False),
                                                 "pulse": (TinyPulse(), True)}
    slots = {item.slot.name: item.slot for item in parts.slots}
    return LanguageModelRuntime(parts, lambda name: (slots[name], *made[name]) if name in slots else None)


def tiny_engine(parts: LanguageModelParts | None = None, host: PluginHost | None = None) -> Engine:
    """An engine around it."""
    return Engine(tiny_runtime(parts), host or create_host(load_entry_points=False))


def _randomise(module: torch.nn.Module, seed: int, scale: float = 1.0) -> None:
    """Weights that give lively numbers; the same for a seed whatever was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "norm" in name:
                continue
            spread = scale if name.startswith(("emb", "quantiser")) else parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
