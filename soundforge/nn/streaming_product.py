"""Products with large fixed weights, for few rows at a time on the CPU.

A stream multiplies a handful of frames with megabytes of weights. PyTorch's general product re-arranges the
weights on every call, which then costs several times the arithmetic; oneDNN can keep them arranged. PyTorch has
that as an operator which its compiler uses; where it is missing, or on other devices, the general product serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

# Elements; smaller weights stay in the cache, where re-arranging them is cheap.
WORTH_PACKING = 1 << 17
# Rows that the arrangement is made for; it is good for neighbouring numbers too.
_USUAL_ROWS = 16


class PackedProduct:
    """`rows [n, K]` to `rows @ matrix.t()` `[n, N]`, remembering the matrix in its arranged form.

    It holds no weights of its own: a module that owns one keeps it out of its state.
    """

    def __init__(self) -> None:
        self._packed: tuple[Any, Tensor | None] | None = None

    def __call__(self, rows: Tensor, weight: Tensor, matrix: Callable[[], Tensor]) -> Tensor:
        """The product.

        Args:
            rows: `[n, K]`.
            weight: the parameter itself, by which a change is noticed.
            matrix: gives the weight as `[N, K]`.
        """
        if weight.numel() < WORTH_PACKING or not _available(weight):
            return torch.mm(rows, matrix().t())
        key = state_of(weight)
        packed = self._packed  # read once: another thread may replace it meanwhile
        if packed is None or packed[0] != key:
            packed = self._packed = (key, _arranged(matrix()))
        arranged = packed[1]
        if arranged is None:
            return torch.mm(rows, matrix().t())
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), arranged, None, "none", [], "")
        return product

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


class InputMajor:
    """`weight [N, K]` as `[K, N]` lying row by row, remembered.

    A product of one or two rows takes two thirds of the time with it (measured): what one input adds to all outputs
    lies side by side, so nothing is summed across a vector's lanes.
    """

    def __init__(self) -> None:
        self._turned: tuple[Any, Tensor] | None = None

    def __call__(self, weight: Tensor) -> Tensor:
        """The turned copy; made anew when the weight has changed."""
        key = state_of(weight)
        turned = self._turned
        if turned is None or turned[0] != key:
            turned = self._turned = (key, weight.detach().t().contiguous())
        return turned[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


def state_of(weight: Tensor) -> tuple[Any, ...]:
    """Differs when a weight was replaced or written to."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version, weight.shape, weight.dtype


def _arranged(matrix: Tensor) -> Tensor | None:
    try:
        arranged: Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix.contiguous(), _USUAL_ROWS)
    except (RuntimeError, NotImplementedError):  # a build that has the operator, for another processor
        return None
    return arranged


def _available(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch._C._has_mkldnn
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
