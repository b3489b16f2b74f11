"""Transformer layers that see the whole sequence at once, for models that are not autoregressive (JASCO, MAGNeT).

The weights, their names and the order inside a layer are those of `transformer.DecoderLayer`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.nn.language_model import LanguageModelConfig
from soundforge.nn.positions import sinusoidal_positions
from soundforge.nn.transformer import DecoderLayer

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values `[B, H, n, Dh]` to `[B, H, n, Dh]`."""

_BLOCK = 32  # queries that share their keys in local attention


class WholeLayer(DecoderLayer):
    """One pre-norm layer whose self-attention sees both ways."""

    def whole(self, x: Tensor, keys_values: Tensor | None = None,
              attend: Attend = F.scaled_dot_product_attention) -> Tensor:
        """`[B, n, D]` to `[B, n, D]`.

        Args:
            keys_values: of the condition, `[2, B, H, L, Dh]` from `cross_attn.keys_values`, or None.
            attend: what a position sees of the sequence; all of it, or see `local_attention`.
        """
        out = attend(*self.self_attn._project(self.norm1(x)).unbind(0))
        x = x + self.self_attn.out_proj(out.transpose(1, 2).reshape(x.shape))
        # AudioCraft, where both models come from, masks nothing in cross-attention: padding is attended to.
        return self._rest(x, keys_values, None)


def whole_layer(config: LanguageModelConfig) -> WholeLayer:
    """A layer of the network that `config` describes."""
    return WholeLayer(config.d_model, config.n_heads, config.ffn_width or 4 * config.d_model,
                      cross_attention=config.cross_attention, bias_attention=config.bias_attention,
                      bias_ffn=config.bias_ffn, dropout=0.0, norm_eps=config.norm_eps)


def local_attention(n: int, reach: int, device: torch.device | str) -> Attend:
    """Attention in which a position sees those at most `reach` away; a negative reach means all of the `n`.

    Queries go in blocks, each with the keys that one of them can see, so its cost grows with n, not with n squared.
    """
    if reach < 0:
        return F.scaled_dot_product_attention
    n_blocks, width = -(-n // _BLOCK), _BLOCK + 2 * reach
    if width >= n:
        at = torch.arange(n, device=device)
        whole = (at[:, None] - at[None, :]).abs() <= reach
        return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=whole)
    rows = torch.arange(n_blocks * _BLOCK, device=device).view(n_blocks, _BLOCK, 1)
    columns = torch.arange(n_blocks, device=device)[:, None, None] * _BLOCK + torch.arange(width, device=device) - reach
    # Rows that fill the last block may see anything: one that saw nothing would be NaN.
    seen = ((rows - columns).abs() <= reach) & (columns >= 0) & (columns < n) | (rows >= n)
    missing = n_blocks * _BLOCK - n

    def near(x: Tensor) -> Tensor:
        """`[B, H, n, Dh]` to `[B, H * n_blocks, width, Dh]`."""
        pieces = F.pad(x, (0, 0, reach, reach + missing)).unfold(2, width, _BLOCK).transpose(-1, -2)
        return pieces.reshape(x.shape[0], -1, width, x.shape[-1])

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, heads, _, head_width = q.shape
        blocks = F.pad(q, (0, 0, 0, missing)).reshape(batch, heads * n_blocks, _BLOCK, head_width)
        out = F.scaled_dot_product_attention(blocks, near(k), near(v), attn_mask=seen.repeat(heads, 1, 1))
        return out.view(batch, heads, n_blocks * _BLOCK, head_width)[:, :, :n]

    return attend


def add_positions(x: Tensor, max_period: float = 10_000.0) -> Tensor:
    """`[B, n, D]` with sinusoidal positions 0 .. n - 1 added."""
    return x + sinusoidal_positions(0, x.shape[1], x.shape[2], max_period=max_period, device=x.device).to(x.dtype)
