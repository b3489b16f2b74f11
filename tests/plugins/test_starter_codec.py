"""The starter codec: streaming equals one-shot for any chunking, and nothing looks ahead in either direction."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge.audio import Waveform
from soundforge.errors import AudioError
from soundforge.nn.starter_codec import StarterCodecConfig, StarterCodecNet
from soundforge.nn.starter_synth import HarmonicNoiseSynth, oscillator_grid
from soundforge_plugins.starter.codec import StarterCodec

HOP = 640


@pytest.fixture(scope="module")
def codec() -> StarterCodec:
    torch.manual_seed(0)
    config = StarterCodecConfig(codebook_size=64, latent_width=8, fast_width=32, slow_width=48)
    net = StarterCodecNet(config)
    net.quantiser.codebooks.normal_()
    net.head.weight.data.normal_(std=0.3)  # loud enough to hear differences
    return StarterCodec(net)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), min_size=0, max_size=6), total=st.integers(1, 6000))
def test_encoding_in_pieces_is_encoding_at_once(codec: StarterCodec, cuts: list[int], total: int) -> None:
    samples = 0.3 * torch.randn(1, 1, total, generator=torch.Generator().manual_seed(total))
    edges = sorted({0, total, *(cut for cut in cuts if cut < total)})
    stream = codec.stream()
    pieces = [stream.encode(samples[..., a:b]) for a, b in pairwise(edges)]
    joined = torch.cat([*pieces, stream.finish_encode()], dim=-1)
    assert torch.equal(joined, codec.encode(samples).codes)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 24), max_size=6))
def test_decoding_in_pieces_is_decoding_at_once(codec: StarterCodec, cuts: list[int]) -> None:
    codes = torch.randint(0, 64, (2, 6, 24), generator=torch.Generator().manual_seed(len(cuts)))
    edges = sorted({0, 24, *cuts})
    stream = codec.stream(2)
    pieces = [stream.decode(codes[..., a:b]) for a, b in pairwise(edges)]
    joined = torch.cat([*pieces, stream.finish_decode()], dim=-1)
    torch.testing.assert_close(joined, codec.decode(codes), atol=1e-5, rtol=1e-4)


def test_future_samples_never_change_past_codes(codec: StarterCodec) -> None:
    samples = 0.3 * torch.randn(1, 1, 10 * HOP)
    changed = samples.clone()
    changed[..., 6 * HOP :] = torch.randn(1, 1, 4 * HOP)
    before, after = codec.encode(samples).codes, codec.encode(changed).codes
    assert torch.equal(before[..., :6], after[..., :6])
    assert not torch.equal(before, after)


def test_the_newest_samples_of_a_frame_are_heard(codec: StarterCodec) -> None:
    samples = torch.zeros(1, 6 * HOP)
    struck = samples.clone()
    struck[0, 4 * HOP - 100] = 0.9  # within the last block of frame 3
    quiet, _ = codec.net.encode_latent(samples)
    loud, _ = codec.net.encode_latent(struck)
    assert (quiet[0, 3] - loud[0, 3]).abs().max() > 1e-3
    torch.testing.assert_close(quiet[0, :3], loud[0, :3])


def test_future_codes_never_change_past_samples(codec: StarterCodec) -> None:
    codes = torch.randint(0, 64, (1, 6, 10))
    changed = codes.clone()
    changed[..., 6:] = (changed[..., 6:] + 7) % 64
    before, after = codec.decode(codes), codec.decode(changed)
    torch.testing.assert_close(before[..., : 6 * HOP], after[..., : 6 * HOP])
    assert not torch.allclose(before[..., 6 * HOP :], after[..., 6 * HOP :])
    assert codec.stream().lookahead_frames == 0


def test_a_cloned_stream_goes_its_own_way(codec: StarterCodec) -> None:
    codes = torch.randint(0, 64, (1, 6, 12))
    stream = codec.stream()
    stream.decode(codes[..., :6])
    other = stream.clone()
    expected = stream.decode(codes[..., 6:])
    other_first = other.decode(codes[..., 6:])
    torch.testing.assert_close(other_first, expected)


def test_waveforms_of_any_rate_and_length(codec: StarterCodec) -> None:
    encoded = codec.encode(Waveform(torch.zeros(2, 44_100).numpy(), 44_100))
    assert encoded.codes.shape == (1, 6, 50)
    assert codec.decode(encoded).shape == (1, 1, 32_000)
    assert codec.encode(torch.zeros(1, 1, 0)).codes.shape == (1, 6, 0)
    assert codec.encode(torch.zeros(1, 1, 1), n_codebooks=2).codes.shape == (1, 2, 1)


@pytest.mark.parametrize("bad", [torch.zeros(1, 2, 640), torch.zeros(640), torch.full((1, 1, 640), float("nan"))])
def test_bad_audio_is_named(codec: StarterCodec, bad: torch.Tensor) -> None:
    with pytest.raises(AudioError):
        codec.encode(bad)


def test_oscillators_hold_the_tempered_scale() -> None:
    grid = oscillator_grid(32_000)
    for midi in range(24, 105):
        hz = 440.0 * 2 ** ((midi - 69) / 12)
        if hz < grid[-1]:
            assert float((grid / hz - 1).abs().min()) < 1e-9


def test_the_noise_is_equally_loud_in_every_block_and_band() -> None:
    noise = HarmonicNoiseSynth(32_000).noise
    blocks = torch.fft.irfft(noise, n=320) * HarmonicNoiseSynth(32_000).overlap
    joined = (blocks[:, :160] + blocks.roll(1, 0)[:, 160:]).flatten()
    assert float(joined.square().mean()) == pytest.approx(1.0, abs=0.1)
    plain = torch.randn(len(joined), generator=torch.Generator().manual_seed(0))
    assert _spread_db(joined) < 0.6 * _spread_db(plain)


def _spread_db(noise: torch.Tensor) -> float:
    """How much the level of a band three bins wide differs from one 10 ms to the next."""
    magnitudes = torch.fft.rfft(noise.unfold(0, 320, 160) * torch.hann_window(320)).abs()[:, 3:156]
    return float(20 * magnitudes.unflatten(1, (51, 3)).mean(2).log10().std(0).mean())


def test_the_synthesiser_plays_the_pitch_it_is_told() -> None:
    synth = HarmonicNoiseSynth(32_000)
    controls = torch.full((1, 200, synth.width), -30.0)
    index = int((oscillator_grid(32_000) - 440.0).abs().argmin())
    controls[..., index] = 2.0
    samples, _ = synth(controls, None)
    spectrum = torch.fft.rfft(samples[0, 6400:] * torch.hann_window(25_600)).abs()
    assert float(spectrum.argmax()) * 32_000 / 25_600 == pytest.approx(440.0, abs=1.5)
    silent, _ = synth(torch.full((1, 50, synth.width), -30.0), None)
    assert float(silent.abs().max()) < 1e-6
