"""The language model's layers and heads as one call into the compiled kernels.

A step through them gives what `LanguageModel.step` gives through torch, within float rounding for float weights (the
sums run in another order). With quantised weights the inputs of the products, the keys and the values are rounded to
8 bits as well. The weights are read where they are: nothing is copied, so they must not move or change meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Array, byref, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from soundforge.nn.codebooks import CodebookHeads
from soundforge.nn.kernels.binding import (
    WIDEST_HEAD,
    Cache,
    Layer,
    Matrix,
    Model,
    Norm,
    State,
    address,
    float_matrix,
    norm_of,
)
from soundforge.nn.kernels.build import Kernels, load_kernels
from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.quantised import QuantisedLinear

if TYPE_CHECKING:
    from soundforge.nn.language_model import LanguageModel

FEW_ROWS = 16
"""Up to so many rows (columns times batch) float weights go through the kernels; torch is faster for more."""

ROWS_AT_ONCE = 64
"""Quantised weights always go through them, so many rows at a time."""


@dataclass(frozen=True)
class Addresses:
    """Where a state's keys and values are, as the kernels take it; kept with the state from step to step.

    Args:
        lists: the state's lists that it was made of. They are replaced, never changed, so it holds while these are
            the state's own.
        caches: one per layer.
    """

    lists: tuple[object, object, object]
    caches: Any

    @classmethod
    def of(cls, state: DecodeState) -> Addresses:
        """Those that the state keeps, made anew when it has other lists now."""
        lists = (state.keys_values, state.narrow, state.cross_keys_values)
        kept: Addresses | None = state.addresses
        if kept is None or any(a is not b for a, b in zip(kept.lists, lists, strict=True)):
            found = _caches(state)
            kept = state.addresses = cls(lists, (Cache * len(found))(*found))
        return kept


class CompiledStep:
    """The compiled layers of one model. Thread-safe: all that changes is in the `DecodeState`.

    Args:
        lm: on the CPU, float32 or quantised.
        kernels: loaded.
    """

    def __init__(self, lm: LanguageModel, kernels: Kernels) -> None:
        config = lm.config
        self.isa = kernels.isa
        self.narrow = lm.recipe is not None
        self._library = kernels.library
        self._outputs = (config.n_codebooks, config.card)
        self._layers: Array[Layer] = (Layer * config.n_layers)(*(_layer(layer) for layer in lm.layers))
        self._keep = list(lm.parameters()) + list(lm.buffers())
        self._model = Model(
            config.d_model, config.n_heads, config.d_model // config.n_heads, config.ffn_width or 4 * config.d_model,
            config.n_layers, config.n_codebooks * config.card, config.norm_eps, self._layers,
            norm_of(lm.out_norm.weight, lm.out_norm.bias), _heads(lm))

    @classmethod
    def of(cls, lm: LanguageModel) -> CompiledStep | None:
        """For a model, or None where there are no kernels or it is none for them."""
        parameters = list(lm.parameters())
        fit = (all(p.device.type == "cpu" and p.is_contiguous() for p in parameters)
               and lm.out_norm.weight.dtype == torch.float32 and lm.config.d_model // lm.config.n_heads <= WIDEST_HEAD)
        kernels = load_kernels() if fit else None
        return None if kernels is None else cls(lm, kernels)

    def takes(self, rows: int) -> bool:
        """Whether so many rows (columns times batch) are better computed here."""
        return self.narrow or rows <= FEW_ROWS

    def step(self, x: Tensor, state: DecodeState) -> Tensor:
        """Embedded columns `[B, n, D]` into `state`, logits `[B, K, card]` of the last one out."""
        batch, n, _ = x.shape
        logits = torch.empty(batch, *self._outputs)
        at_once = max(1, ROWS_AT_ONCE // batch) if self.narrow else n
        seen = None if state.cross_mask is None else state.cross_mask.view(batch, -1).contiguous()
        caches = Addresses.of(state).caches
        for start in range(0, n, at_once):
            part = x[:, start:start + at_once].float().contiguous()
            given = State(batch, part.shape[1], state.position, _allocated(state), _cross_length(state),
                          address(seen), caches)
            if self._library.soundforge_step(byref(self._model), byref(given), c_void_p(part.data_ptr()),
                                             c_void_p(logits.data_ptr()), torch.get_num_threads()):
                raise MemoryError(f"no memory for a step of {batch} x {part.shape[1]} columns")
            state.position += part.shape[1]
        return logits


def _allocated(state: DecodeState) -> int:
    return state.narrow[0].values.shape[2] if state.narrow else state.capacity


def _cross_length(state: DecodeState) -> int:
    return 0 if state.cross_keys_values is None else state.cross_keys_values[0].shape[3]


def _caches(state: DecodeState) -> list[Cache]:
    n_layers = max(len(state.narrow), len(state.keys_values))
    crosses: Sequence[Tensor | None] = state.cross_keys_values or [None] * n_layers
    if not state.narrow:
        return [Cache(floats=address(kept), cross=address(cross))
                for kept, cross in zip(state.keys_values, crosses, strict=True)]
    return [Cache(keys=address(kept.keys), values=address(kept.values), key_scales=address(kept.scales[0]),
                  value_scales=address(kept.scales[1]), cross=address(cross))
            for kept, cross in zip(state.narrow, crosses, strict=True)]


def _matrix(module: nn.Module) -> Matrix:
    if isinstance(module, QuantisedLinear):
        return module.matrix()
    assert isinstance(module, nn.Linear)
    return float_matrix(module.weight, module.bias)


def _heads(lm: LanguageModel) -> Matrix:
    if not isinstance(lm.heads, CodebookHeads):
        return _matrix(lm.heads.books)  # type: ignore[arg-type]
    weight, bias = lm.heads.weight, lm.heads.bias
    return float_matrix(weight.flatten(0, 1), None if bias is None else bias.flatten())


def _layer(layer: Any) -> Layer:
    cross, cross_norm = layer.cross_attn, layer.norm_cross
    return Layer(
        norm_of(layer.norm1.weight, layer.norm1.bias), _matrix(layer.self_attn.in_proj),
        _matrix(layer.self_attn.out_proj),
        Norm() if cross is None else norm_of(cross_norm.weight, cross_norm.bias),
        Matrix() if cross is None else _matrix(cross.q_proj), Matrix() if cross is None else _matrix(cross.out_proj),
        norm_of(layer.norm2.weight, layer.norm2.bias), _matrix(layer.linear1), _matrix(layer.linear2))
