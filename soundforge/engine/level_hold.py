"""Loudness of later windows held at that of the first.

Generated beyond its window, MusicGen drifts: each window continues what the one before made, a little louder or
softer each time. Here the prompt of a later window is brought to the reference loudness before it is continued
(decoded, scaled, encoded again), so the drift cannot add up. The sound then is continuous all the same: it starts at
the old loudness and slides to the reference over a few seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundforge.audio import Samples, match_gain
from soundforge.interfaces import Codec

SLIDE_SECONDS = 3.0
LIMIT_DB = 6.0
SMALLEST_DB = 0.25
"""Below this nothing is done: encoding again costs some quality."""


class LevelHold:
    """State of one generation. Not thread-safe."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._reference: list[Samples] | None = None
        self._slides: list[tuple[int, Tensor]] = []  # (first frame after the shift, gain there by item)

    def on_shift(self, prompt: Tensor, new_frames: int) -> Tensor:
        """The prompt `[B, K, P]` of the next window at the reference loudness.

        Args:
            new_frames: frames generated so far.
        """
        audio = self._codec.decode(prompt).float()
        items = [item.cpu().numpy() for item in audio]
        if self._reference is None:
            # What the first window ended with is the reference.
            self._reference = items
            return prompt
        pairs = zip(self._reference, items, strict=True)
        gains = torch.tensor([match_gain(reference, item, LIMIT_DB) for reference, item in pairs])
        if bool((20.0 * gains.log10().abs() < SMALLEST_DB).all()):
            return prompt
        self._slides.append((new_frames, 1.0 / gains))
        codes = self._codec.encode(audio * gains.to(audio)[:, None, None]).codes
        return codes[:, :prompt.shape[1], :prompt.shape[2]].to(prompt)

    def apply(self, samples: Samples, start: int, hop_length: int) -> Samples:
        """Gains on new samples `[B, C, n]` whose first one is the `start`-th new sample of the generation."""
        if not self._slides:
            return samples
        n = samples.shape[-1]
        time = (torch.arange(n) + start).double()
        length = SLIDE_SECONDS * self._codec.sample_rate
        log_gain = torch.zeros(samples.shape[0], n, dtype=torch.float64)
        for frame, gains in self._slides:
            passed = (time - frame * hop_length) / length
            weight = torch.where(passed < 0, 0.0, (1.0 - passed).clamp(min=0.0))
            log_gain += weight[None, :] * gains.double().log()[:, None]
        if not bool(log_gain.any()):
            return samples
        gain: Samples = log_gain.exp().float().numpy()
        return samples * gain[:, None, :]
