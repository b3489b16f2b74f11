"""Descript Audio Codec (Kumar et al. 2023): convolutions with snake activations, and a factorised quantiser.

Every convolution pads a fixed number of zeros on both sides, so the look-ahead is finite and the codec streams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundforge.nn.compiled_codec import kernels_for
from soundforge.nn.streaming import Chain, Pointwise, Residual, StreamLayer
from soundforge.nn.streaming_bounds import CODEBOOKS, ENTRIES, SAMPLE_RATE, WIDTH, check_integers, checked_ratios
from soundforge.nn.streaming_codec import CodecNetwork, NeuralCodec
from soundforge.nn.streaming_conv import StreamConv1d
from soundforge.nn.streaming_transposed import StreamConvTranspose1d

_DILATIONS = (1, 3, 9)  # of the three residual units in a block
_UNIT_KERNEL = 7
_BOUNDS = {
    "sample_rate": SAMPLE_RATE,
    "encoder_width": WIDTH,
    "decoder_width": WIDTH,
    "latent_width": (0, WIDTH[1]),
    "n_codebooks": CODEBOOKS,
    "codebook_size": ENTRIES,
    "codebook_width": WIDTH,
}


@dataclass(frozen=True)
class DacConfig:
    """Shape of a DAC.

    Args:
        sample_rate: Hz.
        encoder_width: channels of the encoder's first convolution, doubled per ratio.
        decoder_width: channels of the decoder's first convolution, halved per ratio.
        ratios: the encoder's strides in its order; the decoder takes them backwards unless `decoder_ratios`
            says otherwise.
        latent_width: D, width of the latent; 0 = encoder_width * 2 ** len(ratios).
        n_codebooks, codebook_size: K and N.
        codebook_width: dimension in which the nearest vector is looked up.
        decoder_ratios: the decoder's strides in its order; () = `ratios` backwards.
    """

    sample_rate: int = 44_100
    encoder_width: int = 64
    decoder_width: int = 1536
    ratios: tuple[int, ...] = (2, 4, 8, 8)
    latent_width: int = 0
    n_codebooks: int = 9
    codebook_size: int = 1024
    codebook_width: int = 8
    decoder_ratios: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", checked_ratios(self.ratios))
        decoder_ratios = checked_ratios(self.decoder_ratios) if self.decoder_ratios else self.ratios[::-1]
        object.__setattr__(self, "decoder_ratios", decoder_ratios)
        check_integers(self, _BOUNDS)
        stages = 2 ** len(self.ratios)
        if self.encoder_width * stages > WIDTH[1] or self.decoder_width < stages:
            raise ValueError(f"{len(self.ratios)} strides do not fit widths {self.encoder_width}, {self.decoder_width}")
        if math.prod(self.decoder_ratios) != math.prod(self.ratios):
            raise ValueError(f"encoder strides {self.ratios} and decoder strides {self.decoder_ratios} differ")
        if self.latent_width == 0:
            object.__setattr__(self, "latent_width", self.encoder_width * stages)

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.ratios)


class Snake(StreamLayer):
    """`x + sin(alpha x)^2 / alpha`, alpha trained per channel (Ziyin et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        kernels = kernels_for(x)
        if kernels is not None and x.is_contiguous():
            return kernels.snake(x, self.alpha.flatten())
        # In place on the one new tensor: the activation is as costly as the convolutions otherwise. `alpha` is float32,
        # and so is the phase, of which 8 bits would be too few.
        wave = (self.alpha * x).sin_().square_()
        return wave.mul_((self.alpha + 1e-9).reciprocal()).add_(x).to(x.dtype)


def dac_encoder(config: DacConfig) -> Chain:
    """Waveform `[B, 1, T * hop_length]` to latent `[B, D, T]`."""
    width = config.encoder_width
    layers: list[StreamLayer] = [_conv(1, width, 7)]
    for stride in config.ratios:
        pad = math.ceil(stride / 2)
        layers += [_unit(width, dilation) for dilation in _DILATIONS]
        layers += [Snake(width)]
        layers += [StreamConv1d(width, 2 * width, 2 * stride, stride=stride, left=pad, right=pad)]
        width *= 2
    return Chain(*layers, Snake(width), _conv(width, config.latent_width, 3))


def dac_decoder(config: DacConfig) -> Chain:
    """Latent `[B, D, T]` to waveform `[B, 1, n]`.

    n is T * hop_length for even strides. An odd stride makes one sample less at its level, because the
    published decoder cuts ceil(stride / 2) on both sides; the codec's length is the reference's.
    """
    width = config.decoder_width
    layers: list[StreamLayer] = [_conv(config.latent_width, width, 7)]
    for stride in config.decoder_ratios:
        pad = math.ceil(stride / 2)
        layers += [Snake(width)]
        layers += [StreamConvTranspose1d(width, width // 2, 2 * stride, stride=stride, left=pad, right=pad)]
        width //= 2
        layers += [_unit(width, dilation) for dilation in _DILATIONS]
    return Chain(*layers, Snake(width), _conv(width, 1, 7), Pointwise(nn.Tanh()))


class FactorisedQuantiser(nn.Module):
    """One codebook of DAC: looked up in a narrow space, between vectors of length one."""

    def __init__(self, config: DacConfig) -> None:
        super().__init__()
        self.in_proj = nn.Conv1d(config.latent_width, config.codebook_width, 1)
        self.out_proj = nn.Conv1d(config.codebook_width, config.latent_width, 1)
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_width)

    def encode(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Residual `[B, D, T]` to codes `[B, T]` and the part of the residual they stand for, `[B, D, T]`."""
        narrow: Tensor = self.in_proj(residual)
        batch, width, n_frames = narrow.shape
        sought = F.normalize(narrow.permute(0, 2, 1).reshape(-1, width))
        book = F.normalize(self.codebook.weight)
        # The reference's order of operations, so that near ties fall the same way.
        likeness = -(sought.pow(2).sum(1, keepdim=True) - 2 * sought @ book.t()) + book.pow(2).sum(1, keepdim=True).t()
        codes = likeness.argmax(dim=1).view(batch, n_frames)
        chosen = self.codebook(codes).transpose(1, 2)
        # `narrow + (chosen - narrow)` is `chosen` up to rounding; the residual of the reference has that rounding.
        return codes, self.out_proj(narrow + (chosen - narrow))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[B, T]` to `[B, D, T]`: the chosen vector itself, not normalised, projected out."""
        latent: Tensor = self.out_proj(self.codebook(codes).transpose(1, 2))
        return latent


class DacQuantiser(nn.Module):
    """Residual quantisation with K factorised codebooks."""

    def __init__(self, config: DacConfig) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(FactorisedQuantiser(config) for _ in range(config.n_codebooks))
        self.latent_width = config.latent_width

    def encode(self, latent: Tensor, n_codebooks: int) -> Tensor:
        """Latent `[B, D, T]` to codes int64 `[B, n_codebooks, T]`."""
        codes = []
        for quantiser in self._books(n_codebooks):
            chosen, part = quantiser.encode(latent)
            latent = latent - part
            codes.append(chosen)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[B, k, T]`, k <= K, to the latent `[B, D, T]`."""
        books = self._books(codes.shape[1])
        if codes.shape[-1] == 0:
            return books[0].codebook.weight.new_zeros(codes.shape[0], self.latent_width, 0)
        latent = books[0].decode(codes[:, 0])
        for index, book in enumerate(books[1:], start=1):
            latent = latent + book.decode(codes[:, index])
        return latent

    def _books(self, n: int) -> list[FactorisedQuantiser]:
        return cast("list[FactorisedQuantiser]", list(self.quantizers)[:n])


def _conv(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> StreamConv1d:
    pad = (kernel - 1) * dilation // 2
    return StreamConv1d(in_channels, out_channels, kernel, dilation=dilation, left=pad, right=pad)


def _unit(width: int, dilation: int) -> Residual:
    main = Chain(Snake(width), _conv(width, width, _UNIT_KERNEL, dilation), Snake(width), _conv(width, width, 1))
    return Residual(main)


def dac_network(config: DacConfig) -> CodecNetwork:
    """The modules, with weights yet to be loaded."""
    return CodecNetwork(dac_encoder(config), dac_decoder(config), DacQuantiser(config))


class DacCodec(NeuralCodec):
    """DAC as a codec object. The input is zero-padded to whole frames, as its feature extractor does.

    Args:
        network: from `dac_network(config)`, loaded.
        config: its shape.
        name: published name; made from the sample rate when empty.
    """

    def __init__(self, network: CodecNetwork, config: DacConfig, name: str = "") -> None:
        super().__init__(
            network,
            sample_rate=config.sample_rate,
            channels=1,
            hop_length=config.hop_length,
            frame_rate_hz=config.sample_rate / config.hop_length,
            total_codebooks=config.n_codebooks,
            codebook_size=config.codebook_size,
            name=name or f"dac_{config.sample_rate // 1000}khz",
            pads_to_hop=True,
        )
        self.config = config
