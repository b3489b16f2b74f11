"""The melody conditioner: one note or none per frame, from a salience matrix, audio, or MIDI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup, Host
from soundforge.midi_notes import read_notes
from soundforge.nn.jasco_pitch import strongest_pitches
from soundforge_plugins.jasco.recording import checked_recording

LOWEST_PITCH = 43
"""MIDI note of bin 0: 53 semitones from G2 to B6. The published checkpoints do not say which note it is; this is the
range described for their training data, and the option `lowest_pitch` changes it."""


class MelodyConditioner:
    """Feeds a melody slot (see `soundforge.interfaces.Conditioner` for the calls).

    Takes a salience matrix `[bins, frames]` (array of floats), a Waveform or Clip (its strongest note per frame), or a
    MIDI file as `pathlib.Path` (its highest note per frame).

    Request options: `frame_rate_hz` of a matrix that has another one than the model; `lowest_pitch`, MIDI note of the
    lowest bin for audio and MIDI.

    Args:
        bins: rows of the matrix.
        name: of the slot, for messages.
    """

    def __init__(self, bins: int, name: str = "melody") -> None:
        self.bins = bins
        self._name = name

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """The matrix float32 `[bins, n_frames]`; None stays None."""
        if value is None:
            return None
        if isinstance(value, Clip):
            value = value.as_waveform()
        if isinstance(value, Waveform):
            return self._of_pitches(self._heard(value, context), context)
        if isinstance(value, Path):
            return self._of_pitches(_highest_notes(value, context), context)
        if isinstance(value, (np.ndarray, Tensor)):
            return self._of_matrix(torch.as_tensor(value), context)
        raise ConditionError(f"condition {self._name!r} came as {type(value).__name__}, expected audio, a salience "
                             f"matrix [{self.bins}, frames], or a MIDI file as pathlib.Path")

    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, bins]`; null items are zero, and every place is real (the projection's bias counts)."""
        null = torch.zeros(self.bins, context.n_frames)
        values = torch.stack([null if item is None else item for item in prepared]).transpose(1, 2)
        return Condition(values.to(context.device), torch.ones(values.shape[:2], dtype=torch.bool))

    def _of_matrix(self, matrix: Tensor, context: ConditionContext) -> Tensor:
        n_frames, rate = context.n_frames, context.frame_rate_hz
        if not matrix.is_floating_point() or matrix.ndim != 2 or matrix.shape[0] != self.bins:
            raise ConditionError(f"condition {self._name!r} came as an array of {matrix.dtype} {list(matrix.shape)}, "
                                 f"expected floats [{self.bins}, {n_frames}] (pitches, frames at {rate:g} Hz)")
        if not bool(torch.isfinite(matrix).all()):
            raise ConditionError(f"condition {self._name!r} holds NaN or infinity, expected numbers from 0 to 1")
        own_rate = context.options.get("frame_rate_hz")
        if own_rate is None:
            if matrix.shape[1] != n_frames:
                hint = f"condition_options={{{self._name!r}: {{'frame_rate_hz': ...}}}}"
                raise ConditionError(f"condition {self._name!r} has {matrix.shape[1]} frames, expected {n_frames} "
                                     f"({n_frames / rate:g} s at {rate:g} Hz); for another rate give {hint}")
            return matrix.float()
        if isinstance(own_rate, bool) or not isinstance(own_rate, (int, float)) or not 1 <= own_rate <= 10_000:
            raise ConditionError(f"option 'frame_rate_hz' of condition {self._name!r} came as {own_rate!r}, expected a "
                                 "number of Hz")
        if matrix.shape[1] / own_rate > (n_frames + 1) / rate:
            raise ConditionError(f"condition {self._name!r} has {matrix.shape[1] / own_rate:g} s, expected at most "
                                 f"{n_frames / rate:g} s")
        at = ((torch.arange(n_frames).double() + 0.5) * (own_rate / rate)).long()
        out = torch.zeros(self.bins, n_frames)
        inside = at < matrix.shape[1]
        out[:, inside] = matrix.float()[:, at[inside]]
        return out

    def _heard(self, wave: Waveform, context: ConditionContext) -> list[int | None]:
        lowest = _lowest_pitch(context, self._name)
        mono = checked_recording(wave, self._name, context).with_channels(1)
        return strongest_pitches(mono, context.n_frames, context.frame_rate_hz, lowest, self.bins)

    def _of_pitches(self, pitches: Sequence[int | None], context: ConditionContext) -> Tensor:
        """One-hot; notes outside the range are brought into it by octaves."""
        lowest = _lowest_pitch(context, self._name)
        out = torch.zeros(self.bins, context.n_frames)
        for frame, pitch in enumerate(pitches[: context.n_frames]):
            if pitch is None:
                continue
            row = pitch - lowest
            if row < 0:
                row += 12 * math.ceil(-row / 12)
            elif row >= self.bins:
                row -= 12 * math.ceil((row - self.bins + 1) / 12)
            if 0 <= row < self.bins:
                out[row, frame] = 1.0
        return out


def _lowest_pitch(context: ConditionContext, name: str) -> int:
    lowest = context.options.get("lowest_pitch", LOWEST_PITCH)
    if isinstance(lowest, bool) or not isinstance(lowest, int) or not 0 <= lowest <= 127:
        raise ConditionError(f"option 'lowest_pitch' of condition {name!r} came as {lowest!r}, expected a MIDI note "
                             "from 0 to 127")
    return lowest


def _highest_notes(path: Path, context: ConditionContext) -> list[int | None]:
    """The highest note that sounds at each frame of a MIDI file: where there are several, it is heard as the tune."""
    pitches: list[int | None] = [None] * context.n_frames
    rate = context.frame_rate_hz
    for note in read_notes(path):
        for frame in range(math.ceil(note.start * rate - 1e-9), min(math.ceil(note.end * rate), context.n_frames)):
            known = pitches[frame]
            if known is None or note.pitch > known:
                pitches[frame] = note.pitch
    return pitches


def make_melody_conditioner(host: Host, setup: ConditionerSetup) -> MelodyConditioner:
    """The conditioner for the checkpoint's number of pitches."""
    return MelodyConditioner(setup.slot.width, setup.slot.name)
