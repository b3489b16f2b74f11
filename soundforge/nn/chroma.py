"""Chroma: which of the twelve pitch classes sounds, frame by frame.

The numbers agree with AudioCraft's `ChromaExtractor` (librosa's filter bank over torchaudio's spectrogram)
and with transformers' feature extractor for MusicGen Melody, which are the same arithmetic.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_A4_HZ = 440.0


def chroma_filter_bank(sample_rate: int, n_fft: int, n_chroma: int = 12) -> NDArray[np.float32]:
    """Weights `[n_chroma, n_fft // 2 + 1]` that sum a power spectrum into pitch classes, C first.

    Each FFT bin is spread over its neighbouring classes by a Gaussian, normalised (L2) per bin, and weighted by
    a wide Gaussian over octaves centred on the fifth, two octaves wide (librosa's defaults, tuning 0).
    """
    frequencies = np.linspace(0, sample_rate, n_fft, endpoint=False)[1:]
    position = n_chroma * np.log2(frequencies / (_A4_HZ / 16))
    # There is no pitch at 0 Hz: it is placed one and a half octaves below the first bin.
    position = np.concatenate([[position[0] - 1.5 * n_chroma], position])
    width = np.concatenate([np.maximum(np.diff(position), 1.0), [1.0]])
    half = np.round(n_chroma / 2)
    distance = np.subtract.outer(position, np.arange(n_chroma, dtype=np.float64)).T
    distance = np.remainder(distance + half + 10 * n_chroma, n_chroma) - half
    weights = np.exp(-0.5 * (2 * distance / width[None, :]) ** 2)
    weights /= np.sqrt(np.sum(weights**2, axis=0, keepdims=True))
    weights *= np.exp(-0.5 * ((position / n_chroma - 5.0) / 2.0) ** 2)[None, :]
    weights = np.roll(weights, -3 * (n_chroma // 12), axis=0)
    return np.ascontiguousarray(weights[:, : 1 + n_fft // 2], dtype=np.float32)


class ChromaExtractor:
    """Waveform to chroma features.

    Args:
        sample_rate: Hz, of the waveforms it will get.
        n_chroma: number of classes.
        window: length of the FFT and of its Hann window, samples.
        hop: samples between frames; a quarter of the window unless told.
        window_values: `[window]` the window itself; a checkpoint holds it, rounded to half precision.
        device: torch device.
    """

    def __init__(self, sample_rate: int, n_chroma: int = 12, window: int = 1 << 14, hop: int | None = None,
                 window_values: Tensor | None = None, device: torch.device | str = "cpu") -> None:
        self.sample_rate = sample_rate
        self.n_chroma = n_chroma
        self.window_samples = window
        self.hop_samples = hop or window // 4
        self._filters = torch.from_numpy(chroma_filter_bank(sample_rate, window, n_chroma)).to(device)
        values = torch.hann_window(window) if window_values is None else window_values.float()
        self._window = values.to(device)
        self._window_norm = self._window.pow(2.0).sum().sqrt()

    def n_frames(self, n_samples: int) -> int:
        """Frames that `normalised` gives for this many samples."""
        return 1 + max(n_samples, self.window_samples) // self.hop_samples

    @torch.inference_mode()
    def normalised(self, wave: Tensor) -> Tensor:
        """Mono waveforms `[B, T]` to chroma `[B, L, n_chroma]`, divided by each frame's largest value.

        A wave shorter than the window is zero-padded on both sides to it; silence gives zeros.
        """
        lacking = self.window_samples - wave.shape[-1]
        if lacking > 0:
            wave = F.pad(wave, (lacking // 2, lacking - lacking // 2))
        spectrum = torch.stft(wave, self.window_samples, self.hop_samples, window=self._window, center=True,
                              pad_mode="reflect", return_complex=True)
        power = (spectrum / self._window_norm).abs().pow(2.0)
        chroma = torch.einsum("cf,bft->bct", self._filters, power)
        return F.normalize(chroma, p=float("inf"), dim=1, eps=1e-6).transpose(1, 2)

    def one_hot(self, wave: Tensor) -> Tensor:
        """As `normalised`, with 1 at each frame's strongest class and 0 elsewhere; silence is class 0 (C)."""
        chroma = self.normalised(wave)
        return F.one_hot(chroma.argmax(dim=-1), self.n_chroma).to(chroma.dtype)
