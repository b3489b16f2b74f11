"""Weights of a language model in 8 or 4 bits, computing in float: less memory to hold and to read per step.

On x86 CPUs an int8 step rounds its few inputs to 8 bits as well and multiplies integers, several times faster than
float32; long inputs (a prompt) and all other cases bring the weights back to float. `docs/engine.md` has the loss.

Only the big matrices of the layers are quantised, row by row (int8) or in groups of 64 columns (int4), symmetric.
Embeddings, norms and heads stay as they are: they are small and the tokens hang on them.

State dict of a quantised layer, for an original weight `[out, in]`:

    NAME.quantised   int8 `[out, in]`, or uint8 `[out, in / 2]` with two 4-bit weights per byte (even column low)
    NAME.scale       float `[out, groups, 1]`; the weight is the integer times the scale (4 bits: the nibble minus 8)
    NAME.bias        `[out]`, where there was one
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.language_model import LanguageModel, LanguageModelConfig

BITS = {"int8": 8, "int4": 4}
GROUP = 64
FEW_ROWS = 16
"""Up to so many rows a step has; a prompt has more, and is worth exact inputs."""


class QuantisedLinear(nn.Module):
    """A linear layer with integer weights.

    Args:
        in_features, out_features: as of `nn.Linear`; an even number of inputs.
        bits: 8 or 4.
        bias: whether there is one.
    """

    quantised: Tensor
    scale: Tensor

    def __init__(self, in_features: int, out_features: int, bits: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits = in_features, out_features, bits
        stored = (torch.int8, in_features) if bits == 8 else (torch.uint8, in_features // 2)
        groups = 1 if bits == 8 or in_features % GROUP else in_features // GROUP
        self.register_buffer("quantised", torch.zeros(out_features, stored[1], dtype=stored[0]))
        self.register_buffer("scale", torch.ones(out_features, groups, 1))
        self.bias = nn.Parameter(torch.zeros(out_features), requires_grad=False) if bias else None
        self._packed: Any = None

    @classmethod
    def of(cls, linear: nn.Linear, bits: int) -> QuantisedLinear:
        """The quantised stand-in for a layer."""
        made = cls(linear.in_features, linear.out_features, bits, linear.bias is not None)
        made.to(linear.weight.device)
        grouped = linear.weight.detach().float().view(linear.out_features, made.scale.shape[1], -1)
        top = 127 if bits == 8 else 7
        scale = (grouped.abs().amax(dim=-1, keepdim=True) / top).clamp(min=1e-12)
        whole = (grouped / scale).round().clamp(-top, top).to(torch.int8).view(linear.out_features, -1)
        if bits == 4:
            shifted = (whole + 8).to(torch.uint8)
            whole = shifted[:, 0::2] | (shifted[:, 1::2] << 4)
        made.quantised, made.scale = whole, scale.to(linear.weight.dtype)
        if made.bias is not None:
            made.bias.data = linear.bias.detach().clone()
        return made

    def weight_float(self, dtype: torch.dtype) -> Tensor:
        """The weights as they count, `[out, in]`."""
        whole = self.quantised
        if self.bits == 4:
            whole = torch.stack([whole & 15, whole >> 4], dim=-1).flatten(1).to(torch.int8) - 8
        grouped = whole.view(self.out_features, self.scale.shape[1], -1).to(dtype) * self.scale.to(dtype)
        return grouped.view(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        a_step = x.numel() <= FEW_ROWS * self.in_features and x.dtype == torch.float32 and x.device.type == "cpu"
        if self.bits != 8 or not a_step or not _has_integer_product():
            return F.linear(x, self.weight_float(x.dtype), self.bias)
        if self._packed is None:
            self._packed = self._pack()
        product: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, _narrow_inputs())
        return product if self.bias is None else product + self.bias

    def _pack(self) -> Any:
        """The weights as the integer product takes them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # quantised tensors are deprecated, the product over packed weights is not
            scale, zero = self.scale.view(-1).double(), torch.zeros(self.out_features, dtype=torch.long)
            weights = torch._make_per_channel_quantized_tensor(self.quantised, scale, zero, 0)
            return torch.ops.quantized.linear_prepack(weights, None)


@lru_cache(maxsize=1)
def _has_integer_product() -> bool:
    return torch.backends.quantized.engine in ("x86", "fbgemm")


@lru_cache(maxsize=1)
def _narrow_inputs() -> bool:
    """Inputs in 7 bits: without VNNI instructions the sums of two products of 8 bits overflow."""
    return not getattr(torch.cpu, "_is_vnni_supported", lambda: False)()


def quantise_language_model(lm: LanguageModel, quantize: str) -> LanguageModel:
    """Quantise the linear layers of all transformer layers, in place; gives the same model.

    Args:
        quantize: "int8" or "int4".
    """
    return _replace(lm, lambda linear: QuantisedLinear.of(linear, BITS[quantize]))


def quantised_language_model(config: LanguageModelConfig, quantize: str) -> LanguageModel:
    """A model with quantised layers whose weights are yet to be loaded (build it on the meta device)."""
    bits = BITS[quantize]
    return _replace(LanguageModel(config), lambda linear: QuantisedLinear(
        linear.in_features, linear.out_features, bits, linear.bias is not None))


def _replace(lm: LanguageModel, make: Callable[[nn.Linear], QuantisedLinear]) -> LanguageModel:
    for module in list(lm.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child.in_features % 2 == 0:
                setattr(module, name, make(child))
    return lm
