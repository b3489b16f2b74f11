"""MAGNeT's network (Ziv et al. 2024): the decoder LM's layers without the causal mask.

Codebooks are predicted one after the other ("stages"): the first with full attention, the others with attention to
their neighbourhood, since a finer codebook only details what the coarser ones say around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.codebooks import CodebookEmbeddings, CodebookHeads
from soundforge.nn.flow_layers import WholeLayer, add_positions, local_attention, whole_layer
from soundforge.nn.language_model import LanguageModelConfig


@dataclass(frozen=True)
class MagnetConfig:
    """Shape of the network.

    Args:
        lm: as of a decoder LM; the special token is the mask.
        subcodes_context: reach of self-attention in the stages after the first, in frames; -1 = unlimited.
        span_len: frames that are masked together.
    """

    lm: LanguageModelConfig
    subcodes_context: int = 5
    span_len: int = 3


class MagnetNetwork(nn.Module):
    """Masked token prediction. State dictionary as of `soundforge.nn.language_model.LanguageModel`."""

    def __init__(self, config: MagnetConfig) -> None:
        super().__init__()
        lm = config.lm
        self.config = config
        self.emb = CodebookEmbeddings(lm.n_codebooks, lm.card, lm.d_model)
        self.layers = nn.ModuleList(whole_layer(lm) for _ in range(lm.n_layers))
        self.out_norm = nn.LayerNorm(lm.d_model, eps=lm.norm_eps)
        self.heads = CodebookHeads(lm.n_codebooks, lm.card, lm.d_model, lm.bias_heads)

    @property
    def mask_token(self) -> int:
        return self.config.lm.special_token

    def keys_values(self, condition: Tensor | None) -> list[Tensor | None]:
        """What each layer attends to in a condition `[B, L, D]`; it serves all steps of a generation."""
        if condition is None or not self.config.lm.cross_attention:
            return [None] * len(self.layers)
        return [layer.cross_attn.keys_values(condition) for layer in self._layers()]  # type: ignore[union-attr]

    def forward(self, codes: Tensor, stage: int, keys_values: list[Tensor | None],
                frames: Tensor | None = None) -> Tensor:
        """Logits of one codebook.

        Args:
            codes: int64 `[B, K, T]`, entries 0 .. card, card = masked.
            stage: the codebook.
            keys_values: from `keys_values`.
            frames: int64 `[B, n]`, the frames whose logits are wanted; None = all.

        Returns:
            `[B, n, card]`.
        """
        x = add_positions(self.emb(codes), self.config.lm.max_period)
        attend = local_attention(codes.shape[-1], -1 if stage == 0 else self.config.subcodes_context, x.device)
        for layer, source in zip(self._layers(), keys_values, strict=True):
            x = layer.whole(x, source, attend)
        if frames is not None:
            x = x.gather(1, frames[..., None].expand(-1, -1, x.shape[-1]))
        bias = None if self.heads.bias is None else self.heads.bias[stage]
        # Only the head of this stage: the others would cost as much again and are not looked at.
        return F.linear(self.out_norm(x), self.heads.weight[stage], bias)

    def _layers(self) -> list[WholeLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        return self.out_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.out_norm.weight.dtype
