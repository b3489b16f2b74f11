"""A codec's layers through the compiled kernels: convolutions, activations, recurrent layers.

    with compiled_layers(decoder):
        y = decoder(x)

Inside of it the layers of a float32 network on the CPU find the kernels with `kernels_for`; outside, and where there
are none, they run through torch. Sums run in another order than torch's, so results differ by float rounding. The
kernels bring their own threads, as many as torch is set to; what stands between them runs on one, because OpenMP's
threads spin for some milliseconds after their work and would take the cores from them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from ctypes import byref
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from soundforge.nn.kernels.binding import Activation, Convolution, Recurrent, address
from soundforge.nn.kernels.build import load_kernels
from soundforge.nn.streaming_product import state_of

LANES = 16
_current = threading.local()


class CodecKernels:
    """The kernels with the number of threads they use. Thread-safe.

    Args:
        library: loaded.
        threads: at least 1.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self._library = library
        self._threads = threads

    def convolve(self, x: Tensor, packed: Tensor, bias: Tensor | None, *, out_channels: int, dilation: int = 1,
                 stride: int = 1, padding: int = 0) -> Tensor:
        """`[B, C, n]` to `[B, out_channels, m * stride]`, m = n + 2 * padding - (taps - 1) * dilation.

        Args:
            x: samples next to each other.
            packed: from `pack`, of `out_channels * stride` outputs; output `c * stride + p` is phase p of channel c.
            bias: `[out_channels]` or None.
            dilation, padding: as of `conv1d`.
            stride: outputs that are interleaved; 1 for a convolution.
        """
        x = x if x.stride(2) == 1 or x.shape[2] == 1 else x.contiguous()
        batch, channels, n = x.shape
        taps = packed.shape[2]
        y = torch.empty(batch, out_channels, (n + 2 * padding - (taps - 1) * dilation) * stride)
        given = Convolution(batch, channels, out_channels * stride, taps, dilation, stride, n, padding,
                            packed.data_ptr(), address(bias), x.data_ptr(), y.data_ptr(), x.stride(0), x.stride(1),
                            y.stride(0), y.stride(1))
        if self._library.soundforge_convolve(byref(given), self._threads):
            raise MemoryError(f"no memory for a convolution of {batch} x {channels} x {n} samples")
        return y

    def elu(self, x: Tensor, inplace: bool = False) -> Tensor:
        """`elu(x)` with alpha 1 of a contiguous tensor."""
        y = x if inplace else torch.empty_like(x)
        self._activate(Activation(x.data_ptr(), y.data_ptr(), x.numel(), 1, None, 1))
        return y

    def snake(self, x: Tensor, alpha: Tensor) -> Tensor:
        """`x + sin(alpha x)^2 / alpha` of a contiguous `[B, C, n]`, alpha of C numbers."""
        batch, channels, n = x.shape
        y = torch.empty_like(x)
        self._activate(Activation(x.data_ptr(), y.data_ptr(), n, batch * channels, address(alpha), channels))
        return y

    def _activate(self, given: Activation) -> None:
        if given.row:
            self._library.soundforge_activate(byref(given), self._threads)

    def recurrent(self, shares: Tensor, weight: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """An LSTM layer over all frames.

        Args:
            shares: `[n, B, 4 D]`, what inputs and biases give to the gates, in torch's order.
            weight: recurrent, `[4 D, D]`.
            h, c: `[B, D]` before the first frame.

        Returns:
            the outputs `[n, B, D]`, the last of which is h, and c.
        """
        n, batch, _ = shares.shape
        width = weight.shape[1]
        c, out = c.clone(memory_format=torch.contiguous_format), torch.empty(n, batch, width)
        given = Recurrent(batch, width, n, address(weight), address(shares), address(h), address(c), address(out), 0)
        self._library.soundforge_recurrent(byref(given), self._threads)
        return out, c


class PackedFilters:
    """A convolution's weight in the kernels' order, remembered until it changes. Holds nothing in a module's state."""

    def __init__(self) -> None:
        self._packed: tuple[Any, Tensor] | None = None

    def __call__(self, weight: Tensor, filters: Callable[[], Tensor]) -> Tensor:
        """`[out / 16, in, taps, 16]`, outputs filled up with zeros.

        Args:
            weight: the parameter itself, by which a change is noticed.
            filters: gives it as `[out, in, taps]`.
        """
        key = state_of(weight)
        packed = self._packed  # read once: another thread may replace it meanwhile
        if packed is None or packed[0] != key:
            made = filters().detach()
            made = torch.cat([made, made.new_zeros(-made.shape[0] % LANES, *made.shape[1:])])
            tiles = made.view(-1, LANES, *made.shape[1:])
            packed = self._packed = key, tiles.permute(0, 2, 3, 1).contiguous()
        return packed[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


class compiled_layers:
    """Context in which the layers of `network` find the kernels; without effect where they are not for it.

    Args:
        network: on the CPU, all in float32, streaming.
    """

    def __init__(self, network: nn.Module) -> None:
        fit = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in network.parameters())
        self._kernels = load_kernels() if fit else None

    def __enter__(self) -> None:
        self._before, self._threads = getattr(_current, "kernels", None), torch.get_num_threads()
        if self._kernels is not None:
            _current.kernels = CodecKernels(self._kernels.library, self._threads)
            torch.set_num_threads(1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._kernels is not None:
            _current.kernels = self._before
            torch.set_num_threads(self._threads)


def kernels_for(x: Tensor) -> CodecKernels | None:
    """The kernels, where this thread is in `compiled_layers` and nobody wants gradients."""
    found: CodecKernels | None = getattr(_current, "kernels", None)
    return None if found is None or torch.is_grad_enabled() or x.dtype != torch.float32 else found
