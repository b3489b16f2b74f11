"""Conditioners of the starter's slots; the features themselves are in `soundforge.nn.starter_*`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from soundforge.errors import ConditionError
from soundforge.interfaces import Codec, Condition, ConditionContext, Conditioner, ConditionerSetup
from soundforge.nn import starter_conditions as features
from soundforge.nn.audio_conditions import audio_value, mono_samples
from soundforge.requests import check_number
from soundforge_plugins.starter.own_style import style_of, style_of_prompt
from soundforge_plugins.starter.stated import is_off, stated_number
from soundforge_plugins.starter.text import StarterText
from soundforge_plugins.starter.timing import Transport

ORDINARY_LEVEL_DB = -18.0


class StarterChroma:
    """Audio to pitch classes per frame, from the first NEW frame on, again and again; prompt frames stay null."""

    def __init__(self, setup: ConditionerSetup) -> None:
        self.setup = setup
        self.device = setup.device

    def prepare(self, value: Any, context: ConditionContext) -> tuple[Tensor, int] | None:
        """Mono samples and their rate."""
        if value is None:
            return None
        wave = audio_value(value, "chroma")
        return (mono_samples(wave, wave.sample_rate), wave.sample_rate) if wave.n_samples else None

    def encode(self, prepared: Sequence[tuple[Tensor, int] | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, 12]`."""
        n = max(1, context.n_frames)
        values = torch.zeros(len(prepared), n, features.CHROMA_WIDTH)
        mask = torch.zeros(len(prepared), n, dtype=torch.bool)
        begin = context.new_start  # below 0 in later windows
        start = max(0, begin)
        for row, item in enumerate(prepared):
            if item is not None and start < n:
                chroma = features.chroma_features(item[0], item[1], n - begin, context.frame_rate_hz)
                values[row, start:] = chroma[start - begin :]
                mask[row, start:] = True
        return Condition(values.to(self.device), mask.to(self.device))


class StarterStyle:
    """Mean and spread of the codec latents of three seconds of sound, for all frames: the first of what is given, or
    the last of a prompt, so that a continuation keeps its harmony and timbre, whatever else is asked for."""

    def __init__(self, setup: ConditionerSetup) -> None:
        if setup.codec is None:
            raise ConditionError("condition 'style' needs the model's codec, which was not given")
        self.codec: Codec = setup.codec
        self.device = setup.device
        self.width = setup.slot.width

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """Features `[1, W]`; an excerpt shorter than three seconds is repeated. `value` None = the prompt's, "off"
        switches it off."""
        if is_off(value):
            return None
        if value is None:
            return style_of_prompt(self.codec, context)
        wave = audio_value(value, "style")
        start = _excerpt_start(context.options)
        rated = wave.with_channels(1).resampled(self.codec.sample_rate)
        rated = rated.slice_samples(int(start * rated.sample_rate))
        if rated.n_samples < self.codec.hop_length * features.STYLE_SHORTEST:
            raise ConditionError(
                f"condition 'style' came with {rated.seconds:.2f} s of audio, expected at least "
                f"{features.STYLE_SHORTEST / self.codec.frame_rate_hz:g} s"
            )
        return style_of(self.codec, self.codec.encode(rated).codes)

    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """`[B, 1, W]`."""
        values = torch.zeros(len(prepared), 1, self.width)
        mask = torch.zeros(len(prepared), 1, dtype=torch.bool)
        for row, item in enumerate(prepared):
            if item is not None:
                values[row], mask[row] = item.cpu(), True
        return Condition(values.to(self.device), mask.to(self.device))


def _excerpt_start(options: Mapping[str, Any]) -> float:
    start = options.get("excerpt_start_seconds", 0.0)
    check_number("option 'excerpt_start_seconds' of condition 'style'", start, 0.0, 3600.0, error=ConditionError)
    return float(start)


class StarterLevel:
    """Loudness to hold: what the prompt has, a level in dB, or an ordinary one where nothing is known."""

    def __init__(self, setup: ConditionerSetup) -> None:
        self.device = setup.device

    def prepare(self, value: Any, context: ConditionContext) -> float | None:
        """`value` None = automatic; "off" switches it off; a number is RMS in dB re full scale."""
        if is_off(value):
            return None
        level = stated_number(value, "level", "dB below 0")
        if level is not None:
            if not features.QUIETEST_DB <= level <= 0.0:
                raise ConditionError(
                    f"condition 'level' came as {level:g} dB, expected {features.QUIETEST_DB:g} to 0 (RMS, full scale)"
                )
            return level
        if context.prompt is None or context.prompt.n_samples == 0:
            return ORDINARY_LEVEL_DB
        mono = context.prompt.with_channels(1).samples[0][-round(4 * context.prompt.sample_rate) :]
        power = float((mono.astype("float64") ** 2).mean())
        return max(features.QUIETEST_DB, 10.0 * math.log10(power + 1e-12))

    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        """`[B, 1, 2]`; rows without a level are masked."""
        known = torch.tensor([item is not None for item in prepared])
        levels = torch.tensor([0.0 if item is None else item for item in prepared])
        values = features.level_features(levels) * known[:, None]
        return Condition(values[:, None].to(self.device), known[:, None].to(self.device))


_KINDS: dict[str, Callable[[ConditionerSetup], Conditioner]] = {
    "text": StarterText,
    "transport": Transport,
    "chroma": StarterChroma,
    "style": StarterStyle,
    "level": StarterLevel,
}


def make(kind: str, setup: ConditionerSetup) -> Conditioner:
    """The conditioner of one kind."""
    return _KINDS[kind](setup)
