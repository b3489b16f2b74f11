"""What a codec takes: its numbers, codebooks and bandwidth, and the checks on audio and codes that come in."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.errors import AudioError


class CodecBase(ABC):
    """Numbers and checks of a codec; knows nothing of its network.

    Args:
        sample_rate: Hz.
        channels: audio channels C.
        hop_length: samples per frame.
        frame_rate_hz: frames per second as the codec's family counts them.
        total_codebooks: codebooks K that there are; `n_codebooks` of them are used.
        codebook_size: entries per codebook N.
        name: for messages.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        hop_length: int,
        frame_rate_hz: float,
        total_codebooks: int,
        codebook_size: int,
        name: str = "codec",
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.hop_length = hop_length
        self.frame_rate_hz = float(frame_rate_hz)
        self.total_codebooks = total_codebooks
        self.codebook_size = codebook_size
        self.name = name
        self._n_codebooks = total_codebooks

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of weights and waveforms; float32 as loaded."""

    # --- codebooks and bandwidth ---------------------------------------------------------------------

    @property
    def n_codebooks(self) -> int:
        """Codebooks that `encode` and new streams use unless told otherwise; may be set."""
        return self._n_codebooks

    @n_codebooks.setter
    def n_codebooks(self, n: int) -> None:
        self._n_codebooks = self.check_n_codebooks(n)

    def check_n_codebooks(self, n: int | None) -> int:
        """`n`, or the codec's setting for None; raises AudioError outside 1 to `total_codebooks`."""
        if n is None:
            return self._n_codebooks
        try:
            books = operator.index(n)
        except TypeError:
            books = 0
        if not 1 <= books <= self.total_codebooks:
            raise AudioError(f"n_codebooks came as {n!r}, {self.name} takes 1 to {self.total_codebooks}")
        return books

    @property
    def kbps_per_codebook(self) -> float:
        """Kilobits per second that one codebook takes."""
        return math.log2(self.codebook_size) * self.frame_rate_hz / 1000

    @property
    def bandwidth_kbps(self) -> float:
        """Kilobits per second with `n_codebooks`; setting it takes the most codebooks that fit, at least one."""
        return self._n_codebooks * self.kbps_per_codebook

    @bandwidth_kbps.setter
    def bandwidth_kbps(self, kbps: float) -> None:
        self._n_codebooks = self.codebooks_for_bandwidth(kbps)

    def codebooks_for_bandwidth(self, kbps: float) -> int:
        """The most codebooks that fit into `kbps`, at least one; raises AudioError beyond what there is."""
        limit = self.total_codebooks * self.kbps_per_codebook
        # A published bandwidth is a round number that the last codebook may not quite fill (DAC: 8 of 7.8).
        if not 0 < kbps < limit + self.kbps_per_codebook:
            raise AudioError(f"bandwidth came as {kbps} kbit/s, {self.name} takes up to {limit:g}")
        return min(max(1, math.floor(kbps / self.kbps_per_codebook + 1e-9)), self.total_codebooks)

    # --- checks --------------------------------------------------------------------------------------

    def as_samples(self, wave: Any) -> Tensor:
        """Audio as a checked tensor `[B, C, n]` in the weights' type and place.

        A `Waveform` is mixed to the codec's channels and resampled to its rate; a tensor must fit already.
        Nothing is scaled or clamped.

        Raises:
            AudioError: says what came and what was expected.
        """
        if isinstance(wave, Waveform):
            fitting = wave.with_channels(self.channels).resampled(self.sample_rate)
            return torch.tensor(fitting.samples, dtype=self.dtype, device=self.device)[None]
        if not isinstance(wave, Tensor):
            raise AudioError(f"audio came as {type(wave).__name__}, expected a Waveform or a tensor [B, C, T]")
        if not wave.is_floating_point():
            raise AudioError(f"audio came as {wave.dtype}, expected floats in [-1, 1]")
        if wave.dim() != 3:
            raise AudioError(f"audio came with shape {list(wave.shape)}, expected [batch, channels, samples]")
        if wave.shape[1] != self.channels:
            raise AudioError(f"audio came with {wave.shape[1]} channels, {self.name} takes {self.channels}")
        if not bool(torch.isfinite(wave).all()):
            raise AudioError("audio holds NaN or infinite samples; replace them (torch.nan_to_num) first")
        return wave.detach().to(self.device, self.dtype)

    def check_codes(self, codes: Any) -> Tensor:
        """Checked codes int64 `[B, K, T]` in the weights' place; raises AudioError."""
        if not isinstance(codes, Tensor) or codes.is_floating_point() or codes.dtype == torch.bool:
            kind = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
            raise AudioError(f"codes came as {kind}, expected an integer tensor [B, K, T]")
        if codes.dim() != 3:
            raise AudioError(f"codes came with shape {list(codes.shape)}, expected [batch, codebooks, frames]")
        if not 1 <= codes.shape[1] <= self.total_codebooks:
            raise AudioError(f"codes came with {codes.shape[1]} books, {self.name} takes 1 to {self.total_codebooks}")
        if codes.numel():
            low, high = (int(value) for value in torch.aminmax(codes))
            if low < 0 or high >= self.codebook_size:
                wrong = low if low < 0 else high
                raise AudioError(f"codes hold {wrong}, expected 0 to {self.codebook_size - 1}")
        return codes.to(self.device, torch.int64)

    def no_codes(self, batch: int, n_codebooks: int) -> Tensor:
        """int64 `[batch, n_codebooks, 0]`."""
        return torch.zeros(batch, n_codebooks, 0, dtype=torch.int64, device=self.device)

    def silence(self, batch: int, n_samples: int) -> Tensor:
        """Zeros `[batch, C, n_samples]`."""
        return torch.zeros(batch, self.channels, n_samples, dtype=self.dtype, device=self.device)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name}: {self.sample_rate} Hz, {self.channels} ch, "
            f"{self.frame_rate_hz:g} frames/s, {self.n_codebooks} of {self.total_codebooks} x {self.codebook_size}>"
        )
