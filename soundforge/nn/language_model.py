"""The decoder language model over delayed codes: embeddings, pre-norm transformer, one head per codebook.

It knows nothing of texts, codecs or delay patterns: it takes a sequence of columns (one token per codebook, already
delayed) and **fused inputs**, the projected conditions, and gives logits.

State dict (D = d_model, F = ffn_width; biases only where the configuration says so):

    emb.{k}.weight                        [card + 1, D]   last row: the special token
    layers.{i}.norm1.weight / .bias       [D]
    layers.{i}.self_attn.in_proj.weight   [3D, D]         queries, keys, values
    layers.{i}.self_attn.out_proj.weight  [D, D]
    layers.{i}.norm_cross.weight / .bias  [D]             with cross-attention only
    layers.{i}.cross_attn.q_proj.weight   [D, D]
    layers.{i}.cross_attn.kv_proj.weight  [2D, D]         keys, values
    layers.{i}.cross_attn.out_proj.weight [D, D]
    layers.{i}.norm2.weight / .bias       [D]
    layers.{i}.linear1.weight             [F, D]
    layers.{i}.linear2.weight             [D, F]
    out_norm.weight / .bias               [D]
    heads.{k}.weight                      [card, D]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.codebooks import CodebookEmbeddings, CodebookHeads
from soundforge.nn.compiled_step import CompiledStep
from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.positions import sinusoidal_positions
from soundforge.nn.transformer import DecoderLayer, causal_mask

if TYPE_CHECKING:
    from soundforge.nn.quantised_model import Recipe


LAYOUT_LIMIT_BYTES = 4 << 30
"""Larger models are left as they lie in their memory-mapped file: a copy in another order would not be shared."""


@dataclass(frozen=True)
class LanguageModelConfig:
    """Hyper-parameters.

    Args:
        d_model: width D; divisible by `n_heads`, even.
        n_heads: attention heads.
        n_layers: layers.
        n_codebooks: K.
        card: entries of a codebook; the special token is `card`.
        ffn_width: width of the feed-forward layer; None = 4 * d_model.
        cross_attention: layers attend to a condition.
        bias_attention, bias_ffn, bias_heads: False in all published models.
        dropout: in training, after attention, feed-forward and fusing.
        norm_eps: of the layer norms.
        max_period: of the sinusoidal positions.
    """

    d_model: int
    n_heads: int
    n_layers: int
    n_codebooks: int
    card: int
    ffn_width: int | None = None
    cross_attention: bool = False
    bias_attention: bool = False
    bias_ffn: bool = False
    bias_heads: bool = False
    dropout: float = 0.0
    norm_eps: float = 1e-5
    max_period: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("d_model", "n_heads", "n_layers", "n_codebooks", "card"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} came as {getattr(self, name)}, expected at least 1")
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ValueError(f"d_model came as {self.d_model}, expected an even multiple of n_heads ({self.n_heads})")

    @property
    def special_token(self) -> int:
        """The token of slots without a frame, and of the first, all-special column."""
        return self.card

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LanguageModelConfig:
        """From `to_dict`; raises ValueError for keys it does not know."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"language model configuration has unknown keys {', '.join(unknown)}")
        return cls(**values)


@dataclass(frozen=True)
class FusedInputs:
    """Conditions as the network takes them, projected and masked.

    Args:
        prepend: `[B, P, D]`, stands before the tokens and takes positions 0 .. P - 1.
        cross: `[B, L, D]`, attended to.
        cross_mask: `[B, L]` bool, True = attended to; None = all (AudioCraft's way: padding is zeros, yet attended).
        sum: `[B, S, D]`, added to the token embeddings; entry s belongs to sequence position s (after the prefix).
    """

    prepend: Tensor | None = None
    cross: Tensor | None = None
    cross_mask: Tensor | None = None
    sum: Tensor | None = None

    @property
    def prefix_length(self) -> int:
        return 0 if self.prepend is None else self.prepend.shape[1]


