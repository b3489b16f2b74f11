"""Output heads and cross-entropy in one: the logits of a batch never exist all at once, and are visited only once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class HeadsCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of each codebook; its gradients are computed on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, heads: Tensor, targets: Tensor, weights: Tensor, emphasis: Tensor
    ) -> Tensor:
        """The plain loss per codebook, and gradients of their weighted sum.

        Args:
            hidden: bfloat16 ``[N, D]``.
            heads: bfloat16 ``[K, card, D]``.
            targets: int64 ``[K, N]``, negative where there is nothing to predict.
            weights: ``[K]``, of the losses in the sum that is differentiated.
            emphasis: ``[N]``, of the places in it; the losses given back are plain means all the same.
        """
        by_hidden = torch.zeros(hidden.shape, dtype=torch.float32)
        by_heads = torch.empty_like(heads)
        losses = []
        for k, (head, target) in enumerate(zip(heads, targets, strict=True)):
            counts = target >= 0
            place = target.clamp_min(0)[:, None]
            share = 1.0 / float(counts.sum().clamp_min(1))
            logs = torch.log_softmax((hidden @ head.T).float(), dim=-1)
            losses.append(-(logs.gather(1, place)[:, 0] * counts).sum() * share)
            error = logs.exp_()
            error.scatter_add_(1, place, error.new_full((1, 1), -1.0).expand_as(place))
            wanted = counts * emphasis
            error.mul_((wanted * (float(weights[k]) / float(wanted.sum().clamp_min(1e-6))))[:, None])
            low = error.to(hidden.dtype)
            by_heads[k] = low.T @ hidden
            by_hidden += low @ head
        ctx.save_for_backward(by_hidden.to(hidden.dtype), by_heads)
        return torch.stack(losses)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Those of the weighted sum, whatever the gradients of the parts: only that sum may be differentiated."""
        by_hidden, by_heads = ctx.saved_tensors
        return by_hidden, by_heads, None, None, None
