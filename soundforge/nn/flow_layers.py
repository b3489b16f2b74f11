"""Transformer layers that see the whole sequence at once, for models that are not autoregressive (JASCO, MAGNeT).

The weights, their names and the order inside a layer are those of `transformer.DecoderLayer`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.nn.language_model import LanguageModelConfig
from soundforge.nn.positions import sinusoidal_positions
from soundforge.nn.transformer import DecoderLayer


class WholeLayer(DecoderLayer):
    """One pre-norm layer whose self-attention is restricted by a mask alone."""

    def whole(self, x: Tensor, keys_values: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """`[B, n, D]` to `[B, n, D]`.

        Args:
            keys_values: of the condition, `[2, B, H, L, Dh]` from `cross_attn.keys_values`, or None.
            mask: `[n, n]` bool, True = seen; None = every position sees all.
        """
        q, k, v = self.self_attn._project(self.norm1(x)).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.self_attn.out_proj(out.transpose(1, 2).reshape(x.shape))
        # AudioCraft, where both models come from, masks nothing in cross-attention: padding is attended to.
        return self._rest(x, keys_values, None)


def whole_layer(config: LanguageModelConfig) -> WholeLayer:
    """A layer of the network that `config` describes."""
    return WholeLayer(config.d_model, config.n_heads, config.ffn_width or 4 * config.d_model,
                      cross_attention=config.cross_attention, bias_attention=config.bias_attention,
                      bias_ffn=config.bias_ffn, dropout=0.0, norm_eps=config.norm_eps)


def local_mask(n: int, reach: int, device: torch.device | str) -> Tensor | None:
    """Mask `[n, n]` under which a position sees those at most `reach` away; None for a negative reach (all)."""
    if reach < 0:
        return None
    at = torch.arange(n, device=device)
    return (at[:, None] - at[None, :]).abs() <= reach


def add_positions(x: Tensor, max_period: float = 10_000.0) -> Tensor:
    """`[B, n, D]` with sinusoidal positions 0 .. n - 1 added."""
    return x + sinusoidal_positions(0, x.shape[1], x.shape[2], max_period=max_period, device=x.device).to(x.dtype)
