"""Stream layers: cutting a signal anywhere changes nothing, for any shape of network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from codec_models import cuts, encodec, held_elements, pieces, seanet_configs, with_random_weights
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from soundforge.nn.dac import DacConfig, dac_decoder, dac_encoder
from soundforge.nn.rvq import ResidualQuantiser
from soundforge.nn.seanet import SeanetConfig, seanet_decoder, seanet_encoder
from soundforge.nn.streaming import (
    Chain,
    clone_state,
    decoder_lookahead_frames,
    encoder_lookahead_samples,
)
from soundforge.nn.streaming_codec import CodecNetwork
from soundforge.nn.streaming_conv import StreamConv1d, pad1d
from soundforge.nn.streaming_lstm import RunningLstm
from soundforge.nn.streaming_product import PackedProduct
from soundforge.nn.streaming_transposed import StreamConvTranspose1d


def run_in_pieces(chain: Chain, signal: Tensor, sizes: list[int]) -> Tensor:
    state = chain.new_state()
    outputs = [chain.step(piece, state, last=False) for piece in pieces(signal, sizes)]
    return torch.cat([*outputs, chain.step(signal[..., :0], state, last=True)], dim=-1)


def assert_same(streamed: Tensor, whole: Tensor) -> None:
    """In double precision, so that only a wrong sample can differ by more than the tolerance."""
    assert streamed.shape == whole.shape
    tolerance = 1e-9 if whole.dtype == torch.float64 else 2e-5
    assert torch.allclose(streamed, whole, rtol=0, atol=tolerance * max(1.0, float(whole.abs().max())))


def random_halves(config: SeanetConfig | DacConfig) -> CodecNetwork:
    if isinstance(config, DacConfig):
        halves = dac_encoder(config), dac_decoder(config)
    else:
        halves = seanet_encoder(config), seanet_decoder(config)
    network = CodecNetwork(*halves, ResidualQuantiser(1, 2, 2))
    return with_random_weights(network).eval().requires_grad_(False).double()


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@given(config=seanet_configs(), data=st.data())
def test_seanet_streams_exactly(config: SeanetConfig, data: st.DataObject) -> None:
    network = random_halves(config)
    wave = double(2, config.channels, data.draw(st.integers(1, 9 * config.hop_length)))
    whole = network.encoder(wave)
    assert whole.shape == (2, config.dimension, -(-wave.shape[-1] // config.hop_length))
    assert_same(run_in_pieces(network.encoder, wave, data.draw(cuts(2 * config.hop_length))), whole)

    latent = double(2, config.dimension, data.draw(st.integers(1, 14)))
    whole = network.decoder(latent)
    assert whole.shape == (2, config.channels, latent.shape[-1] * config.hop_length)
    assert_same(run_in_pieces(network.decoder, latent, data.draw(cuts(3))), whole)


@given(
    ratios=st.lists(st.sampled_from([2, 3, 4, 5, 8]), min_size=1, max_size=3),
    n_frames=st.integers(1, 12),
    frame_cuts=cuts(3),
    sample_cuts=cuts(40),
)
def test_dac_streams_exactly(
    ratios: list[int], n_frames: int, frame_cuts: list[int], sample_cuts: list[int]
) -> None:
    config = DacConfig(encoder_width=2, decoder_width=16, ratios=tuple(ratios), codebook_size=4)
    network = random_halves(config)
    wave = double(2, 1, n_frames * config.hop_length)
    whole = network.encoder(wave)
    assert whole.shape == (2, config.latent_width, n_frames)
    assert_same(run_in_pieces(network.encoder, wave, sample_cuts), whole)
    assert_same(run_in_pieces(network.decoder, whole, frame_cuts), network.decoder(whole))


@given(config=seanet_configs())
def test_lookahead_is_what_the_numbers_show(config: SeanetConfig) -> None:
    """Changing a frame changes the decoder's output no further back than the look-ahead, and the encoder's alike."""
    network, hop = random_halves(config), config.hop_length
    latent = double(1, config.dimension, 40)
    other = latent.clone()
    other[..., 25] += 1
    changed = (network.decoder(latent) != network.decoder(other)).any(dim=1)[0].nonzero()
    reach = decoder_lookahead_frames(network.decoder, hop)
    assert changed.min() >= (25 - reach) * hop
    wave = double(1, config.channels, 40 * hop)
    other = wave.clone()
    other[..., 25 * hop] += 1
    changed = (network.encoder(wave) != network.encoder(other)).any(dim=1)[0].nonzero()
    assert changed.min() >= 25 - -(-encoder_lookahead_samples(network.encoder, hop) // hop)
    if config.causal and config.trim_right_ratio == 1.0:
        assert reach == 0 and encoder_lookahead_samples(network.encoder, hop) == 0


def test_a_cloned_state_goes_its_own_way() -> None:
    network = random_halves(SeanetConfig(dimension=4, n_filters=2, ratios=(4, 2)))
    latent, left, right = double(3, 1, 4, 9).unbind(0)
    whole = [network.decoder(torch.cat([latent, end], dim=-1)) for end in (left, right)]
    state = network.decoder.new_state()
    begin = network.decoder.step(latent, state, last=False)
    other = clone_state(state)
    ends = [network.decoder.step(end, own, last=True) for end, own in ((left, state), (right, other))]
    for end, want in zip(ends, whole, strict=True):
        assert_same(torch.cat([begin, end], dim=-1), want)


def test_state_does_not_grow_and_keeps_no_piece_alive() -> None:
    network = random_halves(SeanetConfig(dimension=4, n_filters=4, ratios=(4, 2)))
    state = network.decoder.new_state()
    sizes = []
    for n in [1, 1, 20, 1, 500, 1, 1]:
        network.decoder.step(double(1, 4, n), state, last=False)
        sizes.append(held_elements(state))
    assert max(sizes) == sizes[-1] == sizes[2]


def test_the_callers_buffer_may_be_used_again() -> None:
    """A live capture writes every block into the same memory."""
    codec = encodec(pad_mode="reflect", causal=True)
    wave = torch.randn(1, 1, 200)
    stream, buffer, codes = codec.stream(), torch.empty(1, 1, 3), []
    for start in range(0, 200, 3):
        n = min(3, 200 - start)
        buffer[..., :n] = wave[..., start : start + n]
        codes.append(stream.encode(buffer[..., :n]))
        buffer.fill_(9.0)
    assert torch.equal(torch.cat([*codes, stream.finish_encode()], dim=-1), codec.encode(wave).codes)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("causal", [True, False])
def test_long_signals_run_in_tiles_with_the_same_result(kind: str, causal: bool) -> None:
    config = SeanetConfig(dimension=8, n_filters=16, ratios=(8, 5, 4), causal=causal, pad_mode="reflect")
    network = random_halves(config)
    chain: Chain = getattr(network, kind)
    long = double(1, 8, 1501) if kind == "decoder" else double(1, 1, 240_123)
    assert chain._tiling(long)[1] > 0
    layer_by_layer = long
    for layer in chain:
        layer_by_layer = layer(layer_by_layer)
    assert_same(chain(long), layer_by_layer)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
@pytest.mark.parametrize(("left", "right"), [(0, 0), (2, 0), (0, 2), (6, 1), (3, 8)])
def test_reflection_of_short_signals_inserts_zeros_first(n: int, left: int, right: int) -> None:
    x = torch.arange(1.0, n + 1).view(1, 1, n)
    extra = max(0, max(left, right) + 1 - n)
    want = F.pad(F.pad(x, (0, extra)), (left, right), "reflect")[..., : left + n + right]
    assert torch.equal(pad1d(x, left, right, "reflect"), want)


@given(
    shape=st.sampled_from([(3, 5, 7, 1, 1), (4, 1, 7, 1, 1), (4, 2, 3, 1, 2), (64, 256, 8, 4, 1), (256, 512, 3, 1, 1)]),
    n=st.integers(1, 40),
    batch=st.integers(1, 3),
)
def test_every_way_to_convolve_is_the_same(shape: tuple[int, int, int, int, int], n: int, batch: int) -> None:
    """Small, large and few-channel convolutions take different roads on the CPU."""
    in_channels, out_channels, kernel, stride, dilation = shape
    layer = StreamConv1d(in_channels, out_channels, kernel, stride=stride, dilation=dilation, left=3, right=3)
    layer.requires_grad_(False)
    x = torch.randn(batch, in_channels, n + (kernel - 1) * dilation)
    want = F.conv1d(x, layer.conv.weight, layer.conv.bias, stride, 3, dilation)
    assert_same(layer(x), want)


@given(
    shape=st.sampled_from([(3, 5, 2, 4), (3, 4, 3, 6), (4, 2, 2, 5), (512, 128, 2, 4)]),
    n=st.sampled_from([1, 2, 7, 511, 512, 700]),
    batch=st.integers(1, 2),
)
def test_every_way_to_convolve_transposed_is_the_same(shape: tuple[int, int, int, int], n: int, batch: int) -> None:
    in_channels, out_channels, stride, kernel = shape
    layer = StreamConvTranspose1d(in_channels, out_channels, kernel, stride=stride, left=1, right=1)
    layer.requires_grad_(False)
    x = torch.randn(batch, in_channels, n)
    want = F.conv_transpose1d(x, layer.conv.weight, layer.conv.bias, stride)[..., 1:-1]
    assert_same(layer(x), want)


@pytest.mark.parametrize("width", [5, 512])
def test_lstm_is_pytorchs(width: int) -> None:
    layer = RunningLstm(width, 2).requires_grad_(False)
    x = torch.randn(2, width, 9)
    by_time = x.permute(2, 0, 1)
    assert_same(layer(x), (layer.lstm(by_time)[0] + by_time).permute(1, 2, 0))


def test_an_arranged_weight_follows_its_parameter() -> None:
    product, weight = PackedProduct(), nn.Parameter(torch.randn(512, 512), requires_grad=False)
    rows = torch.randn(3, 512)
    assert_same(product(rows, weight, weight.detach), rows @ weight.t())
    weight.mul_(2)
    assert_same(product(rows, weight, weight.detach), rows @ weight.t())
