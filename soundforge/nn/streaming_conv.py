"""Convolutions that pad like the published codecs, on a whole signal or in a stream.

    one shot    | left pad |        signal        | right pad |
    stream      | left pad | piece | piece | ...              |   right pad only when the last piece has come
                     each step keeps the inputs that a later output still needs

EnCodec pads so that n samples give ceil(n / stride) frames: `kernel - stride` in all, for causal layers on the
left only, and as much more on the right as the last frame lacks. DAC pads a fixed amount on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundforge.nn.compiled_codec import PackedFilters, kernels_for
from soundforge.nn.streaming import StreamLayer, group_norm, join, tail_of
from soundforge.nn.streaming_product import WORTH_PACKING, PackedProduct

PAD_MODES = ("constant", "reflect", "replicate")

# Output channels times kernel width up to which a convolution is done tap by tap.
_FEW_ROWS = 16
# From here on the library's own kernels are the faster ones (measured).
_MANY_FRAMES = 512


def pad1d(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """Pads `[B, C, n]` along time, also when n is too short for reflection.

    Reflection needs more samples than it pads; a shorter signal gets zeros on its right first, and as many
    samples are dropped at the end again. That is what EnCodec does, so a short signal's codes depend on it.
    """
    if left == 0 and right == 0:
        return x
    missing = max(left, right) - x.shape[-1] + 1
    if mode != "reflect" or missing <= 0:
        return F.pad(x, (left, right), mode)
    return F.pad(F.pad(x, (0, missing)), (left, right), mode)[..., :-missing]


@dataclass
class ConvState:
    """Args:
    seen: input samples so far.
    started: the left edge has been padded.
    held: `[B, C, w]` input that later outputs need, padded once `started`.
    edge: `[B, C, e]` the newest input samples, kept where the right edge is made from them.
    """

    seen: int = 0
    started: bool = False
    held: Tensor | None = None
    edge: Tensor | None = None


class StreamConv1d(StreamLayer):
    """Convolution over time with its padding.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation: as in `nn.Conv1d`.
        left, right: padding in samples.
        whole_frames: pad more on the right until the last frame is whole, so that n samples give
            ceil(n / stride) frames.
        pad_mode: one of `PAD_MODES`.
        group_norm: keyword arguments of a normalisation over channels and time behind the convolution, or
            None. It needs the whole signal, so a layer with it cannot stream.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        left: int,
        right: int,
        whole_frames: bool = False,
        pad_mode: str = "constant",
        group_norm: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride, dilation=dilation)
        self.norm = None if group_norm is None else nn.GroupNorm(1, out_channels, **group_norm)  # type: ignore[arg-type]
        self.out_channels = out_channels
        self.streams = group_norm is None
        self.stride = stride
        self.dilation = dilation
        self.span = (kernel_size - 1) * dilation + 1  # input samples under the kernel
        self.left = left
        self.right = right
        self.whole_frames = whole_frames
        self.pad_mode = pad_mode
        self._product = PackedProduct()
        self._filters = PackedFilters()

    def forward(self, x: Tensor) -> Tensor:
        right = self._right(x.shape[-1])
        if self.pad_mode == "constant" and self.left == right:
            y = self._convolve(x, right)  # the convolution's own zeros: saves a copy of the signal
        else:
            y = self._convolve(pad1d(x, self.left, right, self.pad_mode))
        return y if self.norm is None else group_norm(self.norm, y)

    def new_state(self) -> ConvState:
        if self.norm is not None:
            raise TypeError("group normalisation needs the whole signal; stream whole chunks instead")
        return ConvState()

    def step(self, x: Tensor, state: ConvState, last: bool) -> Tensor:
        if x.shape[-1] == 0 and not last:
            return self._nothing(x)
        state.seen += x.shape[-1]
        if not state.started:
            x = join(state.held, x)
            if last:
                state.held = None
                return self(x) if state.seen else self._nothing(x)
            if state.seen <= self._start_after():
                state.held = x.clone()  # the caller may reuse its buffer
                return self._nothing(x)
            state.started = True
            self._remember_edge(x, state)
            window = pad1d(x, self.left, 0, self.pad_mode)
        else:
            self._remember_edge(x, state)
            window = join(state.held, x)
        if last:
            window = torch.cat([window, self._right_edge(window, state)], dim=-1)
        n_frames = max(0, (window.shape[-1] - self.span) // self.stride + 1)
        state.held = tail_of(window, window.shape[-1] - n_frames * self.stride)
        return self._convolve(window) if n_frames else self._nothing(x)

    def ready(self, n: int) -> int:
        return max(0, (self.left + n - self.span) // self.stride + 1)

    def _convolve(self, x: Tensor, padding: int = 0) -> Tensor:
        """`[B, C, n]`, padded but for `padding` zeros on both sides, to `[B, C', m]`."""
        weight, bias = self.conv.weight, self.conv.bias
        x = x.to(weight.dtype)
        kernels = kernels_for(x)
        if kernels is not None and self.stride == 1:
            return kernels.convolve(x, self._filters(weight, lambda: weight), bias, out_channels=self.out_channels,
                                    dilation=self.dilation, padding=padding)
        n_frames = (x.shape[-1] + 2 * padding - self.span) // self.stride + 1
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            return self._in_rows(F.pad(x.transpose(1, 2), (0, 0, padding, padding)) if padding else x.transpose(1, 2))
        if x.device.type == "cpu":
            if weight.numel() >= WORTH_PACKING and n_frames < _MANY_FRAMES:
                return self._by_windows(F.pad(x, (padding, padding)) if padding else x)
            if weight[:, 0].numel() <= _FEW_ROWS and self.stride == 1:
                return self._by_taps(F.pad(x, (padding, padding)) if padding else x)
        return F.conv1d(x, weight, bias, self.stride, padding, self.dilation)

    def _by_windows(self, x: Tensor) -> Tensor:
        """Large weights, few frames: a product of the windows with weights that stay arranged."""
        batch, channels, _ = x.shape
        weight, bias = self.conv.weight, self.conv.bias
        windows = x.unfold(2, self.span, self.stride)[..., :: self.dilation]  # [B, C, m, kernel]
        n_frames = windows.shape[2]
        rows = windows.transpose(1, 2).reshape(batch * n_frames, channels * weight.shape[2])
        y = self._product(rows, weight, lambda: weight.flatten(1))
        if bias is not None:
            y = y + bias
        return y.view(batch, n_frames, -1).transpose(1, 2).contiguous()

    def _in_rows(self, x: Tensor) -> Tensor:
        """bfloat16, `[B, n, C]` to `[B, C', m]` with channels innermost: windows are rows of a product, for which
        processors with bfloat16 instructions are made; the library's convolution is not, for few frames."""
        weight, bias = self.conv.weight, self.conv.bias
        windows = x.unfold(1, self.span, self.stride)[..., :: self.dilation].transpose(2, 3)  # [B, m, kernel, C]
        batch, n_frames = windows.shape[:2]
        y = self._product(
            windows.reshape(batch * n_frames, -1), weight, lambda: weight.transpose(1, 2).reshape(weight.shape[0], -1))
        if bias is not None:
            y = y + bias
        return y.view(batch, n_frames, -1).transpose(1, 2)

    def _by_taps(self, x: Tensor) -> Tensor:
        """To few channels: one product gives every tap's share of every sample; the taps' rows are added shifted.
        The library's kernel is slow there, as it spreads output channels over the lanes of a vector."""
        weight, bias = self.conv.weight, self.conv.bias
        taps = torch.matmul(weight.transpose(1, 2).reshape(-1, weight.shape[1]), x)
        taps = taps.view(x.shape[0], -1, weight.shape[2], x.shape[-1])
        n = x.shape[-1] - self.span + 1
        y = taps[:, :, 0, :n].contiguous() if bias is None else taps[:, :, 0, :n] + bias[:, None]
        for tap in range(1, weight.shape[2]):
            y += taps[:, :, tap, tap * self.dilation : tap * self.dilation + n]
        return y

    def _right(self, n: int) -> int:
        return self.right + (-n % self.stride if self.whole_frames else 0)

    def _start_after(self) -> int:
        # The left edge of a reflected signal is made from the samples 1 to `left`.
        return self.left if self.pad_mode == "reflect" else 0

    def _remember_edge(self, x: Tensor, state: ConvState) -> None:
        if self.pad_mode != "constant":
            edge = join(state.edge, x)
            state.edge = tail_of(edge, min(edge.shape[-1], self.right + self.stride))

    def _right_edge(self, window: Tensor, state: ConvState) -> Tensor:
        """`[B, C, right]`: at most right + stride - 1 samples, so `edge` reflects as the whole signal would
        (where the whole signal is shorter than that, `edge` is the whole signal)."""
        right = self._right(state.seen)
        if self.pad_mode == "constant" or right == 0 or state.edge is None:
            return window.new_zeros(*window.shape[:-1], right)
        return pad1d(state.edge, 0, right, self.pad_mode)[..., -right:]

    def _nothing(self, x: Tensor) -> Tensor:
        return self.conv.weight.new_zeros(x.shape[0], self.conv.out_channels, 0)
