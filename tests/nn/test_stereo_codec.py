"""The stereo codec: interleaving, streams equal to one shot, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge import Waveform
from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.errors import AudioError, CheckpointError
from soundforge.interfaces import Codec, EncodedAudio
from soundforge.nn.stereo_codec import StereoCodec

CASE = pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)


@pytest.fixture
def stereo(golden: Path) -> StereoCodec:
    return StereoCodec(load_codec_folder(golden / "compression_state_dict.bin"))


def _noise(n_samples: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 2, n_samples, generator=torch.Generator().manual_seed(n_samples)) * 0.2


@CASE
def test_it_is_a_codec_of_both_channels_books(stereo: StereoCodec) -> None:
    assert isinstance(stereo, Codec)
    assert (stereo.channels, stereo.n_codebooks, stereo.hop_length) == (2, 8, stereo.mono.hop_length)


@CASE
def test_left_and_right_alternate(stereo: StereoCodec) -> None:
    wave = _noise(5000, batch=2)
    codes = stereo.encode(wave).codes
    for channel in (0, 1):
        alone = stereo.mono.encode(wave[:, channel : channel + 1]).codes
        assert torch.equal(codes[:, channel::2], alone)
        heard = stereo.decode(codes)[:, channel : channel + 1]
        torch.testing.assert_close(heard, stereo.mono.decode(alone), atol=1e-5, rtol=0)
    assert stereo.decode_latent(codes).shape[1] == 2 * stereo.mono.decode_latent(codes[:, ::2]).shape[1]


@CASE
def test_decoding_is_trimmed_only_when_the_length_is_known(stereo: StereoCodec) -> None:
    encoded = stereo.encode(_noise(1000))
    assert stereo.decode(encoded).shape == (1, 2, 1000)
    assert stereo.decode(encoded.codes).shape == (1, 2, encoded.codes.shape[-1] * stereo.hop_length)
    assert stereo.encode(_noise(0)).codes.shape == (1, 8, 0)


@CASE
def test_fewer_codebooks_hold_for_streams_too(stereo: StereoCodec) -> None:
    wave = _noise(3000)
    wanted = stereo.encode(wave).codes[:, :4]
    stereo.n_codebooks = 4
    assert torch.equal(stereo.encode(wave).codes, wanted)
    stream = stereo.stream()
    assert torch.equal(torch.cat([stream.encode(wave), stream.finish_encode()], dim=-1), wanted)
    with pytest.raises(AudioError, match="takes an even number"):
        stereo.n_codebooks = 3


@CASE
def test_waveforms_of_any_rate_and_channels_are_taken(stereo: StereoCodec) -> None:
    mono = Waveform(np.sin(np.arange(4410) / 9).astype(np.float32), 44100)
    codes = stereo.encode(mono).codes
    assert torch.equal(codes[:, ::2], codes[:, 1::2])
    assert stereo.encode(mono, n_codebooks=4).codes.shape[1] == 4


@CASE
@given(sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=5))
@settings(max_examples=settings.default.max_examples // 4)
def test_streams_equal_one_shot_for_any_cutting(golden: Path, sizes: list[int]) -> None:
    stereo = StereoCodec(load_codec_folder(golden / "compression_state_dict.bin"))
    wave = _noise(sum(sizes), batch=2)
    stream = stereo.stream(2)
    codes = torch.cat([*(stream.encode(piece) for piece in wave.split(sizes, dim=-1)), stream.finish_encode()], dim=-1)
    assert torch.equal(codes, stereo.encode(wave).codes)
    forked = stereo.stream(2)
    pieces = [forked.decode(codes[..., :2])]
    stream = forked.clone()
    pieces += [stream.decode(column) for column in codes[..., 2:].split(1, dim=-1)]
    heard = torch.cat([*pieces, stream.finish_decode()], dim=-1)
    torch.testing.assert_close(heard, stereo.decode(codes), atol=1e-5, rtol=0)


@CASE
def test_what_does_not_fit_is_refused(stereo: StereoCodec) -> None:
    with pytest.raises(AudioError, match="1 channels"):
        stereo.encode(torch.zeros(1, 1, 100))
    with pytest.raises(AudioError, match="takes an even number"):
        stereo.encode(torch.zeros(1, 2, 100), n_codebooks=3)
    with pytest.raises(AudioError, match="takes an even number"):
        stereo.decode(EncodedAudio(torch.zeros(1, 3, 5, dtype=torch.int64)))
    with pytest.raises(AudioError, match=r"\[1, 2, n\]"):
        stereo.stream().encode(torch.zeros(1, 1, 100))
    with pytest.raises(AudioError, match=r"\[1, 2K, n\]"):
        stereo.stream().decode(torch.zeros(2, 8, 1, dtype=torch.int64))
    with pytest.raises(CheckpointError, match="2 channels"):
        StereoCodec(stereo)
