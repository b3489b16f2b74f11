"""Weights of a language model in 8 or 4 bits, computing in float: less memory to read per step.

On the CPU an int8 step multiplies bfloat16 inputs with the integers directly, several times faster than float32; long
inputs (a prompt) and all other cases bring the weights back to float first. `docs/engine.md` has the measured loss.

Only the big matrices of the layers are quantised, row by row (int8) or in groups of 64 columns (int4), symmetric.
Embeddings, norms and heads stay as they are: they are small and the tokens hang on them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 64
FEW_ROWS = 16
"""Up to so many rows the integer product wins; beyond it, float32 with weights brought back does."""


class QuantisedLinear(nn.Module):
    """A linear layer with integer weights; `scale` brings them back.

    Args:
        linear: what it stands for.
        bits: 8 (one scale per row) or 4 (two weights per byte, one scale per row and group of `GROUP` columns).
    """

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        group = self.in_features if bits == 8 or self.in_features % GROUP else GROUP
        grouped = weight.view(self.out_features, -1, group)
        top = 127 if bits == 8 else 7
        scale = (grouped.abs().amax(dim=-1, keepdim=True) / top).clamp(min=1e-12)
        whole = (grouped / scale).round().clamp(-top, top).to(torch.int8).view(self.out_features, -1)
        if bits == 4:
            shifted = (whole + 8).to(torch.uint8)
            whole = shifted[:, 0::2] | (shifted[:, 1::2] << 4)
        self.register_buffer("quantised", whole)
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.bias = linear.bias

    def weight_float(self, dtype: torch.dtype) -> Tensor:
        """The weights as they count, `[out, in]`."""
        quantised: Tensor = self.quantised  # type: ignore[assignment]
        scale: Tensor = self.scale  # type: ignore[assignment]
        if self.bits == 4:
            quantised = torch.stack([quantised & 15, quantised >> 4], dim=-1).flatten(1).to(torch.int8) - 8
        grouped = quantised.view(self.out_features, scale.shape[1], -1).to(dtype) * scale.to(dtype)
        return grouped.view(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        rows = x.numel() // self.in_features
        if self.bits != 8 or x.device.type != "cpu" or rows > FEW_ROWS or not hasattr(torch, "_weight_int8pack_mm"):
            return F.linear(x, self.weight_float(x.dtype), self.bias)
        quantised: Tensor = self.quantised  # type: ignore[assignment]
        scale: Tensor = self.scale  # type: ignore[assignment]
        flat = x.reshape(rows, self.in_features).bfloat16()
        out = torch._weight_int8pack_mm(flat, quantised, scale.view(-1).bfloat16()).to(x.dtype)
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], self.out_features)


def quantise_language_model(lm: nn.Module, quantize: str) -> None:
    """Replace the linear layers of all transformer layers in place.

    Args:
        quantize: "int8" or "int4".
    """
    bits = {"int8": 8, "int4": 4}[quantize]
    layers = lm.get_submodule("layers")
    for name, module in list(layers.named_modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child.in_features % 2 == 0:
                setattr(layers.get_submodule(name) if name else layers, child_name, QuantisedLinear(child, bits))
