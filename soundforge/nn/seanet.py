"""SEANet encoder and decoder as EnCodec and AudioCraft build them (Défossez et al. 2022, section 3.1).

Encoder: convolution, then per ratio residual units and a strided convolution that doubles the channels, LSTM,
convolution. Decoder: its mirror image. Weight normalisation is no layer here: checkpoints are folded on loading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from soundforge.nn.streaming import Chain, Pointwise, Residual, StreamLayer
from soundforge.nn.streaming_bounds import (
    CHANNELS,
    KERNEL,
    LAYERS,
    WIDTH,
    check_flags,
    check_fraction,
    check_integers,
    checked_ratios,
)
from soundforge.nn.streaming_conv import PAD_MODES, StreamConv1d
from soundforge.nn.streaming_lstm import RunningLstm
from soundforge.nn.streaming_transposed import StreamConvTranspose1d

NORMS = ("none", "weight_norm", "time_group_norm")
# Activations that treat every sample by itself: a layer over time would break streaming.
ACTIVATIONS = ("ELU", "ReLU", "LeakyReLU", "GELU", "SiLU", "CELU", "SELU", "Tanh", "Sigmoid", "Softplus", "Identity")

_BOUNDS = {
    "channels": CHANNELS,
    "dimension": WIDTH,
    "n_filters": WIDTH,
    "n_residual_layers": LAYERS,
    "kernel_size": KERNEL,
    "last_kernel_size": KERNEL,
    "residual_kernel_size": KERNEL,
    "dilation_base": KERNEL,
    "compress": WIDTH,
    "lstm": LAYERS,
    "disable_norm_outer_blocks": LAYERS,
}


@dataclass(frozen=True)
class SeanetConfig:
    """Shape of one half of a SEANet; names as in AudioCraft's configuration.

    Args:
        channels: audio channels.
        dimension: width D of the latent.
        n_filters: channels of the outermost convolution; doubled per ratio.
        n_residual_layers: residual units per ratio, the j-th with dilation `dilation_base ** j`.
        ratios: in the decoder's order; their product is the hop length.
        activation, activation_params: class in `torch.nn` and its arguments.
        norm: one of `NORMS`; `weight_norm` is folded into the weights and thus means none.
        norm_params: arguments of the group normalisation.
        kernel_size, last_kernel_size, residual_kernel_size: of the first, last and residual convolutions.
        causal: pad on the left only.
        pad_mode: one of `PAD_MODES`.
        true_skip: residual units skip by identity; else by a 1-wide convolution.
        compress: residual units are this much narrower inside.
        lstm: LSTM layers, 0 for none.
        disable_norm_outer_blocks: that many blocks, counted from the waveform side, have no normalisation.
        trim_right_ratio: share of a causal transposed convolution's surplus that is cut on the right.
        final_activation, final_activation_params: behind the decoder, None for none.
    """

    channels: int = 1
    dimension: int = 128
    n_filters: int = 32
    n_residual_layers: int = 1
    ratios: tuple[int, ...] = (8, 5, 4, 2)
    activation: str = "ELU"
    activation_params: Mapping[str, Any] = field(default_factory=dict)
    norm: str = "weight_norm"
    norm_params: Mapping[str, Any] = field(default_factory=dict)
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    dilation_base: int = 2
    causal: bool = False
    pad_mode: str = "reflect"
    true_skip: bool = True
    compress: int = 2
    lstm: int = 2
    disable_norm_outer_blocks: int = 0
    trim_right_ratio: float = 1.0
    final_activation: str | None = None
    final_activation_params: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", checked_ratios(self.ratios))
        check_integers(self, _BOUNDS)
        check_flags(self, ("causal", "true_skip"))
        check_fraction("trim_right_ratio", self.trim_right_ratio)
        if self.n_filters * 2 ** len(self.ratios) > WIDTH[1] or self.compress > self.n_filters:
            raise ValueError(f"n_filters is {self.n_filters}, too many or too few for its ratios and compress")
        _one_of("norm", self.norm, NORMS)
        _one_of("pad_mode", self.pad_mode, PAD_MODES)
        _one_of("activation", self.activation, ACTIVATIONS)
        if self.final_activation is not None:
            _one_of("final_activation", self.final_activation, ACTIVATIONS)
        if not self.causal and self.trim_right_ratio != 1.0:
            raise ValueError("trim_right_ratio differs from 1.0, which only causal models can use")

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.ratios)

    @property
    def streams(self) -> bool:
        """Whether every layer sees a finite part of the signal, so that a stream can equal the whole."""
        return self.norm != "time_group_norm"


def seanet_encoder(config: SeanetConfig) -> Chain:
    """Waveform `[B, channels, n]` to latent `[B, dimension, ceil(n / hop_length)]`."""
    build = _Builder(config)
    n_blocks = len(config.ratios) + 2
    width = config.n_filters
    layers: list[StreamLayer] = [build.conv(config.channels, width, config.kernel_size, block=1)]
    for block, ratio in enumerate(reversed(config.ratios), start=2):
        layers += build.residual_units(width, block)
        layers += [build.activation(in_place=True)]
        layers += [build.conv(width, 2 * width, 2 * ratio, stride=ratio, block=block)]
        width *= 2
    layers += build.lstm(width)
    layers += [build.activation(in_place=True)]
    layers += [build.conv(width, config.dimension, config.last_kernel_size, block=n_blocks)]
    return Chain(*layers)


def seanet_decoder(config: SeanetConfig) -> Chain:
    """Latent `[B, dimension, T]` to waveform `[B, channels, T * hop_length]`."""
    build = _Builder(config)
    n_blocks = len(config.ratios) + 2
    width = config.n_filters * 2 ** len(config.ratios)
    layers: list[StreamLayer] = [build.conv(config.dimension, width, config.kernel_size, block=n_blocks)]
    layers += build.lstm(width)
    for distance, ratio in enumerate(config.ratios, start=1):
        block = n_blocks - distance
        layers += [build.activation(in_place=True)]
        layers += [build.transposed(width, width // 2, ratio, block)]
        width //= 2
        layers += build.residual_units(width, block)
    layers += [build.activation(in_place=True)]
    layers += [build.conv(config.n_filters, config.channels, config.last_kernel_size, block=1)]
    if config.final_activation is not None:
        function = getattr(nn, config.final_activation)
        layers += [Pointwise(function(**(config.final_activation_params or {})))]
    return Chain(*layers)


class _Builder:
    """Layers that share one configuration. Blocks are numbered from 1 at the waveform."""

    def __init__(self, config: SeanetConfig) -> None:
        self.config = config

    def conv(
        self, in_channels: int, out_channels: int, kernel: int, *, block: int, stride: int = 1, dilation: int = 1
    ) -> StreamConv1d:
        total = (kernel - 1) * dilation + 1 - stride
        right = 0 if self.config.causal else total // 2
        return StreamConv1d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            dilation=dilation,
            left=total - right,
            right=right,
            whole_frames=True,
            pad_mode=self.config.pad_mode,
            group_norm=self._group_norm(block),
        )

    def transposed(self, in_channels: int, out_channels: int, ratio: int, block: int) -> StreamConvTranspose1d:
        total = ratio  # kernel 2 * ratio less stride ratio
        right = math.ceil(total * self.config.trim_right_ratio) if self.config.causal else total // 2
        return StreamConvTranspose1d(
            in_channels,
            out_channels,
            2 * ratio,
            stride=ratio,
            left=total - right,
            right=right,
            group_norm=self._group_norm(block),
        )

    def residual_units(self, width: int, block: int) -> list[StreamLayer]:
        config = self.config
        hidden = width // config.compress
        units: list[StreamLayer] = []
        for j in range(config.n_residual_layers):
            dilation = config.dilation_base**j
            main = Chain(
                self.activation(),  # not in place: the skip path reads the same tensor
                self.conv(width, hidden, config.residual_kernel_size, dilation=dilation, block=block),
                self.activation(in_place=True),
                self.conv(hidden, width, 1, block=block),
            )
            units.append(Residual(main, None if config.true_skip else self.conv(width, width, 1, block=block)))
        return units

    def lstm(self, width: int) -> list[StreamLayer]:
        return [RunningLstm(width, self.config.lstm)] if self.config.lstm else []

    def activation(self, in_place: bool = False) -> Pointwise:
        """In place only behind a layer whose fresh output nothing else reads."""
        function = getattr(nn, self.config.activation)
        params = dict(self.config.activation_params)
        if in_place and self.config.activation == "ELU":
            params["inplace"] = True
        return Pointwise(function(**params))

    def _group_norm(self, block: int) -> dict[str, Any] | None:
        if self.config.norm != "time_group_norm" or block <= self.config.disable_norm_outer_blocks:
            return None
        return dict(self.config.norm_params)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
