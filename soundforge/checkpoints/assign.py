"""Putting the tensors of a file into a module: all of them or none, without a second copy in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from soundforge.errors import CheckpointError

M = TypeVar("M", bound=nn.Module)

_MAX_NAMES_LISTED = 40


class _Unfilled(TorchFunctionMode):
    """Leaves out `nn.init.normal_`, which every embedding asks for: without storage there is nothing to fill, and to do
    that torch imports its compiler, which takes a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **(kwargs or {}))


def build_empty(factory: Callable[[], M]) -> M:
    """The module that `factory` makes, without storage, for inference; fill it with `assign_state`."""
    with torch.device("meta"), _Unfilled():
        module = factory()
    return module.eval().requires_grad_(False)


def assign_state(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    dtype: torch.dtype | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Makes `tensors` the parameters and buffers of `module`, all of them or none.

    The module takes the tensors over without copying (so they may stay memory-mapped), unless another
    floating `dtype` is asked for. Nothing is assigned when anything is wrong.

    Args:
        module: usually from `build_empty`; its state dictionary says what is expected.
        tensors: name -> tensor, exactly the module's names.
        source: file or model name, for the error.
        dtype: floating tensors are converted to it; None keeps the file's.
        names: the module's name -> the file's name, where they differ, for the error.

    Raises:
        CheckpointError: lists missing, surplus and misshapen tensors.
    """
    expected = module.state_dict(keep_vars=True)
    shown = names or {}
    missing = [shown.get(name, name) for name in expected if name not in tensors]
    surplus = [name for name in tensors if name not in expected]
    misshapen = [
        f"{shown.get(name, name)} (expected {_describe(want)}, found {_describe(tensors[name])})"
        for name, want in expected.items()
        if name in tensors and not _fits(want, tensors[name])
    ]
    if missing or surplus or misshapen:
        raise misfit_error(source, type(module).__name__, missing, surplus, misshapen)
    state = {}
    for name in expected:
        tensor = tensors[name].detach()
        state[name] = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
    module.load_state_dict(state, strict=True, assign=True)
    module.requires_grad_(False)
    empty = [name for name, value in (*module.named_parameters(), *module.named_buffers()) if value.is_meta]
    if empty:  # a buffer outside the state dictionary cannot come from a file: the module must make it later
        raise CheckpointError(f"{type(module).__name__} keeps buffers that no checkpoint fills: {', '.join(empty)}")


def misfit_error(
    source: str, what: str, missing: Iterable[str], surplus: Iterable[str], misshapen: Iterable[str]
) -> CheckpointError:
    """The error that lists how the tensors of `source` differ from what `what` needs."""
    lists = [listed("missing", missing), listed("surplus", surplus), listed("misshapen", misshapen)]
    return CheckpointError(f"{source} does not fit {what}: " + "; ".join(filter(None, lists)))


def _fits(want: Tensor, have: Tensor) -> bool:
    return want.shape == have.shape and want.is_floating_point() == have.is_floating_point()


def _describe(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f"{tensor.dtype} ".replace("torch.", "")
    return f"{kind}{list(tensor.shape)}"


def listed(what: str, names: Iterable[str]) -> str:
    """`2 missing: a, b`, long lists cut; empty for none."""
    names = list(names)
    if not names:
        return ""
    more = f" and {len(names) - _MAX_NAMES_LISTED} more" if len(names) > _MAX_NAMES_LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:_MAX_NAMES_LISTED])}{more}"
