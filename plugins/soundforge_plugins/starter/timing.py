"""Where the beat lies: the starter's transport, and what its other conditioners need of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup
from soundforge.nn import starter_conditions as features
from soundforge.tempo import estimate_tempo
from soundforge_plugins.starter.stated import is_off, stated_number

MINIMUM_CONFIDENCE = 0.15


@dataclass(frozen=True, slots=True)
class Beat:
    """A tempo and where the bars lie: `beat_at_prompt_end` is 0 on a bar line."""

    bpm: float
    beats_per_bar: int
    beat_at_prompt_end: float


def beat_features(beats: Sequence[Beat | None], context: ConditionContext) -> Tensor:
    """`[B, n_frames, TRANSPORT_WIDTH]`, zeros for rows without a beat."""
    n = max(1, context.n_frames)
    values = torch.zeros(len(beats), n, features.TRANSPORT_WIDTH)
    frame = (torch.arange(n, dtype=torch.float64) + 0.5 - context.prompt_frames) / context.frame_rate_hz
    for row, beat in enumerate(beats):
        if beat is not None:
            position = beat.beat_at_prompt_end + frame * beat.bpm / 60.0
            bpm, per_bar = torch.tensor([beat.bpm]).double(), torch.tensor([float(beat.beats_per_bar)]).double()
            step = bpm / 60.0 / context.frame_rate_hz
            values[row] = features.transport_features(position[None], bpm, per_bar, step)[0]
    return values


class Transport:
    """Tempo and phase per frame: from the request, else heard in the prompt, else unknown (null)."""

    def __init__(self, setup: ConditionerSetup) -> None:
        self.setup = setup
        self.device = setup.device
        self.width = setup.slot.width

    def prepare(self, value: Any, context: ConditionContext) -> Beat | None:
        """`value` None = automatic; "off" switches it off; a number is a tempo in BPM."""
        if is_off(value):
            return None
        stated = stated_number(value, "transport", "a tempo in BPM")
        bpm = context.bpm if stated is None else stated
        if bpm is not None:
            if not 20.0 <= bpm <= 400.0:
                raise ConditionError(f"condition 'transport' came with {bpm:g} BPM, expected 20 to 400")
            heard = 0.0 if context.prompt is None else context.prompt.seconds * bpm / 60.0
            start = context.start_beat if context.start_beat is not None else heard
            return Beat(bpm, context.beats_per_bar, start)
        if context.prompt is None or context.prompt.seconds < 1.5:
            return None
        heard_tempo = estimate_tempo(context.prompt.samples.mean(axis=0), context.prompt.sample_rate)
        if heard_tempo.confidence < MINIMUM_CONFIDENCE:
            return None
        beat_seconds = 60.0 / heard_tempo.bpm
        origin = heard_tempo.bar_offset_seconds
        origin = heard_tempo.beat_offset_seconds if origin is None else origin
        # In a later window of a long generation the newest frames are generated music, made after the prompt's end.
        made = context.prompt_frames - context.new_start
        at_end = (context.prompt.seconds + made / context.frame_rate_hz - origin) / beat_seconds
        return Beat(heard_tempo.bpm, context.beats_per_bar, at_end)

    def encode(self, prepared: Sequence[Beat | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, W]`; rows without a tempo are masked."""
        values = beat_features(prepared, context).to(self.device)
        known = torch.tensor([beat is not None for beat in prepared], device=values.device)
        return Condition(values, known[:, None].expand(-1, values.shape[1]).clone())