NOTHING_FUSED = FusedInputs()


class LanguageModel(nn.Module):
    """Decoder LM over K codebooks. Thread-safe for inference: all that changes is in the `DecodeState`."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        self.emb: nn.Module = CodebookEmbeddings(config.n_codebooks, config.card, d)
        self.layers = nn.ModuleList(
            DecoderLayer(d, config.n_heads, config.ffn_width or 4 * d, cross_attention=config.cross_attention,
                         bias_attention=config.bias_attention, bias_ffn=config.bias_ffn,
                         dropout=config.dropout, norm_eps=config.norm_eps)
            for _ in range(config.n_layers))
        self.out_norm = nn.LayerNorm(d, eps=config.norm_eps)
        self.heads: nn.Module = CodebookHeads(config.n_codebooks, config.card, d, config.bias_heads)
        # Not a buffer: `.half()` would round it, and the meta device would keep it.
        self._positions: Tensor | None = None
        self.recipe: Recipe | None = None  # how it was quantised
        self.compiled: CompiledStep | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Gaussian weights of standard deviation 1 / sqrt(inputs), residual outputs scaled down by depth."""
        depth = math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue  # norms and biases keep ones and zeros
            std = parameter.shape[-1] ** -0.5
            if name.endswith(("out_proj.weight", "linear2.weight")):
                std /= depth
            nn.init.trunc_normal_(parameter, std=std, a=-3 * std, b=3 * std)

    # --- whole sequences ------------------------------------------------------------------------------------

    def forward(self, codes: Tensor, fused: FusedInputs = NOTHING_FUSED) -> Tensor:
        """Teacher forcing: logits for what follows each column.

        Args:
            codes: int64 `[B, K, S]`, delayed sequence, entries 0 .. card.
            fused: conditions; `fused.sum` must have S entries.

        Returns:
            `[B, K, S, card]`; logits at s predict column s + 1. Those of the prefix are dropped.
        """
        x = self._embed(codes, fused, 0)
        x = self._add_positions(x, 0)
        x = F.dropout(x, self.config.dropout, self.training) if self.training else x
        mask = _attended(fused.cross_mask)
        for layer in self.layers:
            x = layer(x, fused.cross, mask)
        logits: Tensor = self.heads(self.out_norm(x[:, fused.prefix_length:]))
        return logits.transpose(1, 2)

    # --- step by step ---------------------------------------------------------------------------------------

    def new_state(self, batch_size: int, capacity: int, fused: FusedInputs = NOTHING_FUSED) -> DecodeState:
        """An empty state with room for `capacity` positions, prefix included; cross-attention prepared from `fused`."""
        weight = self.out_norm.weight
        config = self.config
        state = DecodeState.allocate(config.n_layers, batch_size, config.n_heads, capacity,
                                     config.d_model // config.n_heads, dtype=weight.dtype, device=weight.device,
                                     narrow=self.compiled is not None and self.compiled.narrow)
        self.set_cross(state, fused)
        return state

    def set_cross(self, state: DecodeState, fused: FusedInputs) -> None:
        """Give `state` the cross-attended condition of `fused`, from its next step on."""
        # Attention to nothing but zero vectors adds zero, exactly, where no layer has a bias: it is left out.
        idle = fused.cross is None or not (self.config.bias_attention or bool(fused.cross.any()))
        if not self.config.cross_attention or fused.cross is None or idle:
            state.cross_keys_values, state.cross_mask = None, None
            return
        source = fused.cross.to(self.out_norm.weight.dtype)
        state.cross_keys_values = [
            layer.cross_attn.keys_values(source).contiguous()  # type: ignore[union-attr, operator]
            for layer in self.layers]
        state.cross_mask = _attended(fused.cross_mask)

    def step(self, codes: Tensor, state: DecodeState, fused: FusedInputs = NOTHING_FUSED,
             sum_at: Tensor | None = None) -> Tensor:
        """New columns into `state`, logits of the last one out. The same function prefills and steps.

        Args:
            codes: int64 `[B, K, n]`, the next n columns.
            state: of this batch; `state.position` moves on.
            fused: only `fused.prepend` is looked at, and only when `state` is empty.
            sum_at: `[B, n, D]`, what is added to these columns' embeddings, or None.

        Returns:
            logits `[B, K, card]` for the column after the last one given.

        Raises:
            ValueError: no room left in `state`.
        """
        first = fused if state.position == 0 else NOTHING_FUSED
        x = self._embed(codes, FusedInputs(prepend=first.prepend, sum=sum_at), state.position)
        n = x.shape[1]
        if state.position + n > state.capacity:
            raise ValueError(f"{n} columns came at position {state.position}, but the state has room for "
                             f"{state.capacity}")
        x = self._add_positions(x, state.position)
        if self.compiled is not None and self.compiled.takes(x.shape[0] * n):
            return self.compiled.step(x, state)
        mask = None if state.position == 0 else causal_mask(n, state.position, x.device)
        for index, layer in enumerate(self.layers):
            x = layer.step(x, state, index, mask)  # type: ignore[operator]
        state.position += n
        return self.heads(self.out_norm(x[:, -1]))  # type: ignore[no-any-return]

    def prepare_for_steps(self) -> None:
        """Take the compiled kernels for steps from here on, where there are any; else lay the weights out for torch.

        For inference on weights that neither move nor change any more; states made before are not to be used after.
        """
        self.compiled = CompiledStep.of(self)
        nbytes = sum(p.nbytes for p in self.parameters())
        fit = self.recipe is None and self.out_norm.weight.device.type == "cpu" and nbytes <= LAYOUT_LIMIT_BYTES
        if self.compiled is None and fit:
            self._lay_out_for_steps()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Weights move to another device or type: the compiled step would go on reading where they were."""
        self.compiled = None
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """For copies: the compiled step holds addresses of this one's weights."""
        return self.__dict__ | {"compiled": None}

    def _lay_out_for_steps(self) -> None:
        """Lay the big matrices out in memory as a step through torch reads them; their values and shapes stay.

        A product of one or two rows with a matrix stored input by input takes two thirds of the time that one
        stored output by output takes on CPUs. Saving such weights takes `.contiguous()`.
        """
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()
        assert isinstance(self.heads, CodebookHeads)
        k, card, width = self.heads.weight.shape
        flat = self.heads.weight.data.reshape(k * card, width).t().contiguous().t()
        self.heads.weight.data = flat.view(k, card, width)

    # --- inputs ---------------------------------------------------------------------------------------------

    def _embed(self, codes: Tensor, fused: FusedInputs, position: int) -> Tensor:
        x: Tensor = self.emb(codes)
        if fused.sum is not None:
            if fused.sum.shape[1] != x.shape[1]:
                raise ValueError(f"the summed condition has {fused.sum.shape[1]} positions, the sequence {x.shape[1]}")
            x = x + fused.sum.to(x.dtype)
        if fused.prepend is not None and position == 0:
            x = torch.cat([fused.prepend.to(x.dtype), x], dim=1)
        return x

    def _add_positions(self, x: Tensor, start: int) -> Tensor:
        end = start + x.shape[1]
        table = self._positions
        if table is None or table.shape[0] < end or table.device != x.device:
            table = sinusoidal_positions(0, max(512, 2 * end), self.config.d_model,
                                         max_period=self.config.max_period, device=x.device)
            self._positions = table
        return x + table[start:end].to(x.dtype)


def _attended(mask: Tensor | None) -> Tensor | None:
    """`[B, L]` to `[B, 1, 1, L]`; a row with nothing to attend to sees all of its (zero) vectors instead.

    Softmax over no key at all would be NaN; over zero vectors it gives zero, which is what "nothing" means.
    """
    if mask is None:
        return None
    mask = mask.bool()
    return (mask | ~mask.any(dim=-1, keepdim=True))[:, None, None, :]
