"""What conditioners that take audio share: the value checked, a window's part of it, waves of a batch side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.errors import ConditionError
from soundforge.interfaces import ConditionContext


def audio_value(value: Any, name: str) -> Waveform:
    """A Waveform or a Clip as a Waveform.

    Args:
        name: of the condition, for the message.

    Raises:
        ConditionError: anything else.
    """
    if isinstance(value, Clip):
        return value.as_waveform()
    if not isinstance(value, Waveform):
        raise ConditionError(f"condition {name!r} came as {type(value).__name__}, expected audio "
                             "(a soundforge.Waveform or Clip; soundforge.read(path) gives one)")
    return value


def mono_samples(wave: Waveform, sample_rate: int) -> Tensor:
    """Mono samples `[T]` at a rate."""
    return torch.from_numpy(wave.with_channels(1).resampled(sample_rate).samples[0].copy())


def separated(separate: Any, wave: Waveform, name: str) -> Waveform:
    """What the request's option `source_separation`, a callable from Waveform to Waveform, takes out of a mix.

    Args:
        separate: the option as it came.
        name: of the condition, for the message.

    Raises:
        ConditionError: it is no callable, or gives no Waveform.
    """
    if not callable(separate):
        raise ConditionError(f"option 'source_separation' of condition {name!r} came as {type(separate).__name__}, "
                             "expected a callable from Waveform to Waveform")
    taken = separate(wave)
    if not isinstance(taken, Waveform):
        raise ConditionError(f"the source separation of condition {name!r} gave a {type(taken).__name__}, "
                             "expected a Waveform")
    return taken


def in_window(wave: Tensor, context: ConditionContext, sample_rate: int) -> Tensor:
    """What a window hears of a wave `[T]`: all of it, or, in a generation of several windows, the wave read on from the
    window's start, periodically, for the window's length (as AudioCraft does: the wave, not its features)."""
    if context.window_start_frames is None:
        return wave
    start = int(context.window_start_frames / context.frame_rate_hz * sample_rate)
    positions = torch.arange(start, start + int(context.window_seconds * sample_rate))
    return wave[positions % wave.shape[0]]


def side_by_side(waves: Sequence[Tensor | None], device: torch.device | str) -> Tensor:
    """Waves `[T_i]` as `[B, T]`, zero-padded to the longest; None is silence."""
    longest = max((wave.shape[0] for wave in waves if wave is not None), default=0)
    batch = torch.zeros(len(waves), longest, device=device)
    for row, wave in zip(batch, waves, strict=True):
        if wave is not None:
            row[: wave.shape[0]] = wave
    return batch
