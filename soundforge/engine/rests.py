"""How long a model may rest: silence begets silence, and a model that has fallen into it seldom finds out by itself.

A language model over codes continues what it has heard. Where that is a second of silence, more silence is by far the
likeliest, however the text or the prompt sounded before. So a checkpoint may say which entries of its first codebook
are silent and how many frames of them may follow each other (`RestLimits`); after these the silent entries are ruled
out until something sounds. A prompt that rests longer itself may be carried on with rests as long and half as long
again; after one that is silent for two seconds silence is right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundforge.interfaces import RestLimits

ENDLESS = 1 << 30
SILENT_SECONDS = 2.0


class Rests:
    """The limits of one model. Immutable, thread-safe.

    Args:
        limits: see `RestLimits`.
        card: tokens of a codebook that can be drawn.
        frame_rate_hz: of the codes.
        device: of the logits.
    """

    def __init__(self, limits: RestLimits, card: int, frame_rate_hz: float, device: torch.device) -> None:
        self.limits = limits
        self._silent_prompt = round(SILENT_SECONDS * frame_rate_hz)
        silent = torch.zeros(card + 1, dtype=torch.bool)  # the special token is none of them
        silent[list(limits.codes)] = True
        self._silent = silent.to(device)

    def allowed(self, prompt: Tensor) -> Tensor:
        """Frames of silence that may follow each other behind prompts of the first codebook `[B, P]`, int64 `[B]`."""
        longest = torch.cat([prompt.new_zeros(prompt.shape[0], 1), self._runs(prompt)], dim=1).amax(1)
        frames = torch.maximum(longest + longest // 2, torch.full_like(longest, self.limits.frames))
        return torch.where(longest >= self._silent_prompt, ENDLESS, frames)

    def bound(self, logits: Tensor, past: Tensor, begins: bool, allowed: Tensor) -> Tensor:
        """Logits `[B, K, card]` without the silent tokens of the first codebook, in rows that have rested enough.

        Args:
            past: all tokens of the first codebook so far `[B, n]`, the prompt's included.
            begins: there is no prompt; then the first sound may not be waited for as long as the later ones.
            allowed: of the prompt.
        """
        n = past.shape[1]
        if n == 0:
            return logits
        run = self._runs(past)[:, -1]
        over = run >= allowed
        if begins:
            over |= (run == n) & (run >= self.limits.first_frames)
        if not bool(over.any()):
            return logits
        silent = self._silent[:logits.shape[-1]]
        bounded = logits.clone()
        bounded[:, 0] = torch.where(over[:, None] & silent, -torch.inf, logits[:, 0])
        return bounded

    def _runs(self, tokens: Tensor) -> Tensor:
        """How many silent tokens in a row end at each of `[B, n]`."""
        place = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        last_sound = torch.where(self._silent[tokens], 0, place).cummax(1).values
        return place - last_sound
