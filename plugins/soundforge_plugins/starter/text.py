"""The starter's text: one vector for all frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup
from soundforge.nn import starter_conditions as features
from soundforge.nn.starter_recall import StyleMemory
from soundforge.nn.starter_text import TEXT_HEADS, StarterTextEncoder, asked_key, asked_tempo, pad_tokens, tokenise
from soundforge_plugins.starter.own_style import style_of_prompt
from soundforge_plugins.starter.tempi import usual_tempo
from soundforge_plugins.starter.timing import Beat, beat_features

_MEMORY = "memory."
KEY_STRENGTH = 1.6
"""A key in words is held against the sound that the words bring along: measured, see the model card."""
TOWARDS_TEXT = 0.6
"""How far a text takes a continuation from the prompt's sound: at 1 it leaves its harmony, at 0 hardly anything of the
text is heard; see the model card."""


@dataclass(frozen=True, slots=True)
class Description:
    """A text: the vector ``[W]`` of its words (None = without them); the tempo in BPM, the key and the style that it
    brings, where nothing else does."""

    words: Tensor | None
    bpm: float | None = None
    key: tuple[int, str] | None = None
    style: Tensor | None = None

    @property
    def unweighted(self) -> Description | None:
        """What it brings, without its words: a weight of the text is one of these."""
        nothing = self.bpm is None and self.key is None and self.style is None
        return None if nothing else replace(self, words=None)


class StarterText:
    """Text to one vector for all frames; with it a beat, the chroma of a key, and a style, that only the text sets."""

    watches = frozenset({"style"})

    def __init__(self, setup: ConditionerSetup) -> None:
        known = {name.removeprefix(_MEMORY): t for name, t in setup.tensors.items() if name.startswith(_MEMORY)}
        try:
            self.memory = StyleMemory.of(known) if known else None
        except (KeyError, ValueError, RuntimeError) as error:
            raise ConditionError(
                f"what the text of this checkpoint remembers cannot be read ({error}); expected keys, styles, "
                "sharpness and query as `training.export` writes them: fetch the checkpoint again"
            ) from error
        self.style_width = 0 if self.memory is None else self.memory.styles.shape[1]
        width = setup.slot.width - features.TRANSPORT_WIDTH - features.CHROMA_WIDTH - self.style_width
        if width <= 0 or width % TEXT_HEADS:
            raise ConditionError(
                f"condition 'text' came with a slot of width {setup.slot.width}, expected a multiple of "
                f"{TEXT_HEADS} for the words, and {features.TRANSPORT_WIDTH + features.CHROMA_WIDTH} for "
                "the beat and the key, and what its memory holds; use the starter's own configuration"
            )
        self.encoder = StarterTextEncoder(width)
        if setup.tensors:
            words = {name: t.float() for name, t in setup.tensors.items() if not name.startswith(_MEMORY)}
            self.encoder.load_state_dict(words)
        self.encoder.eval().requires_grad_(False).to(setup.device)
        self.device = setup.device
        self.codec = setup.codec

    def prepare(self, value: Any, context: ConditionContext) -> Description | None:
        """A text without any word is the null condition."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise ConditionError(f"condition 'text' came as {type(value).__name__}, expected a description in words")
        pieces = tokenise(value)
        if not pieces:
            return None
        with torch.inference_mode():
            words = self.encoder(pad_tokens([pieces]).to(self.device))[0].cpu()
        style = self._recalled(words, context)
        if context.prompt is not None or context.prompt_codes is not None:
            return Description(words, style=style)
        if context.bpm is not None:
            return Description(words, None, asked_key(value), style)
        return Description(words, asked_tempo(value) or usual_tempo(value, context.seed), asked_key(value), style)

    def _recalled(self, words: Tensor, context: ConditionContext) -> Tensor | None:
        """Style features ``[S]`` of a piece that sounds like the text; None where the request gives a style, or does
        not want that (option `recall`).

        With a prompt, whose own style holds (see `StarterStyle`), they lead away from it, most of the way towards the
        piece that sounds most like the prompt of those that sound like the text.
        """
        recall = context.options.get("recall", True)
        if not isinstance(recall, bool):
            raise ConditionError(f"option 'recall' of condition 'text' came as {recall!r}, expected true or false")
        if self.memory is None or not recall or "style" in context.given:
            return None
        if context.prompt is None and context.prompt_codes is None:
            return self.memory.recall(words, context.seed)
        own = None if self.codec is None else style_of_prompt(self.codec, context)
        return None if own is None else TOWARDS_TEXT * (self.memory.nearest(words, own[0].cpu()) - own[0].cpu())

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Description | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, W + transport + chroma + style]`; rows without text are masked."""
        n = max(1, context.n_frames)
        seconds = (context.prompt_frames - context.new_start) / context.frame_rate_hz  # made in earlier windows
        tempi = [None if item is None else item.bpm for item in prepared]
        beats = beat_features(
            [None if bpm is None else Beat(bpm, context.beats_per_bar, seconds * bpm / 60.0) for bpm in tempi], context
        )
        widths = (self.encoder.width, features.CHROMA_WIDTH, self.style_width)
        words, keys, styles = (torch.zeros(len(prepared), 1, width) for width in widths)
        for row, item in enumerate(prepared):
            if item is None:
                continue
            if item.words is not None:
                words[row, 0] = item.words
            if item.key is not None:
                keys[row, 0] = KEY_STRENGTH * features.key_features(*item.key)
            if item.style is not None:
                styles[row, 0] = item.style
        values = torch.cat([part.expand(-1, n, -1) for part in (words, beats, keys, styles)], dim=-1).to(self.device)
        known = torch.tensor([item is not None for item in prepared], device=self.device)
        return Condition(values, known[:, None].expand(-1, n).clone())
