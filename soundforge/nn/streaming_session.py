"""One stream of a codec: encoder and decoder state that move forward as pieces come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.errors import AudioError
from soundforge.nn.compiled_codec import compiled_layers
from soundforge.nn.streaming import clone_state
from soundforge.nn.streaming_codec_base import CodecBase

if TYPE_CHECKING:
    from soundforge.nn.streaming_codec import NeuralCodec


class NetworkStream:
    """Exact stream of a codec whose layers all see a finite part of the signal (or run forward, as an LSTM).

    Concatenated output equals the one-shot result within float rounding for any cutting, in time proportional
    to the length and with constant memory. Encoding and decoding are independent of each other.

    Args:
        codec: whose weights are used.
        batch_size: B of everything that is fed.
        n_codebooks: codebooks that `encode` gives.
    """

    def __init__(self, codec: NeuralCodec, batch_size: int, n_codebooks: int) -> None:
        self._codec = codec
        self._batch_size = batch_size
        self._n_codebooks = n_codebooks
        self._encoder: list[Any] | None = codec.network.encoder.new_state()
        self._decoder: list[Any] | None = codec.network.decoder.new_state()
        self._n_samples = 0
        self.lookahead_frames = codec.lookahead_frames
        self.encode_lookahead_samples = codec.encode_lookahead_samples

    @torch.no_grad()
    def encode(self, samples: Tensor) -> Tensor:
        """Samples `[B, C, n]` to the codes `[B, K, m]` that are complete by now.

        Samples past the last whole frame, and `encode_lookahead_samples` more for a codec that looks ahead,
        wait for what follows. A codec that pads by reflection also waits for the start of the signal that it
        reflects.
        """
        samples = take_piece(self._codec, samples)
        self._check_batch(samples)
        self._n_samples += samples.shape[-1]
        return self._encode(samples, last=False)

    @torch.no_grad()
    def finish_encode(self) -> Tensor:
        """The codes still held back, as if the audio ended here: `[B, K, m]`. Encoding is over then."""
        if self._encoder is None:
            return self._codec.no_codes(self._batch_size, self._n_codebooks)
        missing = -self._n_samples % self._codec.hop_length if self._codec.pads_to_hop else 0
        codes = self._encode(self._codec.silence(self._batch_size, missing), last=True)
        self._encoder = None
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[B, K, n]` to the samples `[B, C, m]` that are final by now.

        The last `lookahead_frames` frames wait for what follows; so do the first few frames of a codec that
        pads by reflection.
        """
        codes = self._codec.check_codes(codes)
        self._check_batch(codes)
        return self._decode(self._codec.quantiser.decode(codes), last=False)

    @torch.no_grad()
    def finish_decode(self) -> Tensor:
        """The samples still held back: `[B, C, m]`. Decoding is over then."""
        codec = self._codec
        if self._decoder is None:
            return codec.silence(self._batch_size, 0)
        samples = self._decode(codec.quantiser.decode(codec.no_codes(self._batch_size, 1)), last=True)
        self._decoder = None
        return samples

    def clone(self) -> NetworkStream:
        """An independent copy of the state; cheap, because states share tensors that nothing writes to."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._encoder = clone_state(self._encoder)
        copy._decoder = clone_state(self._decoder)
        return copy

    def _encode(self, samples: Tensor, last: bool) -> Tensor:
        if self._encoder is None:
            raise AudioError("this stream has finished encoding; take a fresh one with codec.stream()")
        latent = self._codec.network.encoder.step(samples, self._encoder, last)
        if latent.shape[-1] == 0:
            return self._codec.no_codes(self._batch_size, self._n_codebooks)
        return self._codec.quantiser.encode(latent, self._n_codebooks)

    def _decode(self, latent: Tensor, last: bool) -> Tensor:
        if self._decoder is None:
            raise AudioError("this stream has finished decoding; take a fresh one with codec.stream()")
        decoder = self._codec.network.decoder
        with compiled_layers(decoder):
            return decoder.step(latent, self._decoder, last).to(latent.dtype)

    def _check_batch(self, tensor: Tensor) -> None:
        if tensor.shape[0] != self._batch_size:
            raise AudioError(f"a batch of {tensor.shape[0]} came, this stream was made for {self._batch_size}")


def take_piece(codec: CodecBase, piece: Any) -> Tensor:
    """A checked piece of a stream; its rate must fit, because pieces cannot be resampled one by one."""
    if isinstance(piece, Waveform) and piece.sample_rate != codec.sample_rate:
        raise AudioError(
            f"a piece at {piece.sample_rate} Hz came, the stream takes {codec.sample_rate} Hz; "
            "resample the whole signal first, or with a streaming resampler"
        )
    return codec.as_samples(piece)
