"""Layers that run on a whole signal at once or piece by piece, with the same result.

A signal `[B, C, n]` may be cut anywhere: feeding the pieces to `step` one after the other, the last with
`last=True`, and joining the outputs gives what `forward` gives for the whole. A layer that looks ahead holds
output back until the input it needs has come, and `last` makes it supply the right-hand edge as `forward`
does. So a chain of layers, non-causal ones included, streams exactly with a constant delay and a constant
amount of memory (SEANet: Tagliasacchi et al. 2020; EnCodec: Défossez et al. 2022).

State is an object beside the layer, never inside it: one module serves many streams. Tensors in a state are
replaced, not written to, so that a copied state may share them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from soundforge.nn.compiled_codec import kernels_for

S = TypeVar("S")


# A tile's largest activation: 1.6 MB, so that it, its input and its output stay in a core's share of the cache.
_CACHED_ELEMENTS = 400_000


class StreamLayer(nn.Module):
    """Base of the layers; the default is a layer that treats every sample by itself."""

    out_channels = 0  # 0: as many as come in
    streams = True  # False for a layer that needs the whole signal

    def new_state(self) -> Any:
        """State of a stream that has not begun; None for a layer without memory."""
        return None

    def step(self, x: Tensor, state: Any, last: bool) -> Tensor:
        """The next piece `[B, C, n]`, n >= 0, to the outputs `[B, C', m]` that are final by now, m >= 0.

        Args:
            x: the piece; it is not changed.
            state: from `new_state`; it is changed.
            last: nothing comes after this piece.
        """
        out: Tensor = self(x)
        return out

    def ready(self, n: int) -> int:
        """How many outputs `n` inputs of a long stream have made final, counted from its start."""
        return n


class Pointwise(StreamLayer):
    """An activation as a layer.

    Args:
        function: a module that treats every sample by itself (`nn.ELU()`).
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        kernels = kernels_for(x)
        if kernels is not None and isinstance(self.function, nn.ELU) and self.function.alpha == 1 and x.is_contiguous():
            return kernels.elu(x, self.function.inplace)
        out: Tensor = self.function(x)
        return out


class Chain(nn.Sequential):
    """Stream layers one after the other.

    On the CPU a long signal runs through the layers with large activations as a stream of tiles that fit the
    processor's cache: the same result, less waiting for memory, and the memory it takes does not grow.
    """

    def __iter__(self) -> Iterator[StreamLayer]:
        return super().__iter__()  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        first, stop, tile = self._tiling(x) if x.device.type == "cpu" else (0, 0, 0)
        layers = list(self)
        for layer in layers[:first]:
            x = layer(x)
        if first < stop:
            x = _in_tiles(layers[first:stop], x, tile)
        for layer in layers[stop:]:
            x = layer(x)
        return x

    def new_state(self) -> list[Any]:
        return [layer.new_state() for layer in self]

    def step(self, x: Tensor, state: list[Any], last: bool) -> Tensor:
        return _step_all(self, x, state, last)

    def ready(self, n: int) -> int:
        for layer in self:
            n = layer.ready(n)
        return n

    @property
    def streams(self) -> bool:
        """Whether every layer can stream."""
        return all(layer.streams for layer in self)

    def _tiling(self, x: Tensor) -> tuple[int, int, int]:
        """Layers `first` to `stop` whose activations overflow the cache, and the tile in samples of their input."""
        batch, channels, n = x.shape
        sizes, lengths = [batch * channels * n], [n]
        for layer in self:
            channels = layer.out_channels or channels
            lengths.append(layer.ready(lengths[-1]))
            sizes.append(batch * channels * lengths[-1])
        large = [index for index in range(len(self)) if max(sizes[index : index + 2]) > _CACHED_ELEMENTS]
        if not large or not self.streams:
            return 0, 0, 0
        first, stop = large[0], large[-1] + 1
        share = _CACHED_ELEMENTS / max(sizes[first : stop + 1])
        return first, stop, max(1, int(lengths[first] * share))


