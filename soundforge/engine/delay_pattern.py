"""The delay pattern: frame t of codebook k stands at sequence position t + delay[k] + 1.

Position 0 is all special tokens, so a sequence of T frames has T + max(delays) + 1 positions. The token read from
the logits of position s belongs to position s + 1. Delays are sorted and may repeat (stereo pairs 0, 0, 1, 1, ...).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

UNKNOWN = -1
"""Marks a token of a delayed sequence that is still to be generated."""


class DelayPattern:
    """Arithmetic between codes `[B, K, T]` and delayed sequences `[B, K, S]`. Immutable, thread-safe.

    Args:
        delays: per codebook, in frames, sorted, at least 0.
        special_token: stands where a codebook has no frame.

    Raises:
        ValueError: no delays, unsorted, or negative.
    """

    def __init__(self, delays: Sequence[int], special_token: int) -> None:
        if not delays or list(delays) != sorted(delays) or delays[0] < 0:
            raise ValueError(f"delays came as {list(delays)}, expected a sorted list of numbers from 0 on")
        self.delays = tuple(int(d) for d in delays)
        self.special_token = special_token

    @property
    def n_codebooks(self) -> int:
        return len(self.delays)

    @property
    def max_delay(self) -> int:
        return self.delays[-1]

    def sequence_length(self, n_frames: int) -> int:
        """Positions of a sequence of `n_frames` frames."""
        return n_frames + self.max_delay + 1

    def known_positions(self, n_frames: int) -> int:
        """Leading positions whose every token is known when the first `n_frames` frames of all books are.

        They are what a prompt prefills; decoding goes on with the position after them.
        """
        return n_frames + self.delays[0] + 1

    def complete_frames(self, n_positions: int) -> int:
        """Frames of which every book is known when the first `n_positions` positions are."""
        return max(0, n_positions - 1 - self.max_delay)

    def delay(self, codes: Tensor, n_frames: int, *, open_tail: bool = False) -> Tensor:
        """Codes of the first P frames `[B, K, P]` to the sequence `[B, K, S]` for `n_frames` frames.

        Frames from P on are `UNKNOWN`. With `open_tail` the places after the last frame of the less delayed books
        are unknown as well, as if the music went on; else they are special, as in the references.
        """
        batch, k, given = codes.shape
        length = self.sequence_length(n_frames)
        sequence = torch.full((batch, k, length), self.special_token, dtype=torch.long, device=codes.device)
        for book, delay in enumerate(self.delays):
            end = length if open_tail else delay + 1 + n_frames
            sequence[:, book, delay + 1:end] = UNKNOWN
            sequence[:, book, delay + 1:delay + 1 + given] = codes[:, book]
        return sequence

    def undelay(self, sequence: Tensor, start: int, stop: int) -> Tensor:
        """Frames `start` to `stop` of a sequence `[B, K, S]`, as codes `[B, K, stop - start]`."""
        return torch.stack([sequence[:, book, delay + 1 + start:delay + 1 + stop]
                            for book, delay in enumerate(self.delays)], dim=1)

    def defined(self, n_frames: int) -> Tensor:
        """Where teacher-forced logits exist `[K, T]` bool: AudioCraft keeps only the steps at which every book
        stands inside the sequence it was given, so the last frames of late books have none."""
        frames = torch.arange(n_frames)[None, :] + torch.tensor(self.delays)[:, None]
        return frames < n_frames + self.delays[0]
