"""Transposed convolution, on a whole signal or in a stream by overlap-add."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundforge.nn.compiled_codec import PackedFilters, kernels_for
from soundforge.nn.streaming import StreamLayer, group_norm
from soundforge.nn.streaming_product import PackedProduct

# From here on the product whose result has time innermost is the faster one (measured).
_MANY_FRAMES = 512


@dataclass
class TransposedState:
    """Args:
    carry: `[B, C, overlap]` what the inputs so far add to the samples behind the newest frame, without bias.
    to_trim: samples that are still to be dropped at the left edge.
    """

    to_trim: int
    carry: Tensor | None = None


class StreamConvTranspose1d(StreamLayer):
    """Transposed convolution over time; `left` and `right` samples of its output are cut off.

    In a stream neighbouring frames are overlap-added: a frame makes `kernel_size` samples, of which the last
    `kernel_size - stride` wait for the frames that follow.

    Args:
        in_channels, out_channels, kernel_size, stride: as in `nn.ConvTranspose1d`; kernel_size >= stride.
        left, right: samples cut off, together at most kernel_size - stride for published codecs.
        group_norm: as in `StreamConv1d`; it comes before the cut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        left: int,
        right: int,
        group_norm: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(in_channels, out_channels, kernel_size, stride)
        self.norm = None if group_norm is None else nn.GroupNorm(1, out_channels, **group_norm)  # type: ignore[arg-type]
        self.out_channels = out_channels
        self.streams = group_norm is None
        self.stride = stride
        self.overlap = kernel_size - stride
        self.left = left
        self.right = right
        self._product = PackedProduct()
        self._filters = PackedFilters()

    def forward(self, x: Tensor) -> Tensor:
        y = self._spread(x)
        if self.norm is not None:
            y = group_norm(self.norm, y)
        return y[..., self.left : y.shape[-1] - self.right]

    def new_state(self) -> TransposedState:
        if self.norm is not None:
            raise TypeError("group normalisation needs the whole signal; stream whole chunks instead")
        return TransposedState(to_trim=self.left)

    def step(self, x: Tensor, state: TransposedState, last: bool) -> Tensor:
        n = x.shape[-1]
        y = self.conv.weight.new_zeros(x.shape[0], self.conv.out_channels, 0)
        bias = self.conv.bias
        if n:
            full = self._spread(x)
            if state.carry is not None:
                full[..., : self.overlap] += state.carry
            y = full[..., : n * self.stride]
            state.carry = full[..., n * self.stride :].clone()
            if bias is not None:
                state.carry -= bias[:, None]
        if last and state.carry is not None:
            rest = state.carry[..., : self.overlap - self.right]
            y = torch.cat([y, rest if bias is None else rest + bias[:, None]], dim=-1)
            state.carry = None
        dropped = min(state.to_trim, y.shape[-1])
        state.to_trim -= dropped
        return y[..., dropped:]

    def ready(self, n: int) -> int:
        return max(0, n * self.stride - self.left)

    def _spread(self, x: Tensor) -> Tensor:
        """`[B, C, n]` to all `(n - 1) * stride + kernel_size` samples that n frames reach, bias included."""
        weight, bias = self.conv.weight, self.conv.bias
        x = x.to(weight.dtype)
        if x.device.type != "cpu" or self.overlap != self.stride:
            return F.conv_transpose1d(x, weight, bias, self.stride)
        kernels = kernels_for(x)
        if kernels is not None:
            return kernels.convolve(x, self._filters(weight, self._two_taps), bias, out_channels=self.out_channels,
                                    stride=self.stride, padding=1)
        # Where the kernel is two strides long, a frame makes two strides of samples and each stride is the sum of
        # two frames' shares: one matrix product and one addition. PyTorch's own CPU kernels re-pack the weights
        # on every call, which costs several times the arithmetic when few frames come.
        (batch, in_channels, n), out_channels = x.shape, self.conv.out_channels
        if x.dtype == torch.bfloat16:
            return self._spread_in_rows(x)
        by_weight = weight.flatten(1)
        if n < _MANY_FRAMES:
            rows = x.transpose(1, 2).reshape(-1, in_channels)
            shares = self._product(rows, weight, by_weight.t)
            shares = shares.view(batch, n, out_channels, 2, self.stride).permute(0, 2, 3, 1, 4)
        else:
            shares = torch.matmul(by_weight.t(), x)
            shares = shares.view(batch, out_channels, 2, self.stride, n).transpose(3, 4)
        y = x.new_empty(batch, out_channels, n + 1, self.stride)
        torch.add(shares[:, :, 0, 1:], shares[:, :, 1, :-1], out=y[:, :, 1:n])
        y[:, :, 0] = shares[:, :, 0, 0]
        y[:, :, n] = shares[:, :, 1, n - 1]
        if bias is not None:
            y += bias[:, None, None]
        return y.view(batch, out_channels, -1)

    def _two_taps(self) -> Tensor:
        """The weight as that of an ordinary convolution `[C' * stride, C, 2]`: a stride of samples is the sum of what
        the frame before gives to it and what its own frame gives."""
        weight = self.conv.weight
        halves = weight.reshape(*weight.shape[:2], 2, self.stride).flip(2)
        return halves.permute(1, 3, 0, 2).flatten(0, 1)

    def _spread_in_rows(self, x: Tensor) -> Tensor:
        """The same with channels innermost: frames are rows already, and so are the samples that come out."""
        (batch, in_channels, n), out_channels = x.shape, self.conv.out_channels
        weight, bias = self.conv.weight, self.conv.bias
        shares = self._product(
            x.transpose(1, 2).reshape(-1, in_channels), weight,
            lambda: weight.view(in_channels, out_channels, 2 * self.stride).permute(2, 1, 0).reshape(-1, in_channels))
        shares = shares.view(batch, n, 2, self.stride, out_channels)
        y = x.new_empty(batch, n + 1, self.stride, out_channels)
        torch.add(shares[:, 1:, 0], shares[:, :-1, 1], out=y[:, 1:n])
        y[:, 0] = shares[:, 0, 0]
        y[:, n] = shares[:, n - 1, 1]
        if bias is not None:
            y += bias
        return y.view(batch, -1, out_channels).transpose(1, 2)
