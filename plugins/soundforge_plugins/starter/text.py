"""The starter's text: one vector for all frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup
from soundforge.nn import starter_conditions as features
from soundforge.nn.starter_text import TEXT_HEADS, StarterTextEncoder, asked_key, asked_tempo, pad_tokens, tokenise
from soundforge_plugins.starter.tempi import usual_tempo
from soundforge_plugins.starter.timing import Beat, beat_features


@dataclass(frozen=True, slots=True)
class Description:
    """A text: pieces of its words; the tempo in BPM and the key that it sets, where nothing else does."""

    words: list[list[int]]
    bpm: float | None
    key: tuple[int, str] | None

    @property
    def unweighted(self) -> Description | None:
        """The tempo and the key alone: a weight of the text is one of its words."""
        return None if self.bpm is None and self.key is None else Description([], self.bpm, self.key)


class StarterText:
    """Text to one vector for all frames, with the beat of a tempo and the chroma of a key that only the text sets."""

    def __init__(self, setup: ConditionerSetup) -> None:
        width = setup.slot.width - features.TRANSPORT_WIDTH - features.CHROMA_WIDTH
        if width <= 0 or width % TEXT_HEADS:
            raise ConditionError(
                f"condition 'text' came with a slot of width {setup.slot.width}, expected a multiple of "
                f"{TEXT_HEADS} for the words, and {features.TRANSPORT_WIDTH + features.CHROMA_WIDTH} for "
                "the beat and the key; use the starter's own configuration"
            )
        self.encoder = StarterTextEncoder(width)
        if setup.tensors:
            self.encoder.load_state_dict({name: tensor.float() for name, tensor in setup.tensors.items()})
        self.encoder.eval().requires_grad_(False).to(setup.device)
        self.device = setup.device

    def prepare(self, value: Any, context: ConditionContext) -> Description | None:
        """A text without any word is the null condition."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise ConditionError(f"condition 'text' came as {type(value).__name__}, expected a description in words")
        words = tokenise(value)
        if not words:
            return None
        if context.bpm is not None or context.prompt is not None:
            return Description(words, None, None if context.prompt is not None else asked_key(value))
        return Description(words, asked_tempo(value) or usual_tempo(value, context.seed), asked_key(value))

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Description | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, W + transport + chroma]`; rows without text are masked."""
        pieces = pad_tokens([[] if item is None else item.words for item in prepared]).to(self.device)
        n = max(1, context.n_frames)
        held = self.encoder(pieces)[:, None].expand(-1, n, -1)
        seconds = (context.prompt_frames - context.new_start) / context.frame_rate_hz  # made in earlier windows
        tempi = [None if item is None else item.bpm for item in prepared]
        beats = beat_features(
            [None if bpm is None else Beat(bpm, context.beats_per_bar, seconds * bpm / 60.0) for bpm in tempi], context
        )
        known = torch.tensor([item is not None for item in prepared], device=held.device)
        keys = torch.zeros(len(prepared), 1, features.CHROMA_WIDTH)
        for row, item in enumerate(prepared):
            if item is not None and item.key is not None:
                keys[row, 0] = features.key_features(*item.key)
        values = torch.cat([held, beats.to(held), keys.to(held).expand(-1, n, -1)], dim=-1)
        return Condition(values, known[:, None].expand(-1, n).clone())
