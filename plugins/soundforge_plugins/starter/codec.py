"""The starter codec behind the `Codec` contract: any length in, exact streaming both ways, no look-ahead."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.errors import AudioError, CheckpointError
from soundforge.interfaces import EncodedAudio
from soundforge.nn.starter_codec import StarterCodecConfig, StarterCodecNet

WEIGHTS = Path(__file__).parent / "weights"


class StarterCodec:
    """See `soundforge.interfaces.Codec`. Thread-safe for `encode` and `decode`."""

    channels = 1

    def __init__(self, net: StarterCodecNet) -> None:
        self.net = net.eval().requires_grad_(False)
        config = net.config
        self.sample_rate = config.sample_rate
        self.hop_length = config.hop_length
        self.frame_rate_hz = config.sample_rate / config.hop_length
        self.n_codebooks = config.n_codebooks
        self.codebook_size = config.codebook_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.encoder_in.weight.device

    def encode(self, wave: Waveform | Tensor, n_codebooks: int | None = None) -> EncodedAudio:
        """Audio to codes; the last frame is filled up with silence."""
        samples = self._samples(wave)
        self._check_codebooks(n_codebooks)
        n_samples = samples.shape[-1]
        padded = torch.nn.functional.pad(samples[:, 0], (0, -n_samples % self.hop_length))
        if padded.shape[-1] == 0:
            codes = torch.zeros(
                samples.shape[0], n_codebooks or self.n_codebooks, 0, dtype=torch.long, device=self.device
            )
        else:
            codes, _ = self.net.encode(padded, n_codebooks=n_codebooks)
        return EncodedAudio(codes, n_samples=n_samples)

    def decode(self, encoded: EncodedAudio | Tensor) -> Tensor:
        """Codes to samples `[B, 1, T]`; see the contract for the length."""
        codes = encoded.codes if isinstance(encoded, EncodedAudio) else encoded
        self._check_codes(codes)
        if codes.shape[-1] == 0:
            return torch.zeros(codes.shape[0], 1, 0, device=self.device)
        samples = self.net.decode(codes.to(self.device))[0][:, None]
        return samples[..., : encoded.n_samples] if isinstance(encoded, EncodedAudio) else samples

    def decode_latent(self, codes: Tensor) -> Tensor:
        """Codes `[B, K, T]` to the sum of their entries `[B, D, T]`."""
        self._check_codes(codes)
        return self.net.quantiser.decode(codes.to(self.device)).transpose(1, 2)

    def stream(self, batch_size: int = 1) -> StarterCodecStream:
        """A fresh stream."""
        return StarterCodecStream(self, batch_size)

    def to(self, device: torch.device | str) -> StarterCodec:
        """Move the weights; returns itself."""
        self.net.to(device)
        return self

    def _samples(self, wave: Waveform | Tensor) -> Tensor:
        if isinstance(wave, Waveform):
            mono = wave.with_channels(1).resampled(self.sample_rate)
            return torch.from_numpy(mono.samples.copy())[None].to(self.device)
        if not isinstance(wave, Tensor):
            raise AudioError(f"audio came as {type(wave).__name__}, expected a Waveform or a tensor [B, 1, T]")
        if wave.ndim != 3 or wave.shape[1] != 1 or not wave.is_floating_point():
            raise AudioError(
                f"audio came as {wave.dtype} with shape {list(wave.shape)}, expected floats "
                f"[batch, 1, samples] at {self.sample_rate} Hz"
            )
        if not bool(torch.isfinite(wave).all()):
            raise AudioError("audio holds NaN or infinite samples; replace them (torch.nan_to_num) before encoding")
        return wave.to(self.device, torch.float32)

    def _check_codebooks(self, n_codebooks: int | None) -> None:
        if n_codebooks is not None and not 1 <= n_codebooks <= self.n_codebooks:
            raise AudioError(f"n_codebooks came as {n_codebooks}, expected 1 to {self.n_codebooks}")

    def _check_codes(self, codes: Tensor) -> None:
        if not isinstance(codes, Tensor):
            raise AudioError(f"codes came as {type(codes).__name__}, expected EncodedAudio or a tensor [B, K, T]")
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.n_codebooks:
            raise AudioError(
                f"codes came with shape {list(codes.shape)}, expected [batch, 1..{self.n_codebooks}, frames]"
            )


class StarterCodecStream:
    """One stream; encoder and decoder are independent of each other. See `soundforge.interfaces.CodecStream`."""

    lookahead_frames = 0

    def __init__(self, codec: StarterCodec, batch_size: int) -> None:
        self._codec = codec
        self._waiting = torch.zeros(batch_size, 0, device=codec.device)  # samples that fill no frame yet
        self._encoder: list[Any] | None = None
        self._decoder: list[Any] | None = None

    def encode(self, samples: Tensor) -> Tensor:
        """Samples `[B, 1, n]` to the codes `[B, K, m]` of the frames that are full by now."""
        codec = self._codec
        waiting = torch.cat([self._waiting, codec._samples(samples)[:, 0]], dim=1)
        full = waiting.shape[1] // codec.hop_length * codec.hop_length
        self._waiting = waiting[:, full:]
        if full == 0:
            return torch.zeros(waiting.shape[0], codec.n_codebooks, 0, dtype=torch.long, device=codec.device)
        codes, self._encoder = codec.net.encode(waiting[:, :full], self._encoder)
        return codes

    def finish_encode(self) -> Tensor:
        """The last, partly filled frame, or no frame."""
        missing = -self._waiting.shape[1] % self._codec.hop_length
        return self.encode(self._waiting.new_zeros(self._waiting.shape[0], 1, missing))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[B, K, n]` to their samples `[B, 1, n * hop]`, all final at once."""
        self._codec._check_codes(codes)
        if codes.shape[-1] == 0:
            return torch.zeros(codes.shape[0], 1, 0, device=self._codec.device)
        samples, self._decoder = self._codec.net.decode(codes.to(self._codec.device), self._decoder)
        return samples[:, None]

    def finish_decode(self) -> Tensor:
        """Nothing is ever held back."""
        return torch.zeros(self._waiting.shape[0], 1, 0, device=self._codec.device)

    def clone(self) -> StarterCodecStream:
        """An independent copy; states are replaced, never written to, so tensors are shared."""
        other = copy.copy(self)
        other._encoder = None if self._encoder is None else list(self._encoder)
        other._decoder = None if self._decoder is None else list(self._decoder)
        return other


def load_starter_codec(folder: Path | None) -> StarterCodec:
    """From a folder with `config.json` and `codec.safetensors`, or from the package.

    Raises:
        CheckpointError: files are missing or do not fit.
    """
    folder = folder or WEIGHTS
    try:
        config = StarterCodecConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8"))["codec"])
        tensors = {name: value.float() for name, value in load_file(folder / "codec.safetensors").items()}
        net = StarterCodecNet(config)
        net.load_state_dict(tensors)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the starter codec in {folder} cannot be read: {error}; expected config.json and codec.safetensors"
        ) from error
    return StarterCodec(net)
