"""Points to pitch classes: straight lines between the points, shared between the two nearest semitones."""

import math
from itertools import pairwise

import numpy as np
import torch

from soundforge import ConditionError
from soundforge.interfaces import Condition

EXPECTED = "expected points of seconds and MIDI note such as '0:60 2:72', rising in time"


class DrawnMelody:
    """See `soundforge.interfaces.Conditioner`; the curve begins with the new audio, what is older stays null."""

    def __init__(self, slot, device="cpu"):
        if slot.width != 12:
            raise ConditionError(f"slot {slot.name!r} takes {slot.width} features, drawn_melody has 12 pitch classes")
        self.device = device

    def prepare(self, value, context):
        """Points as two arrays; None and "" are the null condition."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            pairs = [point.split(":") for point in value.split()] if isinstance(value, str) else value
            points = [(float(seconds), float(note)) for seconds, note in pairs]
        except (TypeError, ValueError):
            raise ConditionError(f"condition 'drawn_melody' came as {str(value)[:60]!r}, {EXPECTED}") from None
        times, notes = [t for t, _ in points], [n for _, n in points]
        rising = all(math.isfinite(time) for time in times) and all(a < b for a, b in pairwise(times))
        if not points or not rising or not all(0 <= note <= 127 for note in notes):
            raise ConditionError(f"condition 'drawn_melody' came as {str(value)[:60]!r}, {EXPECTED}")
        return np.array(times), np.array(notes)

    def encode(self, prepared, context):
        """Features [B, frames, 12]; the curve's ends are held before its first and after its last point."""
        n = max(1, context.n_frames)
        values, mask = torch.zeros(len(prepared), n, 12), torch.zeros(len(prepared), n, dtype=torch.bool)
        # In a later window of a long generation the new audio began before the window's first frame.
        frames = np.arange(min(max(0, context.new_start), n), n)
        for row, curve in enumerate(prepared):
            if curve is None:
                continue
            pitch = np.interp((frames - context.new_start) / context.frame_rate_hz, *curve)
            lower, share = np.floor(pitch).astype(int), pitch % 1.0
            np.add.at(values[row].numpy(), (frames, lower % 12), 1.0 - share)
            np.add.at(values[row].numpy(), (frames, (lower + 1) % 12), share)
            mask[row, frames] = True
        return Condition(values.to(self.device), mask.to(self.device))
