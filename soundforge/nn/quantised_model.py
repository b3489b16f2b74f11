"""A language model in 8 or 4 bits: which matrix gets how many, and the modules that hold them.

A recipe says it; the measurements behind the recipes are in `docs/performance.md`. Norms and biases stay float32. The
embeddings, of which a step reads a few rows, become float16, all books in one tensor, as they then lie in the file:

    emb.weight            float16 `[K, card + 1, D]`
    heads.books.quantised, .scale, .bias    all books' outputs one after the other, `[K * card, D]`
    layers.{i}.NAME.quantised, .scale, .bias
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.codebooks import CodebookEmbeddings, CodebookHeads
from soundforge.nn.integer_weights import GROUP
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.quantised import QuantisedLinear


@dataclass(frozen=True)
class Recipe:
    """How a model is quantised.

    Args:
        bits: of the layers' matrices, 8 or 4.
        group: inputs per scale of a 4-bit matrix, a multiple of 32; 8-bit ones have one scale per output.
        wide: matrices of a layer that get 8 bits whatever `bits` says, by the end of their name.
    """

    bits: int
    group: int = GROUP
    wide: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.bits not in (8, 4) or self.group < GROUP or self.group % GROUP:
            raise ValueError(f"a recipe of {self.bits} bits in groups of {self.group} came, expected 8 or 4 bits and "
                             f"a multiple of {GROUP}")

    def bits_of(self, name: str) -> int:
        return 8 if name.endswith(self.wide) else self.bits

    def group_of(self, name: str) -> int | None:
        return None if self.bits_of(name) == 8 else self.group

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        return cls(int(values["bits"]), int(values["group"]), tuple(str(name) for name in values["wide"]))


RECIPES = {"int8": Recipe(8), "int4": Recipe(4, 32, ("in_proj", "out_proj", "kv_proj"))}
"""Attention's matrices in 8 bits take back nine tenths of what 4 bits cost (`benchmarks/quantisation.py`);
`kv_proj` is not read in a step."""


class QuantisedHeads(nn.Module):
    """K heads in 8 bits; the special token can never be predicted."""

    def __init__(self, n_codebooks: int, card: int, books: QuantisedLinear) -> None:
        super().__init__()
        self.n_codebooks, self.card = n_codebooks, card
        self.books = books

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., D]` to logits `[..., K, card]`."""
        logits: Tensor = self.books(hidden)
        return logits.view(*hidden.shape[:-1], self.n_codebooks, self.card)


class HalfEmbeddings(nn.Module):
    """K embedding tables of `card + 1` rows in float16; the K vectors are summed in float32."""

    def __init__(self, n_codebooks: int, card: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_codebooks, card + 1, width, dtype=torch.float16), requires_grad=False)
        self._offsets: Tensor | None = None

    def forward(self, codes: Tensor) -> Tensor:
        """Codes int64 `[B, K, S]` with entries 0 .. card to `[B, S, D]`."""
        offsets = self._offsets
        if offsets is None or offsets.device != codes.device:
            offsets = torch.arange(self.weight.shape[0], device=codes.device)[:, None] * self.weight.shape[1]
            self._offsets = offsets
        return F.embedding(codes + offsets, self.weight.flatten(0, 1)).float().sum(dim=1)


def quantise_language_model(lm: LanguageModel, quantize: str | Recipe) -> LanguageModel:
    """Quantise all transformer layers and the heads, in place; gives the same model.

    Args:
        quantize: "int8" or "int4", or a recipe of one's own.
    """
    recipe = quantize if isinstance(quantize, Recipe) else RECIPES[quantize]
    heads, tables = lm.heads, lm.emb
    if not isinstance(heads, CodebookHeads) or not isinstance(tables, CodebookEmbeddings):
        raise ValueError("the model is quantised already; quantise the original weights")
    lm.float()
    _replace(lm, recipe, lambda linear, bits, group: QuantisedLinear.of(linear, bits, group))
    bias = None if heads.bias is None else heads.bias.flatten()
    books = QuantisedLinear.of_weight(heads.weight.flatten(0, 1), bias, 8)
    halves = tables.weight.detach().clamp(-65504, 65504).half()
    return _finish(lm, recipe, books, nn.Parameter(halves, requires_grad=False))


def quantised_language_model(config: LanguageModelConfig, quantize: str | Recipe) -> LanguageModel:
    """A model with quantised layers whose weights are yet to be loaded (build it on the meta device)."""
    recipe = quantize if isinstance(quantize, Recipe) else RECIPES[quantize]
    lm = LanguageModel(config)
    _replace(lm, recipe, lambda linear, bits, group: QuantisedLinear(
        linear.in_features, linear.out_features, bits, group, linear.bias is not None))
    books = QuantisedLinear(config.d_model, config.n_codebooks * config.card, 8, None, config.bias_heads)
    return _finish(lm, recipe, books, None)


def _finish(lm: LanguageModel, recipe: Recipe, books: QuantisedLinear, tables: nn.Parameter | None) -> LanguageModel:
    config = lm.config
    lm.heads = QuantisedHeads(config.n_codebooks, config.card, books)
    with torch.device("meta"):
        emb = HalfEmbeddings(config.n_codebooks, config.card, config.d_model)
    if tables is not None:
        emb.weight = tables
    lm.emb = emb
    lm.recipe = recipe
    return lm


def _replace(lm: LanguageModel, recipe: Recipe,
             make: Callable[[nn.Linear, int, int | None], QuantisedLinear]) -> None:
    for module in list(lm.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, make(child, recipe.bits_of(name), recipe.group_of(name)))
