"""The conformance check of codecs: one-shot, streams, latency, and input that no codec can take."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from soundforge.audio import Waveform
from soundforge.errors import AudioError
from soundforge.interfaces import Codec, CodecDescriptor, CodecStream, EncodedAudio
from soundforge.testing.asserting import (
    must_refuse,
    noise,
    refused_in_one_line,
    require,
    require_close,
    require_same_codes,
)

if TYPE_CHECKING:
    from torch import Tensor

DECLARED = ("sample_rate", "channels", "frame_rate_hz", "n_codebooks", "codebook_size")


def check_codec(codec: Codec, *, descriptor: CodecDescriptor | None = None, seconds: float = 0.5,
                tolerance: float = 1e-4) -> None:
    """Check a codec against its contract.

    Args:
        codec: as its factory made it, on the CPU.
        descriptor: its numbers must be the codec's when given.
        seconds: how much audio is encoded.
        tolerance: of decoded samples between one-shot, batch and stream, relative to the peak (at least 1).

    Raises:
        AssertionError: with one line that says what is wrong.
    """
    import torch

    require(isinstance(codec, Codec), f"{type(codec).__name__} lacks something of soundforge.interfaces.Codec")
    _check_numbers(codec, descriptor)
    wave = noise(seconds, codec.sample_rate, codec.channels)
    samples = torch.from_numpy(wave.samples)[None]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        encoded = _check_encode(codec, wave, samples)
        _check_decode(codec, encoded, tolerance)
        _check_refusals(codec, samples)
        if encoded.chunk_frames is None:
            _check_encode_stream(codec, samples, encoded.codes)
            _check_decode_stream(codec, encoded.codes, tolerance)


def _check_numbers(codec: Codec, descriptor: CodecDescriptor | None) -> None:
    for name in (*DECLARED, "hop_length"):
        value = getattr(codec, name)
        require(isinstance(value, (int, float)) and value > 0, f"codec.{name} is {value!r}, expected a positive number")
    product = codec.frame_rate_hz * codec.hop_length
    require(abs(product - codec.sample_rate) <= codec.hop_length,
            f"frame_rate_hz * hop_length is {product:g}, expected the sample rate {codec.sample_rate}")
    if descriptor is not None:
        for name in DECLARED:
            said, is_ = getattr(descriptor, name), getattr(codec, name)
            require(abs(said - is_) < 1e-6, f"descriptor {descriptor.name!r} says {name} {said}, the codec has {is_}")


def _check_encode(codec: Codec, wave: Waveform, samples: Tensor) -> EncodedAudio:
    import torch

    encoded = codec.encode(samples)
    codes = encoded.codes
    require(codes.dtype == torch.int64 and codes.ndim == 3 and codes.shape[:2] == (1, codec.n_codebooks),
            f"encode gave codes {codes.dtype} {list(codes.shape)}, expected torch.int64 [1, {codec.n_codebooks}, T]")
    require(int(codes.min()) >= 0 and int(codes.max()) < codec.codebook_size,
            f"codes go from {int(codes.min())} to {int(codes.max())}, expected 0 to {codec.codebook_size - 1}")
    require(encoded.n_samples == wave.n_samples,
            f"n_samples is {encoded.n_samples}, expected the {wave.n_samples} that were encoded")
    require_same_codes(codec.encode(wave).codes, codes, "a Waveform and its samples")
    torch.manual_seed(20_000_003)
    require_same_codes(codec.encode(samples).codes, codes, "the same audio twice", 1.0)
    require_same_codes(codec.encode(samples.repeat(2, 1, 1)).codes[1:], codes, "an item alone and in a batch")
    fewer = codec.encode(samples, n_codebooks=1).codes
    require(fewer.shape == (1, 1, codes.shape[2]), f"n_codebooks=1 gave codes {list(fewer.shape)}, expected [1, 1, T]")
    rate = 44_100 if codec.sample_rate != 44_100 else 32_000
    foreign = noise(0.3, rate, 2)
    frames = codec.encode(foreign)
    require(abs(frames.n_samples - round(0.3 * codec.sample_rate)) <= 2,
            f"0.3 s of stereo at {rate} Hz became {frames.n_samples} samples; a Waveform is resampled and mixed first")
    return encoded


def _check_decode(codec: Codec, encoded: EncodedAudio, tolerance: float) -> None:
    import torch

    codes = encoded.codes
    sound = codec.decode(encoded)
    expected = (1, codec.channels, encoded.n_samples)
    require(sound.dtype == torch.float32 and sound.shape == expected,
            f"decode gave {sound.dtype} {list(sound.shape)}, expected torch.float32 {list(expected)}")
    require(bool(torch.isfinite(sound).all()), "decode gave NaN or infinite samples")
    if encoded.chunk_frames is not None:
        return
    bare = codec.decode(codes)
    due = codes.shape[-1] * codec.hop_length
    # DAC's odd strides lose a few samples at the very end, as its reference does.
    require(0 <= due - bare.shape[-1] < codec.hop_length,
            f"decode of {codes.shape[-1]} bare frames gave {bare.shape[-1]} samples, expected {due}")
    require_close(codec.decode(codes.repeat(2, 1, 1))[1:], bare, "codes decoded alone and in a batch", tolerance)
    latent = codec.decode_latent(codes)
    require(latent.ndim == 3 and latent.is_floating_point() and latent.shape[::2] == (1, codes.shape[-1]),
            f"decode_latent gave {latent.dtype} {list(latent.shape)}, expected floats [1, D, {codes.shape[-1]}]")


def _check_refusals(codec: Codec, samples: Tensor) -> None:
    broken = samples.clone()
    broken[..., 3] = float("nan")
    must_refuse(lambda: codec.encode(broken), "encode of audio with NaN", AudioError)
    must_refuse(lambda: codec.encode(samples[0]), "encode of a tensor without a batch", AudioError)
    must_refuse(lambda: codec.encode(samples.repeat(1, 3, 1)), "encode of a tensor with too many channels", AudioError)
    for length in (0, 1):
        short = Waveform(np.full((codec.channels, length), 0.1, np.float32), codec.sample_rate)
        refused_in_one_line(lambda short=short: codec.encode(short),  # type: ignore[misc]
                            f"encode of {length} samples", AudioError)


def _edges(total: int, hop: int) -> list[int]:
    """Uneven cuts: single steps, less and more than a hop, an empty piece, the rest."""
    cuts = [0, 1, 2, hop - 1, hop - 1, hop + 3, 3 * hop, 3 * hop + 5, total]
    return [0, *sorted(cut for cut in cuts[1:] if cut <= total)]


def _check_encode_stream(codec: Codec, samples: Tensor, codes: Tensor) -> None:
    import torch

    stream = codec.stream(1)
    require(isinstance(stream, CodecStream), f"{type(stream).__name__} is no soundforge.interfaces.CodecStream")
    pieces = [stream.encode(samples[..., a:b]) for a, b in pairwise(_edges(samples.shape[-1], codec.hop_length))]
    joined = torch.cat([*pieces, stream.finish_encode()], dim=-1)
    require_same_codes(joined, codes, "encoding as a stream and in one go")


def _check_decode_stream(codec: Codec, codes: Tensor, tolerance: float) -> None:
    import torch

    stream, total = codec.stream(1), codes.shape[-1]
    half = total // 2
    pieces = [stream.decode(codes[..., a:a + 1]) for a in range(half)]
    kept = stream.clone()
    pieces.append(stream.decode(codes[..., half:]))
    given = sum(piece.shape[-1] for piece in pieces)
    due = (total - stream.lookahead_frames) * codec.hop_length
    require(given >= due, f"after {total} frames the stream gave {given} samples; with lookahead_frames "
                          f"{stream.lookahead_frames} at least {due} are due")
    whole = codec.decode(codes)
    require_close(torch.cat([*pieces, stream.finish_decode()], dim=-1), whole,
                  "decoding as a stream and in one go", tolerance)
    again = torch.cat([*pieces[:half], kept.decode(codes[..., half:]), kept.finish_decode()], dim=-1)
    require_close(again, whole, "a stream's clone after the stream has gone on", tolerance)
