"""Streams of whole codecs: equal to one shot for any cutting, cheap to fork, and exact per chunk where that is all."""

from __future__ import annotations

import time

import pytest
import torch
from codec_models import cuts, dac, encodec, held_elements, random_codes, random_wave, streamed
from goldens import find_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge import AudioError, EncodedAudio
from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.nn.dac import DacCodec
from soundforge.nn.encodec import EncodecCodec
from soundforge.nn.encodec_chunk_stream import ChunkStream
from soundforge.nn.streaming_codec import NeuralCodec

GOLDEN_STREAMS = (
    "encodec_32k",
    "encodec_16k",
    "encodec_24k_causal",
    "hf_encodec_24k_causal",
    "hf_dac_16k",
    "hf_dac_44k",
)


def golden_codec(name: str) -> NeuralCodec:
    folder = find_golden(name)
    if folder is None:
        pytest.skip(f"no golden case {name!r}")
    return load_codec_folder(folder)


@pytest.mark.parametrize("name", GOLDEN_STREAMS)
@settings(max_examples=max(10, settings.default.max_examples // 4))
@given(data=st.data())
def test_reference_models_stream_exactly(name: str, data: st.DataObject) -> None:
    codec = golden_codec(name)
    assert isinstance(codec, (EncodecCodec, DacCodec))
    codes = random_codes(codec, data.draw(st.integers(1, 24)), batch=2, seed=data.draw(st.integers(0, 9)))
    stream = codec.stream(batch_size=2)
    out = streamed(stream.decode, stream.finish_decode, codes, data.draw(cuts(6)))
    whole = codec.decode(codes)
    assert out.shape == whole.shape and torch.allclose(out, whole, rtol=0, atol=2e-5)

    wave = random_wave(codec, data.draw(st.integers(1, 12 * codec.hop_length)), seed=data.draw(st.integers(0, 9)))
    stream = codec.stream()
    out = streamed(stream.encode, stream.finish_encode, wave, data.draw(cuts(3 * codec.hop_length)))
    whole = codec.encode(wave).codes
    assert out.shape == whole.shape
    # Random books of a tiny model lie close together: a rounding may choose the neighbour, and then the finer
    # books of that frame differ too.
    assert (out != whole).any(dim=1).sum() <= 1


@pytest.mark.parametrize("name", GOLDEN_STREAMS)
def test_one_frame_at_a_time(name: str) -> None:
    codec = golden_codec(name)
    assert isinstance(codec, (EncodecCodec, DacCodec))
    codes, stream = random_codes(codec, 40), codec.stream()
    pieces, behind = [], []
    for frame in range(40):
        pieces.append(stream.decode(codes[..., frame : frame + 1]))
        behind.append((frame + 1) * codec.hop_length - sum(piece.shape[-1] for piece in pieces))
    out = torch.cat([*pieces, stream.finish_decode()], dim=-1)
    assert torch.allclose(out, codec.decode(codes), rtol=0, atol=2e-5)
    # Past its start a stream holds back no more than its look-ahead, always the same amount.
    assert len(set(behind[-10:])) == 1 and behind[-1] <= stream.lookahead_frames * codec.hop_length


def test_causal_codecs_do_not_look_ahead() -> None:
    causal, not_causal = encodec(causal=True, pad_mode="constant"), encodec(pad_mode="constant")
    assert causal.stream().lookahead_frames == 0 and not_causal.stream().lookahead_frames > 0
    stream = causal.stream()
    codes = random_codes(causal, 5)
    for frame in range(5):
        assert stream.decode(codes[..., frame : frame + 1]).shape[-1] == causal.hop_length
    stream = causal.stream()
    for n in range(1, 60):
        stream.encode(random_wave(causal, 1))
        assert stream.lookahead_frames == 0, n
    assert stream.finish_encode().shape[-1] == 1


@pytest.mark.parametrize("kind", ["encodec", "dac"])
def test_clones_fork_a_stream(kind: str) -> None:
    codec: EncodecCodec | DacCodec = encodec() if kind == "encodec" else dac()
    prompt, *ends = (random_codes(codec, 9, seed=seed) for seed in range(3))
    stream = codec.stream()
    begin = stream.decode(prompt)
    forks = [stream.clone() for _ in ends]
    stream.decode(random_codes(codec, 30, seed=9))  # the original goes on and disturbs nobody
    for end, fork in zip(ends, forks, strict=True):
        out = torch.cat([begin, fork.decode(end), fork.finish_decode()], dim=-1)
        assert torch.allclose(out, codec.decode(torch.cat([prompt, end], dim=-1)), atol=1e-5)
    wave = random_wave(codec, 300)
    stream = codec.stream()
    begin = stream.encode(wave[..., :150])
    fork = stream.clone()
    stream.finish_encode()
    out = torch.cat([begin, fork.encode(wave[..., 150:]), fork.finish_encode()], dim=-1)
    assert torch.equal(out, codec.encode(wave).codes)


def test_an_ended_stream_says_so() -> None:
    codec = encodec()
    for stream in (codec.stream(), encodec(norm="time_group_norm").stream()):
        assert stream.finish_encode().shape == (1, 3, 0) and stream.finish_encode().shape == (1, 3, 0)
        assert stream.finish_decode().shape == (1, 1, 0) and stream.finish_decode().shape == (1, 1, 0)
        with pytest.raises(AudioError, match="finished encoding"):
            stream.encode(random_wave(codec, 10))
        with pytest.raises(AudioError, match="finished decoding"):
            stream.decode(random_codes(codec, 1))
        with pytest.raises(AudioError, match="a batch of 2 came"):
            codec.stream().decode(random_codes(codec, 1, batch=2))


def test_encoding_and_decoding_do_not_touch_each_other() -> None:
    codec = encodec()
    wave, codes = random_wave(codec, 240), random_codes(codec, 10)
    stream, encoded, decoded = codec.stream(), [], []
    for step in range(10):
        encoded.append(stream.encode(wave[..., 24 * step : 24 * step + 24]))
        decoded.append(stream.decode(codes[..., step : step + 1]))
    assert torch.equal(torch.cat([*encoded, stream.finish_encode()], dim=-1), codec.encode(wave).codes)
    assert torch.allclose(torch.cat([*decoded, stream.finish_decode()], dim=-1), codec.decode(codes), atol=1e-5)


@pytest.mark.parametrize("kind", ["encodec", "dac"])
def test_memory_is_constant(kind: str) -> None:
    codec: EncodecCodec | DacCodec = encodec() if kind == "encodec" else dac()
    stream, sizes = codec.stream(), []
    for _ in range(300):
        stream.decode(random_codes(codec, 3))
        stream.encode(random_wave(codec, 50))
        sizes.append(held_elements([vars(stream)["_encoder"], vars(stream)["_decoder"]]))
    assert max(sizes[20:]) <= 2 * max(sizes[10:20])


@pytest.mark.slow
def test_time_is_proportional_to_length() -> None:
    codec = encodec(n_filters=8)

    def seconds(n: int) -> float:
        stream, codes = codec.stream(), random_codes(codec, 10)
        start = time.process_time()
        for _ in range(n):
            stream.decode(codes)
        return time.process_time() - start

    seconds(20)
    assert min(seconds(400) for _ in range(3)) < 12 * min(seconds(100) for _ in range(3))  # 16 if it were quadratic


@given(n_samples=st.integers(1, 1300), wave_cuts=cuts(400), code_cuts=cuts(25))
def test_chunked_codecs_stream_their_chunks_exactly(n_samples: int, wave_cuts: list[int], code_cuts: list[int]) -> None:
    codec = encodec(
        norm="time_group_norm", renormalise=True, channels=2, chunk_samples=240, chunk_stride_samples=200
    )
    wave = random_wave(codec, n_samples)
    whole = codec.encode(wave)
    stream = codec.stream()
    assert isinstance(stream, ChunkStream) and stream.lookahead_frames == 10 and "chunk" in stream.why_per_chunk
    codes = streamed(stream.encode, stream.finish_encode, wave, wave_cuts)
    assert torch.equal(codes, whole.codes)
    scales = stream.take_scales()
    assert scales is not None and whole.scales is not None and torch.allclose(scales, whole.scales)
    assert stream.take_scales() is None
    fork = stream.clone()
    fork.decode(codes[..., :0], scales)
    out = streamed(fork.decode, fork.finish_decode, codes, code_cuts)
    unknown_end = EncodedAudio(whole.codes, whole.scales, whole.chunk_frames)
    assert torch.allclose(out, codec.decode(unknown_end), atol=1e-5)


def test_group_norm_without_chunks_streams_by_the_second() -> None:
    codec = encodec(norm="time_group_norm", renormalise=True)
    stream = codec.stream()
    wave = random_wave(codec, 2400)
    # One second is one chunk: its codes come when it is full, and are those of the chunk alone.
    assert stream.encode(wave[..., :2399]).shape[-1] == 0
    assert torch.equal(stream.encode(wave[..., 2399:]), codec.encode(wave).codes)