def _step_all(layers: Iterable[StreamLayer], x: Tensor, states: list[Any], last: bool) -> Tensor:
    for layer, state in zip(layers, states, strict=True):
        x = layer.step(x, state, last)
    return x


def _in_tiles(layers: list[StreamLayer], x: Tensor, tile: int) -> Tensor:
    states = [layer.new_state() for layer in layers]
    n = x.shape[-1]
    outputs = [
        _step_all(layers, x[..., start : start + tile], states, last=start + tile >= n) for start in range(0, n, tile)
    ]
    if outputs[0].dtype == torch.bfloat16:
        return torch.cat([y.transpose(1, 2) for y in outputs], dim=1).transpose(1, 2)
    return torch.cat(outputs, dim=-1)


@dataclasses.dataclass
class ResidualState:
    """Args:
    block: state of the block.
    waiting: `[B, C, w]` samples of the skip path whose counterpart the block still holds back.
    """

    block: list[Any]
    waiting: Tensor | None = None


class Residual(StreamLayer):
    """`shortcut(x) + block(x)`, where the block keeps the length; the shortcut waits for it.

    Args:
        block: layers on the main path.
        shortcut: a layer without memory (a 1-wide convolution), or None for the identity.
    """

    def __init__(self, block: Chain, shortcut: StreamLayer | None = None) -> None:
        super().__init__()
        self.block = block
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        main: Tensor = self.block(x)
        return main.add_(x if self.shortcut is None else self.shortcut(x))

    def new_state(self) -> ResidualState:
        return ResidualState(self.block.new_state())

    def step(self, x: Tensor, state: ResidualState, last: bool) -> Tensor:
        main = self.block.step(x, state.block, last)
        skip = x if self.shortcut is None or x.shape[-1] == 0 else self.shortcut(x)
        skip = join(state.waiting, skip)
        n = main.shape[-1]
        state.waiting = tail_of(skip, skip.shape[-1] - n)
        return main.add_(skip[..., :n])

    def ready(self, n: int) -> int:
        return self.block.ready(n)

    @property
    def streams(self) -> bool:  # type: ignore[override]
        return self.block.streams and (self.shortcut is None or self.shortcut.streams)


def group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """`norm(x)`, also for a single value per item, which `nn.GroupNorm` refuses as untrainable."""
    return torch.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def join(held: Tensor | None, x: Tensor) -> Tensor:
    """`x` behind what was held back; bfloat16 stays, or comes to lie, with channels innermost."""
    if held is None:
        return x
    if x.dtype == torch.bfloat16:
        return torch.cat([held.transpose(1, 2), x.transpose(1, 2)], dim=1).transpose(1, 2)
    return torch.cat([held, x], dim=-1)


def tail_of(x: Tensor, n: int) -> Tensor | None:
    """A copy of the last `n` samples; None for none. Copied, because a view would keep all of `x` alive."""
    return x[..., x.shape[-1] - n :].clone() if n > 0 else None


def clone_state(state: S) -> S:
    """A copy that goes its own way. Tensors are shared, which is safe since no layer writes to them."""
    if isinstance(state, list):
        return [clone_state(item) for item in state]  # type: ignore[return-value]
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        fields = {field.name: clone_state(getattr(state, field.name)) for field in dataclasses.fields(state)}
        return dataclasses.replace(state, **fields)
    return state


_FAR = 1 << 12  # frames: beyond every edge effect


def decoder_lookahead_frames(decoder: Chain, hop_length: int) -> int:
    """Frames that a decoder must have beyond frame t before all samples of frame t are final."""
    return -(-(_FAR * hop_length - decoder.ready(_FAR)) // hop_length)


def encoder_lookahead_samples(encoder: Chain, hop_length: int) -> int:
    """Samples that an encoder must have beyond the hop of frame t before frame t is final."""
    samples = _FAR * hop_length
    while encoder.ready(samples) < _FAR:
        samples += 1
    return samples - _FAR * hop_length
