"""A stereo codec made of a mono one: each channel is coded by itself, the codebooks are interleaved.

Order: left 0, right 0, left 1, right 1, ... as MusicGen's stereo checkpoints were trained. The two channels
ride as two items of one batch, so one pass of the network serves both.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.errors import AudioError, CheckpointError
from soundforge.interfaces import Codec, CodecStream, EncodedAudio
from soundforge.nn.streaming_codec_base import CodecBase


def _split(codes: Tensor) -> Tensor:
    """Interleaved codes `[B, 2K, T]` to `[2B, K, T]`: left and right of each item follow each other."""
    batch, books, n_frames = codes.shape
    return codes.view(batch, books // 2, 2, n_frames).transpose(1, 2).reshape(2 * batch, books // 2, n_frames)


def _interleave(codes: Tensor) -> Tensor:
    """The inverse of `_split`."""
    doubled, books, n_frames = codes.shape
    return codes.view(doubled // 2, 2, books, n_frames).transpose(1, 2).reshape(doubled // 2, 2 * books, n_frames)


class StereoCodec(CodecBase):
    """Two channels through a mono codec (`soundforge.interfaces.Codec`); K counts both channels' codebooks.

    Raises:
        CheckpointError: the codec is not mono.
    """

    def __init__(self, mono: Codec) -> None:
        if mono.channels != 1:
            raise CheckpointError(f"a stereo checkpoint interleaves a mono codec, but this one has {mono.channels} "
                                  "channels")
        super().__init__(sample_rate=mono.sample_rate, channels=2, hop_length=mono.hop_length,
                         frame_rate_hz=mono.frame_rate_hz, codebook_size=mono.codebook_size, name="stereo codec",
                         total_codebooks=2 * int(getattr(mono, "total_codebooks", mono.n_codebooks)))
        self.mono = mono
        self._n_codebooks = 2 * mono.n_codebooks

    @property
    def device(self) -> torch.device:
        return torch.device(getattr(self.mono, "device", "cpu"))

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def decoding_in_bfloat16(self) -> StereoCodec:
        """This codec around the mono one's, see `NeuralCodec.decoding_in_bfloat16`.

        Raises:
            AudioError: the mono codec decodes in float32 only.
        """
        narrowed = getattr(self.mono, "decoding_in_bfloat16", None)
        if narrowed is None:
            raise AudioError(f"the codec of both channels ({type(self.mono).__name__}) decodes in float32 only; leave "
                             "bfloat16 out")
        return StereoCodec(narrowed())

    @property
    def n_codebooks(self) -> int:
        """Codebooks of both channels together that are used unless told otherwise; may be set to an even number."""
        return self._n_codebooks

    @n_codebooks.setter
    def n_codebooks(self, n: int) -> None:
        books = self._check_even(self.check_n_codebooks(n))
        self.mono.n_codebooks = books
        self._n_codebooks = 2 * books

    def _check_even(self, n_codebooks: int) -> int:
        if n_codebooks % 2:
            raise AudioError(f"n_codebooks came as {n_codebooks}, a stereo codec takes an even number")
        return n_codebooks // 2

    @torch.no_grad()
    def encode(self, wave: Waveform | Tensor, n_codebooks: int | None = None) -> EncodedAudio:
        """Stereo audio to interleaved codes `[B, 2K, T]`; `n_codebooks` counts both channels."""
        books = self._check_even(self.check_n_codebooks(n_codebooks))
        samples = self.as_samples(wave)
        batch, _, n_samples = samples.shape
        codes = self.mono.encode(samples.reshape(2 * batch, 1, n_samples), books).codes
        return EncodedAudio(_interleave(codes), n_samples=n_samples)

    @torch.no_grad()
    def decode(self, encoded: EncodedAudio | Tensor) -> Tensor:
        """Interleaved codes to `[B, 2, n]`, see `soundforge.interfaces.Codec`."""
        given = encoded if isinstance(encoded, EncodedAudio) else EncodedAudio(encoded)
        codes = self.check_codes(given.codes)
        self._check_even(codes.shape[1])
        samples = self.mono.decode(_split(codes))
        samples = samples.reshape(codes.shape[0], 2, samples.shape[-1])
        if given.n_samples == 0:
            return samples
        return torch.nn.functional.pad(samples, (0, given.n_samples - samples.shape[-1]))

    @torch.no_grad()
    def decode_latent(self, codes: Tensor) -> Tensor:
        """Interleaved codes to `[B, 2D, T]`: the left channel's latent over the right one's."""
        codes = self.check_codes(codes)
        self._check_even(codes.shape[1])
        latent = self.mono.decode_latent(_split(codes))
        return latent.reshape(codes.shape[0], -1, codes.shape[-1])

    def stream(self, batch_size: int = 1) -> CodecStream:
        """A fresh stream."""
        return _StereoStream(self.mono.stream(2 * batch_size), batch_size)

    def to(self, device: torch.device | str) -> Self:
        """Move the weights; returns itself."""
        self.mono.to(device)
        return self


class _StereoStream:
    """See `soundforge.interfaces.CodecStream`; the mono stream runs with twice the batch."""

    def __init__(self, mono: CodecStream, batch_size: int) -> None:
        self._mono = mono
        self._batch_size = batch_size
        self.lookahead_frames = mono.lookahead_frames

    def encode(self, samples: Tensor) -> Tensor:
        """Samples `[B, 2, n]` to the interleaved codes `[B, 2K, m]` that are complete by now."""
        if samples.dim() != 3 or tuple(samples.shape[:2]) != (self._batch_size, 2):
            raise AudioError(f"audio came with shape {list(samples.shape)}, expected [{self._batch_size}, 2, n]")
        return _interleave(self._mono.encode(samples.reshape(2 * self._batch_size, 1, samples.shape[-1])))

    def finish_encode(self) -> Tensor:
        return _interleave(self._mono.finish_encode())

    def decode(self, codes: Tensor) -> Tensor:
        """Interleaved codes `[B, 2K, n]` to the samples `[B, 2, m]` that are final by now."""
        if codes.dim() != 3 or codes.shape[0] != self._batch_size or codes.shape[1] % 2:
            raise AudioError(f"codes came with shape {list(codes.shape)}, expected [{self._batch_size}, 2K, n]")
        return self._stereo(self._mono.decode(_split(codes)))

    def finish_decode(self) -> Tensor:
        return self._stereo(self._mono.finish_decode())

    def clone(self) -> CodecStream:
        return _StereoStream(self._mono.clone(), self._batch_size)

    def _stereo(self, samples: Tensor) -> Tensor:
        return samples.reshape(self._batch_size, 2, samples.shape[-1])
