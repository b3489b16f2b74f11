"""The style encoder of MusicGen-Style: features of an excerpt through a transformer and a quantised bottleneck.

Rouard et al. 2024, "Audio conditioning for music generation via discrete bottleneck features". The module's
names are those of AudioCraft's checkpoints, but for the codebooks, which stand in one tensor.

The transformer is pre-norm WITHOUT a norm at its end, not causal, with sinusoidal positions from 0; batch
normalisation has no weights and uses the statistics of the training; down-sampling comes after quantisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundforge.nn.rvq import ResidualQuantiser

# AudioCraft's `transformer_scale`: width, heads, layers.
SCALES: dict[str, tuple[int, int, int]] = {
    "xsmall": (256, 8, 4),
    "default": (512, 8, 8),
    "large": (1024, 16, 24),
    "none": (512, 8, 0),
}


@dataclass(frozen=True)
class StyleConfig:
    """Shape of a style encoder.

    Args:
        scale: a key of `SCALES`.
        n_feature_books: codebooks of the codec whose codes are embedded, or 0 for continuous features.
        codebook_size: entries of each of them.
        feature_width: width of continuous features (768 for MERT).
        n_quantisers: residual quantisers of the bottleneck; 0 = none.
        quantiser_size: entries of each of them.
        batch_norm: normalise before the bottleneck.
    """

    scale: str = "default"
    n_feature_books: int = 4
    codebook_size: int = 2048
    feature_width: int = 768
    n_quantisers: int = 6
    quantiser_size: int = 1024
    batch_norm: bool = True

    @property
    def width(self) -> int:
        return SCALES[self.scale][0]


class StyleEncoder(nn.Module):
    """Codes or continuous features to the style's vectors."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        width, heads, n_layers = SCALES[config.scale]
        self.config = config
        self.embed: nn.Module
        if config.n_feature_books:
            self.embed = nn.ModuleList(nn.Embedding(config.codebook_size, width)
                                       for _ in range(config.n_feature_books))
        else:
            self.embed = nn.Linear(config.feature_width, width)
        self.transformer = _Transformer(width, heads, n_layers) if n_layers else None
        self.batch_norm = _FrozenBatchNorm(width) if config.batch_norm else None
        self.rvq = (ResidualQuantiser(config.n_quantisers, config.quantiser_size, width)
                    if config.n_quantisers else None)

    def embed_features(self, features: Tensor, n_books: int | None = None) -> Tensor:
        """Codes `[B, K, L]` int64 (the first `n_books` of them count) or features `[B, L, W]` to `[B, L, D]`."""
        if isinstance(self.embed, nn.ModuleList):
            books = list(self.embed)[: n_books or len(self.embed)]
            total: Tensor = books[0](features[:, 0])
            for index, book in enumerate(books[1:], start=1):
                total = total + book(features[:, index])
            return total
        embedded: Tensor = self.embed(features)
        return embedded

    def before_quantiser(self, embedded: Tensor) -> Tensor:
        """Embedded features `[B, L, D]` through transformer and batch normalisation: `[B, L, D]`."""
        if self.transformer is not None:
            embedded = self.transformer(embedded)
        return embedded if self.batch_norm is None else self.batch_norm(embedded)

    def forward(self, features: Tensor, *, n_quantisers: int, every: int, n_books: int | None = None) -> Tensor:
        """The style's vectors.

        Args:
            features: codes `[B, K, L]` or continuous features `[B, L, W]`.
            n_quantisers: how many quantisers of the bottleneck to use (AudioCraft's `eval_q`).
            every: keep every n-th frame (AudioCraft's `ds_factor`).
            n_books: how many codebooks of the features to use; None = all.

        Returns:
            `[B, ceil(L / every), D]`.
        """
        out = self.before_quantiser(self.embed_features(features, n_books))
        if self.rvq is not None:
            codes = self.rvq.encode(out.transpose(1, 2), n_quantisers)
            out = self.rvq.decode(codes).transpose(1, 2)
        return out[:, ::every]


class _FrozenBatchNorm(nn.Module):
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x.transpose(1, 2), self.running_mean, self.running_var).transpose(1, 2)


class _Transformer(nn.Module):
    def __init__(self, width: int, heads: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(n_layers))

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        exponent = torch.arange(half, device=x.device, dtype=x.dtype) / (half - 1)
        positions = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None]
        phase = positions / torch.full_like(exponent, 10000.0) ** exponent
        x = x + torch.cat([phase.cos(), phase.sin()], dim=-1)
        for layer in self.layers:
            x = layer(x)
        return x


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads)
        self.linear1 = nn.Linear(width, 4 * width, bias=False)
        self.linear2 = nn.Linear(4 * width, width, bias=False)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm1(x))
        out: Tensor = x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.out_proj = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.in_proj_weight, std=1 / math.sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        projected = F.linear(x, self.in_proj_weight).view(batch, length, 3, self._heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return out
