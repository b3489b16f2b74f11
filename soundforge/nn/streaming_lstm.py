"""LSTM over time as a stream layer: it runs forward only, so its state is all that a stream carries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from soundforge.nn.compiled_codec import CodecKernels, PackedFilters, kernels_for
from soundforge.nn.streaming import StreamLayer
from soundforge.nn.streaming_product import InputMajor, PackedProduct

LstmHidden = tuple[Tensor, Tensor]


@dataclass
class LstmState:
    """Args:
    hidden: what the LSTM carries, (h, c) each `[n_layers, B, D]`, or None at the start.
    """

    hidden: LstmHidden | None = None


class RunningLstm(StreamLayer):
    """Forward-only LSTM over time with a skip connection: `[B, D, n]` to `[B, D, n]`.

    Args:
        dimension: D, also the hidden size.
        n_layers: stacked LSTM layers.
    """

    def __init__(self, dimension: int, n_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dimension, dimension, n_layers)
        self._products = [PackedProduct() for _ in range(n_layers)]
        self._filters = [PackedFilters() for _ in range(n_layers)]
        self._turned = [InputMajor() for _ in range(n_layers)]
        self._recurrent = [PackedProduct() for _ in range(n_layers)]

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.new_state(), True)

    def new_state(self) -> LstmState:
        return LstmState()

    def step(self, x: Tensor, state: LstmState, last: bool) -> Tensor:
        if x.shape[-1] == 0:
            return x
        x = x.to(cast(Tensor, self.lstm.weight_hh_l0).dtype)
        by_time = x.permute(2, 0, 1)
        kernels = kernels_for(x)
        if kernels is not None:
            y, state.hidden = self._run_compiled(kernels, by_time, state.hidden)
        elif x.device.type == "cpu":
            y, state.hidden = self._run_on_cpu(by_time, state.hidden)
        else:
            y, state.hidden = self.lstm(by_time, state.hidden)
        # Back to samples lying next to each other: a transposed tensor sends convolutions down slow paths.
        joined = (y + by_time).permute(1, 2, 0)
        return joined if x.dtype == torch.bfloat16 and x.shape[0] == 1 else joined.contiguous()

    def _run_compiled(self, kernels: CodecKernels, x: Tensor, hidden: LstmHidden | None) -> tuple[Tensor, LstmHidden]:
        """As `_run_on_cpu`, a layer's frames in one call; the inputs' share is a convolution of one tap."""
        lasts_h, lasts_c = [], []
        for layer in range(self.lstm.num_layers):
            w_input, w_hidden, b_input, b_hidden = cast("list[Tensor]", self.lstm.all_weights[layer])
            packed = self._filters[layer](w_input, partial(w_input.unsqueeze, 2))
            shares = kernels.convolve(x.permute(1, 2, 0).contiguous(), packed, b_input + b_hidden,
                                      out_channels=w_input.shape[0]).permute(2, 0, 1).contiguous()
            start = x.new_zeros(x.shape[1:])
            h, c = (start, start) if hidden is None else (hidden[0][layer], hidden[1][layer])
            x, c = kernels.recurrent(shares, w_hidden, h, c)
            lasts_h.append(x[-1])
            lasts_c.append(c)
        return x, (torch.stack(lasts_h), torch.stack(lasts_c))

    def _run_on_cpu(self, x: Tensor, hidden: LstmHidden | None) -> tuple[Tensor, LstmHidden]:
        """The same as `self.lstm(x, hidden)` for `[n, B, D]`.

        PyTorch's own CPU kernel re-packs all weights on every call, which costs more than 20 frames of work.
        Here the input's share of all frames is one product, and a frame costs one product per layer.
        """
        n, batch, width = x.shape
        lasts_h, lasts_c = [], []
        for layer in range(self.lstm.num_layers):
            w_input, w_hidden, b_input, b_hidden = cast("list[Tensor]", self.lstm.all_weights[layer])
            shares = self._products[layer](x.reshape(n * batch, width), w_input, w_input.detach)
            shares += b_input + b_hidden
            narrow = x.dtype == torch.bfloat16
            turned = None if narrow else self._turned[layer](w_hidden)
            start = torch.zeros(batch, width, dtype=torch.float32 if narrow else x.dtype)
            h, c = (start, start) if hidden is None else (hidden[0][layer], hidden[1][layer])
            outputs = []
            for share in shares.view(n, batch, 4 * width):
                if turned is None:  # what runs on from frame to frame is kept in float32
                    gates = self._recurrent[layer](h.to(x.dtype), w_hidden, w_hidden.detach).float() + share
                else:
                    gates = torch.addmm(share, h, turned)
                candidate = gates[:, 2 * width : 3 * width].tanh()
                gates.sigmoid_()  # order in PyTorch: input, forget, candidate, output
                c = gates[:, width : 2 * width] * c + gates[:, :width] * candidate
                h = gates[:, 3 * width :] * c.tanh()
                outputs.append(h)
            x = torch.stack(outputs).to(x.dtype)
            lasts_h.append(h)
            lasts_c.append(c)
        return x, (torch.stack(lasts_h), torch.stack(lasts_c))
