"""The starter's text encoder: words as hashed pieces, a small transformer, no outside model.

A word is the mean of the embeddings of the word itself and of its character n-grams, so that a typo or an unknown word
lands near what it resembles. Numbers from 40 to 240 also carry a coarse tempo piece ("124" and "125" nearly agree).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BUCKETS = 4096
MAX_WORDS = 24
MAX_PIECES = 12
_TEMPO = re.compile(r"\b(\d{2,3}(?:\.\d+)?)\s*-?\s*bpm\b|\btempo\s*(?:of\s+|:\s*|=\s*)?(\d{2,3}(?:\.\d+)?)\b")
_KEY = re.compile(r"\b([a-g])(#|b| sharp| flat)?[ -](major|minor|dorian|phrygian|mixolydian)\b")
_CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_WORD = re.compile(r"[a-z#]+|[0-9]+")
TEXT_HEADS = 4


def word_pieces(word: str) -> list[int]:
    """Bucket numbers 1 .. BUCKETS - 1 of one lower-case word, the word itself first."""
    pieces = [word]
    if word.isdigit() and 40 <= int(word) <= 240:
        pieces += [f"tempo:{int(word) // 4}", f"tempo:{int(word) // 12}x"]
    else:
        marked = f"<{word}>"
        pieces += [marked[i : i + 3] for i in range(len(marked) - 2)]
    return [1 + zlib.crc32(piece.encode()) % (BUCKETS - 1) for piece in pieces[:MAX_PIECES]]


def asked_tempo(text: str) -> float | None:
    """The tempo in BPM that a text asks for ("124 bpm", "tempo 90"), 40 to 240, or None."""
    found = _TEMPO.search(text.lower())
    bpm = float(found.group(1) or found.group(2)) if found else 0.0
    return bpm if 40.0 <= bpm <= 240.0 else None


def asked_key(text: str) -> tuple[int, str] | None:
    """Tonic (pitch class, C = 0) and mode that a text asks for ("in F# minor", "a flat major"), or None."""
    found = _KEY.search(text.lower())
    if found is None:
        return None
    shift = {"#": 1, " sharp": 1, "b": -1, " flat": -1}.get(found.group(2) or "", 0)
    return (_CLASSES[found.group(1)] + shift) % 12, found.group(3)


def tokenise(text: str) -> list[list[int]]:
    """Pieces of each word, at most ``MAX_WORDS`` words."""
    return [word_pieces(word) for word in _WORD.findall(text.lower())[:MAX_WORDS]]


def pad_tokens(batch: Sequence[list[list[int]]]) -> Tensor:
    """int64 ``[B, L, MAX_PIECES]``, 0 where there is nothing; L at least 1."""
    longest = max(1, *(len(words) for words in batch)) if batch else 1
    out = torch.zeros(len(batch), longest, MAX_PIECES, dtype=torch.long)
    for row, words in enumerate(batch):
        for column, pieces in enumerate(words):
            out[row, column, : len(pieces)] = torch.tensor(pieces)
    return out


class StarterTextEncoder(nn.Module):
    """Pieces ``[N, L, P]`` -> one vector per text ``[N, W]``: the mean over its words."""

    def __init__(self, width: int = 128, n_layers: int = 2, n_heads: int = TEXT_HEADS) -> None:
        super().__init__()
        self.width = width
        self.pieces = nn.Embedding(BUCKETS, width)
        self.places = nn.Parameter(torch.randn(MAX_WORDS, width) * 0.02)
        nn.init.normal_(self.pieces.weight, std=0.3)
        self.layers = nn.ModuleList(_Layer(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, pieces: Tensor) -> Tensor:
        """See the class; a text without words gives zeros."""
        real = pieces > 0
        mask = real.any(-1)
        summed = (self.pieces(pieces) * real[..., None]).sum(2)
        x = summed / real.sum(-1, keepdim=True).clamp_min(1).sqrt() + self.places[: pieces.shape[1]]
        seen = (mask | ~mask.any(-1, keepdim=True))[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        share = mask[..., None] / mask.sum(-1, keepdim=True).clamp_min(1)[..., None]
        pooled: Tensor = (self.norm(x) * share).sum(1)
        return pooled


class _Layer(nn.Module):
    """A pre-norm encoder layer."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        hidden: Tensor = self.down(F.gelu(self.up(self.norm2(x))))
        return x + hidden
