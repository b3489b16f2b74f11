"""Layers whose weights are integers of 8 or 4 bits: less memory to hold, and to read in every step.

On CPUs with the compiled kernels (`soundforge.nn.kernels`) the integers are read as they lie in a mapped file, and
the inputs are rounded to 8 bits in groups of 32. Without them, torch's own integer products serve few rows, from a
repacked copy; many rows, and other devices, bring the weights back to float.

State dict of a layer (`integer_weights` has the layout):

    NAME.quantised   uint8 `[tiles, groups, 512 or 256]`
    NAME.scale       bfloat16 `[tiles, scales, 16]`
    NAME.bias        `[out]`, where there was one
"""

from __future__ import annotations

import warnings
from ctypes import byref, c_void_p
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.integer_weights import GROUP, TILE, groups_of, pack, round_weights, scales_of, tiles_of, unpack
from soundforge.nn.integer_weights import weights_of as float_weights
from soundforge.nn.kernels.binding import INT4, INT8, Matrix, address
from soundforge.nn.kernels.build import load_kernels

FEW_ROWS = 16
"""Up to so many rows go through torch's integer products where there are no compiled kernels."""


class QuantisedLinear(nn.Module):
    """A linear layer with integer weights. Thread-safe for inference.

    Args:
        in_features, out_features: as of `nn.Linear`.
        bits: 8 or 4.
        group: inputs that share a scale, a multiple of 32; None = all of an output's.
        bias: whether there is one.
    """

    quantised: Tensor
    scale: Tensor

    def __init__(self, in_features: int, out_features: int, bits: int, group: int | None = None,
                 bias: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits, self.group = in_features, out_features, bits, group
        tiles, n_scales = tiles_of(out_features), scales_of(in_features, group)
        self.register_buffer("quantised", torch.zeros(tiles, groups_of(in_features), GROUP * TILE * bits // 8,
                                                      dtype=torch.uint8))
        self.register_buffer("scale", torch.ones(tiles, n_scales, TILE, dtype=torch.bfloat16))
        self.bias = nn.Parameter(torch.zeros(out_features), requires_grad=False) if bias else None
        self._repacked: Any = None
        self._tried = False

    @classmethod
    def of(cls, linear: nn.Linear, bits: int, group: int | None = None) -> QuantisedLinear:
        """The quantised stand-in for a layer."""
        return cls.of_weight(linear.weight, linear.bias, bits, group)

    @classmethod
    def of_weight(cls, weight: Tensor, bias: Tensor | None, bits: int, group: int | None = None) -> QuantisedLinear:
        """From `[out, in]` and `[out]` or None."""
        with torch.device("meta"):
            made = cls(weight.shape[1], weight.shape[0], bits, group, bias is not None)
        packed, scale = pack(*round_weights(weight, bits, group), bits)
        made.quantised, made.scale = packed.to(weight.device), scale.to(weight.device)
        made.bias = None if bias is None else nn.Parameter(bias.detach().float().clone(), requires_grad=False)
        return made

    def integers(self) -> tuple[Tensor, Tensor]:
        """int8 `[out, in]` and scales `[out, scales]`."""
        return unpack(self.quantised, self.scale, self.bits, self.out_features, self.in_features)

    def weight_float(self, dtype: torch.dtype) -> Tensor:
        """The weights as they count, `[out, in]`."""
        return float_weights(*self.integers(), self.group, dtype)

    def matrix(self) -> Matrix:
        """For the compiled kernels; this layer must outlive it."""
        per_scale = groups_of(self.in_features) if self.group is None else self.group // GROUP
        return Matrix(INT8 if self.bits == 8 else INT4, self.in_features, self.out_features, per_scale,
                      address(self.quantised), address(self.scale), address(self.bias))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        if x.device.type == "cpu" and x.dtype == torch.float32:
            kernels = load_kernels()
            if kernels is not None:
                return self._compiled(x.contiguous(), kernels.library)
            if x.numel() <= FEW_ROWS * self.in_features:
                product = self._by_torch(x)
                if product is not None:
                    return product if self.bias is None else product + self.bias
        return F.linear(x, self.weight_float(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def _compiled(self, x: Tensor, library: Any) -> Tensor:
        out = x.new_empty(*x.shape[:-1], self.out_features)
        rows = x.numel() // self.in_features
        places = byref(self.matrix()), c_void_p(x.data_ptr()), c_void_p(out.data_ptr())
        if rows and library.soundforge_product(*places, rows, torch.get_num_threads()):
            raise MemoryError(f"no memory for a product of {rows} rows")
        return out

    def _by_torch(self, x: Tensor) -> Tensor | None:
        """Torch's own integer product, or None where it has none for such a matrix or processor."""
        if not self._tried:
            self._repacked = _repack(self)
            self._tried = True
        if self._repacked is None:
            return None
        if self.bits == 8:
            product: Tensor = torch.ops.quantized.linear_dynamic(x, self._repacked, _narrow_inputs())
            return product
        packed, group, scales = self._repacked
        rows = x.reshape(-1, self.in_features)
        return torch._weight_int4pack_mm_for_cpu(rows, packed, group, scales).view(*x.shape[:-1], -1)


def _repack(layer: QuantisedLinear) -> Any:
    """The weights as torch's integer products take them; None where there is none."""
    integers, scales = layer.integers()
    if layer.bits == 8:
        if layer.group is not None or torch.backends.quantized.engine not in ("x86", "fbgemm"):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # quantised tensors are deprecated, the product over packed weights is not
            zero = torch.zeros(layer.out_features, dtype=torch.long)
            weights = torch._make_per_channel_quantized_tensor(
                integers.contiguous(), scales[:, 0].double().contiguous(), zero, 0)
            return torch.ops.quantized.linear_prepack(weights, None)
    group = layer.group or 0
    if group not in (32, 64, 128, 256) or layer.in_features % group or layer.out_features % TILE:
        return None
    packed = torch._convert_weight_to_int4pack_for_cpu((integers.int() + 8).contiguous(), 1)
    pairs = torch.stack([scales.t().float(), torch.zeros_like(scales.t().float())], dim=-1).contiguous()
    return packed, group, pairs


@lru_cache(maxsize=1)
def _narrow_inputs() -> bool:
    """Inputs in 7 bits: without VNNI instructions the sums of two products of 8 bits overflow."""
    return not getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
