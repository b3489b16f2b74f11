"""Decoding in bfloat16: how far it is from float32, and that a stream of it is what one pass gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from codec_models import cuts, dac, encodec, pieces, random_codes
from goldens import find_golden
from hypothesis import given
from hypothesis import strategies as st

from soundforge.errors import AudioError, SettingsError
from soundforge.nn.stereo_codec import StereoCodec
from soundforge.nn.streaming_codec import NeuralCodec

TOLERANCE = 0.05
"""Root mean square of the error over that of the sound (-26 dB); random weights, which hide nothing."""

SHAPES: dict[str, Any] = {
    "encodec": lambda: encodec(n_filters=8, lstm=2), "encodec causal": lambda: encodec(n_filters=8, causal=True),
    "encodec reflect": lambda: encodec(n_filters=8, pad_mode="reflect"),
    "encodec without lstm": lambda: encodec(n_filters=8, lstm=0, pad_mode="constant"),
    "wide encodec": lambda: encodec(n_filters=64, lstm=1, ratios=(4, 2)), "stereo": lambda: encodec(channels=2),
    "dac": lambda: dac(decoder_width=64), "dac with odd strides": lambda: dac(ratios=(2, 3, 5), decoder_width=64)}


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [1, 3])
def test_it_stays_within_its_tolerance(shape: str, batch: int) -> None:
    codec = SHAPES[shape]()
    narrow = codec.decoding_in_bfloat16()
    codes = random_codes(codec, 40, batch)
    exact, rough = codec.decode(codes), narrow.decode(codes)
    assert rough.dtype == torch.float32
    assert rough.shape == exact.shape
    assert 0 < error(rough, exact) < TOLERANCE


@pytest.mark.parametrize("shape", ["encodec", "encodec reflect", "dac"])
@given(sizes=cuts(9), n_frames=st.integers(1, 40))
def test_a_stream_is_the_whole(shape: str, sizes: list[int], n_frames: int) -> None:
    narrow: NeuralCodec = _narrow(shape)
    codes = random_codes(narrow, n_frames)  # type: ignore[arg-type]
    whole, stream = narrow.decode(codes), narrow.stream()
    streamed = torch.cat([*(stream.decode(piece) for piece in pieces(codes, sizes)), stream.finish_decode()], dim=-1)
    assert streamed.shape == whole.shape
    assert error(streamed, whole) < TOLERANCE / 2


_made: dict[str, NeuralCodec] = {}


def _narrow(shape: str) -> NeuralCodec:
    if shape not in _made:
        _made[shape] = SHAPES[shape]().decoding_in_bfloat16()
    return _made[shape]


def test_the_codec_itself_and_its_codes_stay_as_they_are() -> None:
    codec = encodec(n_filters=8)
    codes = random_codes(codec, 20)
    before = codec.decode(codes)
    narrow = codec.decoding_in_bfloat16()
    assert torch.equal(codec.decode(codes), before)
    wave = 0.3 * torch.randn(1, 1, 500, generator=torch.Generator().manual_seed(0))
    assert torch.equal(narrow.encode(wave).codes, codec.encode(wave).codes)
    assert narrow.network.encoder is codec.network.encoder, "the encoder is shared, not copied"


def test_a_codec_that_normalises_over_time_is_refused_in_one_line() -> None:
    with pytest.raises(AudioError, match="float32 only"):
        encodec(norm="time_group_norm").decoding_in_bfloat16()


def test_a_stereo_codec_is_its_mono_one_twice() -> None:
    mono = encodec(n_filters=8)
    both, narrow = StereoCodec(mono), StereoCodec(mono).decoding_in_bfloat16()
    codes = torch.randint(mono.codebook_size, (1, both.n_codebooks, 20), generator=torch.Generator().manual_seed(2))
    assert 0 < error(narrow.decode(codes), both.decode(codes)) < TOLERANCE
    assert torch.equal(narrow.mono.decode(codes[:, ::2]), mono.decoding_in_bfloat16().decode(codes[:, ::2]))


def test_a_live_engine_takes_it_from_its_settings() -> None:
    from soundforge.app import engine_setup
    from soundforge.live.engine_process import load_model
    from soundforge.settings import Settings

    folder = find_golden("musicgen_text")
    assert folder is not None
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        setup = engine_setup(Settings(model=str(folder), codec_precision=precision, threads=1))
        codec: Any = load_model(setup, setup.model)._engine.codec  # type: ignore[attr-defined]
        assert next(codec.network.decoder.parameters()).dtype == dtype


def test_it_is_asked_for_by_name() -> None:
    import soundforge as sf

    with pytest.raises(SettingsError, match="float32 or bfloat16"):
        sf.load_codec("starter", precision="int8")
    with pytest.raises(SettingsError, match="decodes in float32 only"):
        sf.load("starter", codec_precision="bfloat16")
    folder = find_golden("encodec_32k") or find_golden("encodec_16k")
    assert folder is not None
    exact, narrow = sf.load_codec(folder), sf.load_codec(folder, precision="bfloat16")
    codes = torch.randint(100, (1, exact.n_codebooks, 30), generator=torch.Generator().manual_seed(1))
    assert 0 < error(narrow.decode(codes), exact.decode(codes)) < TOLERANCE
