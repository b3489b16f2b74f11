"""Audio as a condition in time: what drums and melody have in common."""

from __future__ import annotations

from soundforge.audio import Waveform
from soundforge.errors import ConditionError
from soundforge.interfaces import ConditionContext


def checked_recording(wave: Waveform, name: str, context: ConditionContext) -> Waveform:
    """The audio itself, when it holds something and no more than the model makes.

    Args:
        name: of the condition, for messages.

    Raises:
        ConditionError: empty, or longer than the clip by more than a frame.
    """
    seconds = context.n_frames / context.frame_rate_hz
    if wave.n_samples == 0:
        raise ConditionError(f"condition {name!r} came with no samples, expected up to {seconds:g} s")
    if wave.seconds > seconds + 1 / context.frame_rate_hz:
        raise ConditionError(f"condition {name!r} has {wave.seconds:g} s, expected at most {seconds:g} s, the length "
                             "that the model makes; cut it")
    return wave
