"""Small codecs with random weights, for tests that need shapes of their own, and helpers to cut signals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from soundforge.nn.dac import DacCodec, DacConfig, dac_network
from soundforge.nn.encodec import EncodecCodec, EncodecConfig, encodec_network
from soundforge.nn.seanet import SeanetConfig
from soundforge.nn.streaming_codec import CodecNetwork


def with_random_weights(network: CodecNetwork, seed: int = 0) -> CodecNetwork:
    """Weights of a size that keeps signals near 1 through all layers, so that errors would show."""
    gain = 0.4 if any(name.endswith("alpha") for name in dict(network.named_parameters())) else 1.0
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        fan_in = math.prod(parameter.shape[1:]) or 1
        scale = 1.0 if "codebook" in name else gain / math.sqrt(fan_in) if parameter.dim() > 1 else 0.2
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if name.endswith("alpha"):
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return network


def encodec(seed: int = 0, **changes: Any) -> EncodecCodec:
    """A tiny EnCodec; `changes` go to the network's shape, or to the codec's for its own names."""
    own = {name: changes.pop(name) for name in list(changes) if name in EncodecConfig.__dataclass_fields__}
    shape = {"dimension": 6, "n_filters": 2, "ratios": (4, 3, 2), "kernel_size": 7, "lstm": 1, **changes}
    seanet = SeanetConfig(**shape)
    given = {"sample_rate": 2400, "encoder": seanet, "decoder": seanet, "n_codebooks": 3, "codebook_size": 16, **own}
    config = EncodecConfig(**{"frame_rate_hz": given["sample_rate"] / seanet.hop_length, **given})
    return EncodecCodec(with_random_weights(encodec_network(config), seed), config)


def dac(seed: int = 0, **changes: Any) -> DacCodec:
    """A tiny DAC."""
    shape = {"sample_rate": 2400, "encoder_width": 4, "decoder_width": 16, "ratios": (2, 3, 4), "n_codebooks": 3}
    config = DacConfig(**{**shape, "codebook_size": 16, "codebook_width": 4, **changes})
    return DacCodec(with_random_weights(dac_network(config), seed), config)


@st.composite
def seanet_configs(draw: st.DrawFn) -> SeanetConfig:
    """Every kind of SEANet that can stream: edges, causality, skips, dilations, odd and even strides."""
    causal = draw(st.booleans())
    return SeanetConfig(
        channels=draw(st.sampled_from([1, 2])),
        dimension=draw(st.sampled_from([2, 5])),
        n_filters=draw(st.sampled_from([2, 3])),
        n_residual_layers=draw(st.integers(0, 3)),
        ratios=tuple(draw(st.lists(st.sampled_from([2, 3, 4, 5, 8]), min_size=1, max_size=3))),
        activation=draw(st.sampled_from(["ELU", "LeakyReLU"])),
        kernel_size=draw(st.sampled_from([3, 5, 7])),
        last_kernel_size=draw(st.sampled_from([1, 3, 7])),
        residual_kernel_size=draw(st.sampled_from([3, 5])),
        dilation_base=draw(st.sampled_from([1, 2, 3])),
        causal=causal,
        pad_mode=draw(st.sampled_from(["constant", "reflect", "replicate"])),
        true_skip=draw(st.booleans()),
        compress=draw(st.sampled_from([1, 2])),
        lstm=draw(st.integers(0, 2)),
        trim_right_ratio=draw(st.sampled_from([1.0, 0.5, 0.0])) if causal else 1.0,
        final_activation=draw(st.sampled_from([None, "Tanh"])),
    )


def cuts(largest: int) -> st.SearchStrategy[list[int]]:
    """Sizes of the pieces into which a signal is cut, used in turn; 0 is an empty piece."""
    return st.lists(st.integers(0, largest), min_size=1, max_size=12).filter(any)


def pieces(signal: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """`signal` cut along its last axis into pieces of `sizes`, over and over."""
    cut, start, turn = [], 0, 0
    while start < signal.shape[-1]:
        size = sizes[turn % len(sizes)]
        cut.append(signal[..., start : start + size])
        start, turn = start + size, turn + 1
    return cut


def streamed(
    step: Callable[[Tensor], Tensor], finish: Callable[[], Tensor], signal: Tensor, sizes: Sequence[int]
) -> Tensor:
    """The joined output of a stream fed with pieces of `signal`."""
    return torch.cat([*(step(piece) for piece in pieces(signal, sizes)), finish()], dim=-1)


def random_codes(codec: EncodecCodec | DacCodec, n_frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        codec.codebook_size, (batch, codec.total_codebooks, n_frames), generator=generator, dtype=torch.int64
    )


def random_wave(codec: EncodecCodec | DacCodec, n_samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, codec.channels, n_samples, generator=generator) * 0.3


def held_elements(state: Any) -> int:
    """Numbers that a stream's state keeps alive, whole storages counted."""
    if isinstance(state, Tensor):
        return state.untyped_storage().nbytes() // state.element_size()
    if isinstance(state, (list, tuple)):
        return sum(held_elements(item) for item in state)
    if isinstance(state, nn.Module) or not hasattr(state, "__dict__"):
        return 0
    return sum(held_elements(item) for item in vars(state).values())
