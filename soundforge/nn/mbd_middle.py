"""What stands in the middle of MultiBandDiffusion's U-Net: a small post-norm transformer, or a BiLSTM.

Names of parameters are those of the published files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.positions import sinusoidal_positions

HEADS, _LAYERS, _FFN_WIDTH = 8, 6, 2048  # fixed in every published model, not in its configuration


class _Projections(nn.Module):
    """`in_proj_weight` `[3C, C]` holds queries, keys and values in this order."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.out_proj = nn.Linear(width, width, bias=False)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        width = x.shape[-1]
        q = F.linear(x, self.in_proj_weight[:width])
        k, v = F.linear(source, self.in_proj_weight[width:]).chunk(2, dim=-1)
        q, k, v = (t.view(*t.shape[:-1], HEADS, width // HEADS).transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mha = _Projections(width)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.mha(x, source)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """Post-norm, ReLU: the defaults of the class that the published models were built with."""

    def __init__(self, width: int, cross_attention: bool) -> None:
        super().__init__()
        self.self_attn = _Attention(width)
        self.linear1 = nn.Linear(width, _FFN_WIDTH, bias=False)
        self.linear2 = nn.Linear(_FFN_WIDTH, width, bias=False)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = _Attention(width) if cross_attention else None
        self.norm_cross = nn.LayerNorm(width) if cross_attention else None

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        given = x
        x = self.norm1(x + self.self_attn(x, x))
        if self.cross_attention is not None and self.norm_cross is not None and source is not None:
            # The reference's queries come from the layer's input, not from behind the self-attention;
            # trained weights depend on it.
            x = self.norm_cross(x + self.cross_attention(given, source))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))  # type: ignore[no-any-return]


class MiddleTransformer(nn.Module):
    """Over `[B, T, C]`; `source` `[B, L, C]` is attended to where `cross_attention` is on."""

    def __init__(self, width: int, cross_attention: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, cross_attention) for _ in range(_LAYERS))

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        x = x + positions_like(x)
        for layer in self.layers:
            x = layer(x, source)
        return x


class BiLstm(nn.Module):
    """Two layers, both ways."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, bidirectional=True)
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, T]`."""
        return self.linear(self.lstm(x.permute(2, 0, 1))[0]).permute(1, 2, 0)  # type: ignore[no-any-return]


def positions_like(x: Tensor) -> Tensor:
    """Sinusoidal positions for `[B, T, C]`."""
    return sinusoidal_positions(0, x.shape[1], x.shape[2], device=x.device).to(x.dtype)
