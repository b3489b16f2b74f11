"""A codec made of encoder, quantiser and decoder networks, one-shot and streaming.

`dac.py` and `encodec.py` give the networks; this is the object that users and the engine talk to
(`soundforge.interfaces.Codec`).
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Protocol, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundforge.audio import Waveform
from soundforge.errors import AudioError
from soundforge.interfaces import CodecStream, EncodedAudio
from soundforge.nn.compiled_codec import compiled_layers
from soundforge.nn.streaming import Chain, decoder_lookahead_frames, encoder_lookahead_samples
from soundforge.nn.streaming_codec_base import CodecBase
from soundforge.nn.streaming_session import NetworkStream


class Quantiser(Protocol):
    """Latents `[B, D, T]` to codes `[B, K, T]` and back."""

    def encode(self, latent: Tensor, n_codebooks: int) -> Tensor: ...

    def decode(self, codes: Tensor) -> Tensor: ...


class CodecNetwork(nn.Module):
    """The weights of a codec; state names start with `encoder.`, `decoder.`, `quantizer.`."""

    def __init__(self, encoder: Chain, decoder: Chain, quantizer: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer = quantizer


class NeuralCodec(CodecBase):
    """Waveform to codes and back (shapes in `soundforge.interfaces`).

    `encode`, `decode` and their relatives change nothing and may run in several threads at once.

    Args:
        network: the weights.
        pads_to_hop: the input is zero-padded on the right to whole frames before the network sees it.
        sample_rate, channels, hop_length, frame_rate_hz, total_codebooks, codebook_size, name: see `CodecBase`.
    """

    def __init__(
        self,
        network: CodecNetwork,
        *,
        sample_rate: int,
        channels: int,
        hop_length: int,
        frame_rate_hz: float,
        total_codebooks: int,
        codebook_size: int,
        name: str = "codec",
        pads_to_hop: bool = False,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            channels=channels,
            hop_length=hop_length,
            frame_rate_hz=frame_rate_hz,
            total_codebooks=total_codebooks,
            codebook_size=codebook_size,
            name=name,
        )
        self.network = network.eval().requires_grad_(False)
        self.pads_to_hop = pads_to_hop

    # --- audio to codes ------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(
        self, wave: Waveform | Tensor, n_codebooks: int | None = None, *, bandwidth_kbps: float | None = None
    ) -> EncodedAudio:
        """Audio to codes.

        Args:
            wave: a `Waveform` (resampled and mixed as needed), or a float tensor `[B, C, n]` at the codec's rate.
            n_codebooks: how many codebooks to use; None = the codec's setting.
            bandwidth_kbps: the same in kilobits per second; not both.
        """
        if bandwidth_kbps is not None:
            if n_codebooks is not None:
                raise AudioError("n_codebooks and bandwidth_kbps both came, expected one of them")
            n_codebooks = self.codebooks_for_bandwidth(bandwidth_kbps)
        n_codebooks = self.check_n_codebooks(n_codebooks)
        samples = self.as_samples(wave)
        if samples.shape[-1] == 0:
            return EncodedAudio(self.no_codes(samples.shape[0], n_codebooks))
        return self.encode_samples(samples, n_codebooks)

    @torch.no_grad()
    def encode_latent(self, wave: Waveform | Tensor) -> Tensor:
        """Audio to the latent `[B, D, T]` that `encode` quantises (for chunked codecs: of one chunk)."""
        samples = self.as_samples(wave)
        if samples.shape[-1] == 0:
            return self.quantiser.decode(self.no_codes(samples.shape[0], 1))
        return self.latent_of_samples(samples)

    def encode_samples(self, samples: Tensor, n_codebooks: int) -> EncodedAudio:
        """`encode` behind the checks; at least one sample."""
        codes = self.quantiser.encode(self.latent_of_samples(samples), n_codebooks)
        return EncodedAudio(codes, n_samples=samples.shape[-1])

    def latent_of_samples(self, samples: Tensor) -> Tensor:
        """`encode_latent` behind the checks; at least one sample."""
        if self.pads_to_hop:
            samples = F.pad(samples, (0, -samples.shape[-1] % self.hop_length))
        latent: Tensor = self.network.encoder(samples)
        return latent

    # --- codes to audio ------------------------------------------------------------------------------

    @torch.no_grad()
    def decode(self, encoded: EncodedAudio | Tensor) -> Tensor:
        """Codes to audio.

        Args:
            encoded: from `encode`; or bare codes `[B, K, T]` with 1 to `total_codebooks` books.

        Returns:
            `[B, C, n]`. `EncodedAudio` that knows its `n_samples` gives exactly these. Bare codes give what
            the reference decoder gives: T * hop_length samples (DAC with odd strides some fewer, see
            `dac.dac_decoder`; chunked codecs less the overlaps).
        """
        if not isinstance(encoded, (Tensor, EncodedAudio)):
            raise AudioError(f"decode got {type(encoded).__name__}, expected EncodedAudio or codes [B, K, T]")
        given = EncodedAudio(encoded) if isinstance(encoded, Tensor) else encoded
        codes = self.check_codes(given.codes)
        if codes.shape[-1] == 0:
            return self.silence(codes.shape[0], 0)
        samples = self.decode_codes(codes, given)
        if given.n_samples == 0:
            return samples
        return F.pad(samples, (0, given.n_samples - samples.shape[-1]))  # negative padding cuts

    @torch.no_grad()
    def decode_latent(self, codes: Tensor) -> Tensor:
        """Codes `[B, K, T]` to the quantised latent `[B, D, T]` that the decoder network takes."""
        return self.quantiser.decode(self.check_codes(codes))

    @torch.no_grad()
    def decode_from_latent(self, latent: Tensor) -> Tensor:
        """A latent `[B, D, T]` to samples `[B, C, n]`, as `decode` does behind `decode_latent`."""
        latent = latent.to(self.device, self.dtype)
        with compiled_layers(self.network.decoder):
            samples: Tensor = self.network.decoder(latent)
        return samples.to(self.dtype)

    def decode_codes(self, codes: Tensor, encoded: EncodedAudio) -> Tensor:
        """`decode` of checked codes before trimming; at least one frame."""
        return self.decode_from_latent(self.quantiser.decode(codes))

    # --- the rest ------------------------------------------------------------------------------------

    def stream(self, batch_size: int = 1, n_codebooks: int | None = None) -> CodecStream:
        """A fresh stream for `batch_size` signals side by side; `n_codebooks` is what it encodes with."""
        return NetworkStream(self, batch_size, self.check_n_codebooks(n_codebooks))

    def decoding_in_bfloat16(self) -> Self:
        """This codec with a decoder whose large products run in bfloat16; encoder and codebooks are shared.

        For processors and GPUs with bfloat16 instructions: up to twice as fast. What it costs is in
        `docs/performance.md`. Codes are not touched. The last layer, recurrent states and phases stay in float32.

        Raises:
            AudioError: a codec that normalises over time.
        """
        if not self.network.decoder.streams:
            raise AudioError(f"{self.name} normalises over the whole signal and decodes in float32 only")
        other = copy.copy(self)
        decoder = copy.deepcopy(self.network.decoder)
        for module in decoder.modules():
            last = isinstance(module, nn.Conv1d) and module.out_channels <= self.channels
            if isinstance(module, (nn.LSTM, nn.Conv1d, nn.ConvTranspose1d)) and not last:
                module.to(torch.bfloat16)
        other.network = CodecNetwork(self.network.encoder, decoder, self.network.quantizer).eval()
        return other

    def to(self, device: torch.device | str) -> Self:
        """Move the weights; returns itself."""
        self.network.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype

    @property
    def quantiser(self) -> Quantiser:
        return cast(Quantiser, self.network.quantizer)

    @cached_property
    def lookahead_frames(self) -> int:
        """Frames of right-hand context that a decoded frame depends on."""
        return decoder_lookahead_frames(self.network.decoder, self.hop_length)

    @cached_property
    def encode_lookahead_samples(self) -> int:
        """Samples behind a frame's hop that the frame depends on."""
        return encoder_lookahead_samples(self.network.encoder, self.hop_length)
