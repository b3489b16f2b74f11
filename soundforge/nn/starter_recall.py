"""What a text sounds like: style summaries of many composed pieces, found by the text's vector.

A text says little that a small language model learns to follow: inside a piece, what was heard says nearly all of it. A
style summary (the condition "style") it does follow. So texts and summaries of the same pieces were taught to lie close
together in one space (contrastive learning, after CLIP, Radford et al. 2021), and a text brings the summary of a piece
near it along (retrieval, after kNN-Diffusion, Sheynin et al. 2022).
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEAREST = 8
"""Of so many pieces one is drawn, the nearer the likelier."""
CHOICE = 32
"""Of so many pieces the one that is nearest to a prompt is taken."""


class Meeting(nn.Module):
    """Features ``[..., n_in]`` to unit vectors ``[..., width]``, where texts and styles meet."""

    def __init__(self, n_in: int, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.up = nn.Linear(n_in, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return F.normalize(self.down(F.gelu(self.up(features))), dim=-1)


class StyleMemory(nn.Module):
    """Remembered pieces: where texts find them ``keys`` [N, width], and their style summaries ``styles`` [N, S]."""

    keys: Tensor
    styles: Tensor
    sharpness: Tensor

    def __init__(self, entries: int, text_width: int, style_width: int, width: int = 64) -> None:
        super().__init__()
        self.query = Meeting(text_width, width)
        self.register_buffer("keys", torch.zeros(entries, width))
        self.register_buffer("styles", torch.zeros(entries, style_width))
        self.register_buffer("sharpness", torch.tensor(10.0))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> StyleMemory:
        """The memory in a checkpoint's tensors, for inference.

        Raises:
            KeyError, RuntimeError: tensors are missing, or do not fit together.
        """
        entries, width = tensors["keys"].shape
        memory = cls(entries, tensors["query.up.weight"].shape[1], tensors["styles"].shape[1], width)
        memory.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return memory.eval().requires_grad_(False)

    @torch.inference_mode()
    def recall(self, text: Tensor, seed: int) -> Tensor:
        """Style summary ``[S]`` of a piece that sounds like a text, given its vector ``[W]``; another seed, another."""
        likeness = self._likeness(text)
        nearest = likeness.topk(min(NEAREST, len(likeness)))
        weights = nearest.values.softmax(0).tolist()
        # A string seeds a stream of its own, which no other choice that follows from the seed shares.
        chosen = random.Random(f"style {seed}").choices(nearest.indices.tolist(), weights)[0]
        return self.styles[chosen]

    @torch.inference_mode()
    def nearest(self, text: Tensor, style: Tensor) -> Tensor:
        """Of the pieces that sound like a text, given its vector ``[W]``, the summary ``[S]`` nearest to ``style``."""
        among = self.styles[self._likeness(text).topk(min(CHOICE, len(self.keys))).indices]
        distances = ((among - style) / (self.styles.std(0) + 1e-6)).norm(dim=-1)
        found: Tensor = among[distances.argmin()]
        return found

    def _likeness(self, text: Tensor) -> Tensor:
        likeness: Tensor = self.sharpness * (self.keys @ self.query(text))
        return likeness
