"""Pre-norm transformer decoder layers: self-attention, optional cross-attention, feed-forward with exact GELU.

Each layer has two roads through the same weights: `forward` over a whole sequence (training, teacher forcing) and
`step` over new positions with keys and values kept in a `DecodeState`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.kv_cache import DecodeState


class SelfAttention(nn.Module):
    """Causal multi-head self-attention; `in_proj` holds queries, keys and values in this order, `[3D, D]`."""

    def __init__(self, d_model: int, n_heads: int, bias: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_width = d_model // n_heads
        self.dropout = dropout
        self.in_proj = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def _project(self, x: Tensor) -> Tensor:
        """`[B, n, D]` to `[3, B, H, n, Dh]`."""
        batch, n, _ = x.shape
        split: Tensor = self.in_proj(x).view(batch, n, 3, self.n_heads, self.head_width)
        return split.permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, n, D]` to `[B, n, D]`, each position seeing itself and those before it."""
        q, k, v = self._project(x).unbind(0)
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        return self.out_proj(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def step(self, x: Tensor, cache: Tensor, position: int, mask: Tensor | None) -> Tensor:
        """New positions `[B, n, D]` from `position` on; their keys and values are written into `cache`.

        Args:
            cache: this layer's `[2, B, H, S, Dh]`.
            mask: `[n, position + n]` bool, or None when every new position may see all (n = 1).
        """
        n = x.shape[1]
        projected = self._project(x)
        cache.narrow(3, position, n).copy_(projected[1:])
        k, v = cache.narrow(3, 0, position + n).unbind(0)
        if n > 1 and position == 0:
            out = F.scaled_dot_product_attention(projected[0], k, v, is_causal=True)
        else:
            out = F.scaled_dot_product_attention(projected[0], k, v, attn_mask=mask)
        return self.out_proj(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Attention to a condition; `kv_proj` holds keys and values in this order, `[2D, D]`."""

    def __init__(self, d_model: int, n_heads: int, bias: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_width = d_model // n_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.kv_proj = nn.Linear(d_model, 2 * d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def keys_values(self, source: Tensor) -> Tensor:
        """A condition `[B, L, D]` to `[2, B, H, L, Dh]`."""
        batch, length, _ = source.shape
        split: Tensor = self.kv_proj(source).view(batch, length, 2, self.n_heads, self.head_width)
        return split.permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, n, D]` with keys and values `[2, B, H, L, Dh]` and mask `[B, 1, 1, L]` (True = seen) or None."""
        batch, n, _ = x.shape
        q = self.q_proj(x).view(batch, n, self.n_heads, self.head_width).transpose(1, 2)
        k, v = keys_values.unbind(0)
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """One pre-norm layer; order: self-attention, cross-attention, feed-forward."""

    def __init__(self, d_model: int, n_heads: int, ffn_width: int, *, cross_attention: bool,
                 bias_attention: bool, bias_ffn: bool, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(d_model, eps=norm_eps)
        self.self_attn = SelfAttention(d_model, n_heads, bias_attention, dropout)
        self.norm_cross: nn.LayerNorm | None = None
        self.cross_attn: CrossAttention | None = None
        if cross_attention:
            self.norm_cross = nn.LayerNorm(d_model, eps=norm_eps)
            self.cross_attn = CrossAttention(d_model, n_heads, bias_attention, dropout)
        self.norm2 = nn.LayerNorm(d_model, eps=norm_eps)
        self.linear1 = nn.Linear(d_model, ffn_width, bias=bias_ffn)
        self.linear2 = nn.Linear(ffn_width, d_model, bias=bias_ffn)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.training else x

    def _rest(self, x: Tensor, cross_keys_values: Tensor | None, cross_mask: Tensor | None) -> Tensor:
        """Cross-attention and feed-forward, the same for both roads."""
        if self.cross_attn is not None and self.norm_cross is not None and cross_keys_values is not None:
            x = x + self._drop(self.cross_attn(self.norm_cross(x), cross_keys_values, cross_mask))
        hidden = self._drop(F.gelu(self.linear1(self.norm2(x))))
        return x + self._drop(self.linear2(hidden))

    def forward(self, x: Tensor, cross: Tensor | None = None, cross_mask: Tensor | None = None) -> Tensor:
        """`[B, n, D]` to `[B, n, D]`; `cross` is the condition `[B, L, D]`."""
        x = x + self._drop(self.self_attn(self.norm1(x)))
        keys_values = None
        if self.cross_attn is not None and cross is not None:
            keys_values = self.cross_attn.keys_values(cross)
        return self._rest(x, keys_values, cross_mask)

    def step(self, x: Tensor, state: DecodeState, index: int, mask: Tensor | None) -> Tensor:
        """New positions `[B, n, D]`; `index` is this layer's place in `state`."""
        x = x + self.self_attn.step(self.norm1(x), state.keys_values[index], state.position, mask)
        cross = None if state.cross_keys_values is None else state.cross_keys_values[index]
        return self._rest(x, cross, state.cross_mask)


def causal_mask(n: int, position: int, device: torch.device | str) -> Tensor | None:
    """Mask `[n, position + n]` (True = seen) for `n` new positions after `position` old ones; None for n = 1."""
    if n == 1:
        return None
    rows = torch.arange(position, position + n, device=device)[:, None]
    return torch.arange(position + n, device=device)[None, :] <= rows
