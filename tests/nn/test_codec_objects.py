"""Codec objects: what they take and give, at every odd length, and the errors that name what was wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from codec_models import dac, encodec, random_codes, random_wave

from soundforge import AudioError, EncodedAudio, Waveform
from soundforge.interfaces import Codec, CodecStream
from soundforge.nn.dac import DacCodec
from soundforge.nn.encodec import EncodecCodec

AnyCodec = EncodecCodec | DacCodec

KINDS: dict[str, dict[str, Any]] = {
    "causal": {"causal": True, "pad_mode": "reflect"},
    "non_causal": {"pad_mode": "constant"},
    "renormalised": {"norm": "time_group_norm", "renormalise": True, "channels": 2},
    "chunked": {
        "norm": "time_group_norm",
        "renormalise": True,
        "channels": 2,
        "chunk_samples": 240,
        "chunk_stride_samples": 200,
    },
}


def make(kind: str) -> AnyCodec:
    if kind == "dac":
        return dac()
    return encodec(**KINDS[kind])


every_codec = pytest.mark.parametrize("kind", [*KINDS, "dac"])


@every_codec
def test_it_is_a_codec(kind: str) -> None:
    codec = make(kind)
    assert isinstance(codec, Codec)
    assert isinstance(codec.stream(), CodecStream)
    assert codec.frame_rate_hz == codec.sample_rate / codec.hop_length
    assert str(codec.sample_rate) in repr(codec)


@pytest.mark.slow
@every_codec
@pytest.mark.parametrize("n_samples", [0, 1, 2, 23, 24, 25, 199, 200, 201, 239, 240, 241, 441, 555])
def test_any_length_comes_back(kind: str, n_samples: int) -> None:
    codec = make(kind)
    encoded = codec.encode(random_wave(codec, n_samples, batch=2))
    assert encoded.codes.dtype == torch.int64 and encoded.n_samples == n_samples
    if encoded.chunk_frames is None:
        assert encoded.codes.shape == (2, 3, -(-n_samples // codec.hop_length))
    decoded = codec.decode(encoded)
    assert decoded.shape == (2, codec.channels, n_samples) and decoded.dtype == torch.float32
    assert torch.isfinite(decoded).all()


@every_codec
def test_a_batch_is_its_items(kind: str) -> None:
    codec = make(kind)
    wave = random_wave(codec, 500, batch=3)
    together = codec.encode(wave)
    apart = [codec.encode(wave[item : item + 1]) for item in range(3)]
    assert torch.equal(together.codes, torch.cat([one.codes for one in apart]))
    whole = codec.decode(together)
    for item, one in enumerate(apart):
        assert torch.allclose(codec.decode(one), whole[item : item + 1], atol=1e-5)


@every_codec
def test_fewer_codebooks_are_the_first_ones(kind: str) -> None:
    codec = make(kind)
    wave = random_wave(codec, 100)
    assert torch.equal(codec.encode(wave, 2).codes, codec.encode(wave).codes[:, :2])
    codec.n_codebooks = 1
    assert codec.encode(wave).codes.shape[1] == 1 and codec.total_codebooks == 3
    assert codec.stream().finish_encode().shape[1] == 1
    assert codec.encode(wave, 3).codes.shape[1] == 3


def test_bandwidth_chooses_codebooks() -> None:
    codec = encodec()  # 100 frames a second, 4 bits: 0.4 kbit/s a book
    assert codec.kbps_per_codebook == pytest.approx(0.4)
    assert [codec.codebooks_for_bandwidth(kbps) for kbps in (0.1, 0.4, 0.79, 0.8, 1.2, 1.5)] == [1, 1, 1, 2, 3, 3]
    codec.bandwidth_kbps = 0.8
    assert codec.n_codebooks == 2 and codec.bandwidth_kbps == pytest.approx(0.8)
    assert codec.encode(random_wave(codec, 50), bandwidth_kbps=0.4).codes.shape[1] == 1
    for kbps in (0, -1, 1.7):
        with pytest.raises(AudioError, match=r"up to 1\.2"):
            codec.codebooks_for_bandwidth(kbps)
    with pytest.raises(AudioError, match="one of them"):
        codec.encode(random_wave(codec, 50), 1, bandwidth_kbps=0.4)


@pytest.mark.parametrize("n", [0, 4, -1, 1.5, "2"])
def test_number_of_codebooks_is_checked(n: Any) -> None:
    codec = encodec()
    with pytest.raises(AudioError, match="takes 1 to 3"):
        codec.encode(random_wave(codec, 50), n)


def test_bare_codes_give_whole_frames() -> None:
    codec = encodec()
    assert codec.decode(random_codes(codec, 7, batch=2)).shape == (2, 1, 7 * 24)
    assert codec.decode(random_codes(codec, 7)[:, :1]).shape == (1, 1, 7 * 24)
    assert codec.decode(random_codes(codec, 0)).shape == (1, 1, 0)
    assert codec.decode(random_codes(codec, 7).to(torch.int32)).shape == (1, 1, 7 * 24)


@every_codec
def test_latents_are_the_decoders_input(kind: str) -> None:
    codec = make(kind)
    codes = random_codes(codec, 6)
    latent = codec.decode_latent(codes)
    assert torch.allclose(codec.decode_from_latent(latent), codec.decode(codes), atol=1e-5)
    assert codec.encode_latent(random_wave(codec, 144)).shape == latent.shape
    assert codec.decode_latent(random_codes(codec, 0)).shape == (1, latent.shape[1], 0)
    assert codec.encode_latent(random_wave(codec, 0)).shape == (1, latent.shape[1], 0)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (torch.zeros(1, 50), "shape"),
        (torch.zeros(50), "shape"),
        (torch.zeros(1, 2, 50), "2 channels"),
        (torch.zeros(1, 1, 50, dtype=torch.int16), "int16"),
        (torch.full((1, 1, 50), torch.nan), "NaN"),
        (torch.full((1, 1, 50), torch.inf), "infinite"),
        (np.zeros((1, 1, 50), dtype=np.float32), "ndarray"),
        ([0.0], "list"),
    ],
    ids=["rank 2", "rank 1", "channels", "integers", "nan", "inf", "numpy", "list"],
)
def test_bad_audio_is_named(bad: Any, named: str) -> None:
    codec = encodec()
    for take in (codec.encode, codec.encode_latent, codec.stream().encode):
        with pytest.raises(AudioError, match=named):
            take(bad)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (torch.full((1, 3, 4), 16), "hold 16, expected 0 to 15"),
        (torch.full((1, 3, 4), -1), "hold -1, expected 0 to 15"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), "4 books"),
        (torch.zeros(1, 0, 4, dtype=torch.int64), "0 books"),
        (torch.zeros(3, 4, dtype=torch.int64), "shape"),
        (torch.zeros(1, 3, 4), "float32"),
        (torch.zeros(1, 3, 4, dtype=torch.bool), "bool"),
        ([[[1]]], "list"),
    ],
    ids=["too large", "negative", "many books", "no books", "rank", "floats", "bool", "list"],
)
def test_bad_codes_are_named(bad: Any, named: str) -> None:
    codec = encodec()
    for take in (codec.decode_latent, codec.stream().decode):
        with pytest.raises(AudioError, match=named):
            take(bad)
    with pytest.raises(AudioError):
        codec.decode(bad)


def test_waveforms_are_mixed_and_resampled() -> None:
    codec = encodec()
    stereo = Waveform(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4801)).astype(np.float32), 4800)
    encoded = codec.encode(stereo)
    assert encoded.n_samples == 2400 and encoded.codes.shape == (1, 3, 100)
    by_hand = stereo.with_channels(1).resampled(2400)
    assert torch.equal(encoded.codes, codec.encode(torch.from_numpy(by_hand.samples.copy())[None]).codes)
    two = encodec(**KINDS["renormalised"])
    assert two.encode(Waveform(np.zeros(300, dtype=np.float32), 2400)).codes.shape == (1, 3, 13)


def test_a_stream_takes_its_own_rate_only() -> None:
    stream = encodec().stream()
    assert stream.encode(Waveform(np.zeros(300, dtype=np.float32), 2400)).shape[:2] == (1, 3)
    with pytest.raises(AudioError, match="4800 Hz came, the stream takes 2400 Hz"):
        stream.encode(Waveform(np.zeros(300, dtype=np.float32), 4800))  # type: ignore[arg-type]


def test_nothing_is_scaled_or_clamped() -> None:
    codec = encodec(renormalise=False)
    codec.network.decoder[-1].conv.weight.mul_(100)  # type: ignore[union-attr, operator]
    assert codec.decode(random_codes(codec, 9)).abs().max() > 2
    loud = random_wave(codec, 100) * 50
    assert not torch.equal(codec.encode_latent(loud), codec.encode_latent(loud.clamp(-1, 1)))


def test_scale_is_the_loudness_of_the_mono_mix() -> None:
    codec = make("renormalised")
    wave = random_wave(codec, 300, batch=2)
    encoded = codec.encode(wave)
    want = 1e-8 + wave.mean(1).pow(2).mean(1).sqrt()
    assert encoded.scales is not None and torch.allclose(encoded.scales, want[:, None])
    assert torch.equal(codec.encode(wave * 4).codes, encoded.codes)
    quiet = EncodedAudio(encoded.codes, encoded.scales / 2, encoded.chunk_frames, encoded.n_samples)
    assert torch.allclose(codec.decode(quiet), codec.decode(encoded) / 2, atol=1e-6)
    unscaled = EncodedAudio(encoded.codes, None, None, encoded.n_samples)
    assert torch.allclose(codec.decode(unscaled) * want[:, None, None], codec.decode(encoded), atol=1e-5)


def test_chunks_are_coded_by_themselves() -> None:
    codec = make("chunked")
    wave = random_wave(codec, 555, batch=2)
    encoded = codec.encode(wave)
    assert encoded.chunk_frames == 10 and encoded.codes.shape == (2, 3, 30)
    assert encoded.scales is not None and encoded.scales.shape == (2, 3)
    plain = encodec(**KINDS["renormalised"])
    for index, start in enumerate((0, 200, 400)):
        alone = plain.encode(wave[..., start : start + 240])
        n = alone.codes.shape[-1]
        assert torch.equal(encoded.codes[..., 10 * index : 10 * index + n], alone.codes)
        assert encoded.codes[..., 10 * index + n : 10 * index + 10].eq(0).all()
        assert alone.scales is not None and torch.allclose(encoded.scales[:, index], alone.scales[:, 0])
    # Where only one chunk lies, the decoded chunk itself comes out.
    first = plain.decode(EncodedAudio(encoded.codes[..., :10], encoded.scales[:, :1]))
    assert torch.allclose(codec.decode(encoded)[..., :200], first[..., :200], atol=1e-5)
    with pytest.raises(AudioError, match="scales for 2 chunks"):
        codec.decode(EncodedAudio(encoded.codes, encoded.scales[:, :2], 10, 555))


def test_dac_with_odd_strides_keeps_the_references_length() -> None:
    codec = dac(ratios=(2, 5, 3))
    codes = random_codes(codec, 8)
    # 8 frames * 3 - 1, * 5 - 1, * 2: each odd stride loses a sample at its level.
    assert codec.decode(codes).shape[-1] == ((8 * 3 - 1) * 5 - 1) * 2
    encoded = codec.encode(random_wave(codec, 240))
    assert codec.decode(encoded).shape[-1] == 240


def test_devices_and_type_are_the_weights() -> None:
    codec = encodec()
    assert codec.to("cpu") is codec and codec.device.type == "cpu" and codec.dtype == torch.float32
    assert codec.decode(codec.encode(random_wave(codec, 50).double())).dtype == torch.float32
