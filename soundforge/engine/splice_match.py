"""The sound that a codec gives back, brought to the sound that it carries on: level and colour, by one filter.

A neural codec has a colour of its own: what it makes of a capture is a little too dark here, too soft there. Behind the
capture's own samples that is heard as a change at the splice. But the codec's version of the capture's end is known as
well as the end itself, so the difference can be measured and taken out of all that follows. The filter has minimum
phase: it delays nothing, and smears no attack forwards (Oppenheim and Schafer, Discrete-Time Signal Processing,
chapter on the cepstrum).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundforge.audio import Samples, match_gain

COMPARED_SECONDS = 4.0
"""How much of the capture's end is compared for its colour."""
LEVEL_SECONDS = 2.0
"""The same for its level."""
LEAST_SECONDS = 1.0
"""Below this an average says more of the notes than of the colour: the level alone is matched."""
LIMIT_DB = 6.0
"""Most that any band, and the level, is changed by."""
BANDS = 32
TAPS = 256
_WINDOW_SECONDS = 0.032
_ROOT = 0.25
"""Powers are averaged as fourth roots: between the mean power, which hears the loudest hits alone, and the mean of
decibels, which hears silence as much as sound."""
_QUIET = 1e-9
"""Power (-90 dB) below which nothing is compared: bands that are silent in both stay as they are."""


@dataclass(frozen=True)
class SpliceMatch:
    """A filter for what a codec makes after a splice.

    Args:
        taps: impulse response, float32 `[n]`, minimum phase, level included; one for all channels, which keeps the
            stereo image.
        gain: linear, what the level alone would be multiplied by.
        colour_db: the largest change of a band.
    """

    taps: NDArray[np.float32]
    gain: float
    colour_db: float

    @classmethod
    def of(cls, own: Samples, decoded: Samples, sample_rate: int) -> SpliceMatch:
        """From the capture's end and from what the codec makes of it, `[C, n]` each, which end at the same moment.

        Silence, and less than a second, say nothing of colour; then the level alone is matched, or nothing.
        """
        n = min(own.shape[-1], decoded.shape[-1], round(COMPARED_SECONDS * sample_rate))
        own, decoded = own[:, own.shape[-1] - n:], decoded[:, decoded.shape[-1] - n:]
        level = min(n, round(LEVEL_SECONDS * sample_rate))
        gain = match_gain(own[:, n - level:], decoded[:, n - level:], LIMIT_DB)
        alone = np.array([gain], dtype=np.float32)
        if n < LEAST_SECONDS * sample_rate or not (_sounds(own) and _sounds(decoded)):
            return cls(alone, gain, 0.0)
        # The level first: what is then left is colour, and bands that are silent in both have none.
        levelled = np.asarray(decoded * np.float32(gain), dtype=np.float32)
        change = np.clip(_colour(own, sample_rate) - _colour(levelled, sample_rate), -LIMIT_DB, LIMIT_DB)
        taps = _minimum_phase(change, sample_rate) * np.float32(gain)
        coloured = cls(taps, 1.0, 0.0).applied(decoded[:, n - level:], decoded[:, :n - level])
        taps *= np.float32(match_gain(own[:, n - level:], coloured, LIMIT_DB))
        return cls(taps, gain, round(float(np.abs(change).max()), 2))

    def applied(self, samples: Samples, before: Samples | None = None) -> Samples:
        """Samples `[C, n]` filtered, `[C, n]`; `before` is what stood in front of them (nothing = silence)."""
        reach = len(self.taps) - 1
        if samples.shape[-1] == 0 or reach == 0:
            return np.asarray(samples * self.taps[0], dtype=np.float32)
        past = np.zeros((samples.shape[0], reach), dtype=np.float32)
        if before is not None and (known := min(reach, before.shape[-1])):
            past[:, reach - known:] = before[:, before.shape[-1] - known:]
        whole = np.concatenate([past, samples], axis=-1)
        return np.stack([np.convolve(channel, self.taps, "valid") for channel in whole]).astype(np.float32)

    def stream(self, before: Samples) -> SpliceMatchStream:
        """For samples that come in pieces, of which the first follows on `before` `[C, n]`."""
        return SpliceMatchStream(self, before)


class SpliceMatchStream:
    """The filter on samples that come in pieces: together they are what the whole would give. Not thread-safe."""

    def __init__(self, match: SpliceMatch, before: Samples) -> None:
        self._match = match
        self._before = before

    def apply(self, samples: Samples) -> Samples:
        """The next samples `[C, n]`, filtered."""
        out = self._match.applied(samples, self._before)
        self.skip(samples)
        return out

    def skip(self, samples: Samples) -> None:
        """The next samples `[C, n]`, which nobody wants but those after them follow on."""
        whole = np.concatenate([self._before, samples], axis=-1)
        self._before = whole[:, max(0, whole.shape[-1] - len(self._match.taps) + 1):]


def _sounds(samples: Samples) -> bool:
    return bool(np.square(samples, dtype=np.float64).mean() > 1e-8)


def _colour(samples: Samples, sample_rate: int) -> NDArray[np.float64]:
    """Mean levels of the bands in dB, all channels together."""
    size = _window_size(sample_rate)
    audio = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    window = torch.hann_window(size)
    spectra = torch.stft(audio, size, 3 * size // 4, window=window, center=False, return_complex=True)
    power = torch.view_as_real(spectra).square().sum(-1).mean(0).T * (4.0 / float(window.sum()) ** 2)
    bands = (power @ _band_weights(sample_rate)[0] + _QUIET) ** _ROOT
    levels: NDArray[np.float64] = (10.0 / _ROOT * bands.mean(0).log10()).double().numpy()
    return levels


def _window_size(sample_rate: int) -> int:
    return 1 << round(float(np.log2(_WINDOW_SECONDS * sample_rate)))


@lru_cache(maxsize=4)
def _band_weights(sample_rate: int) -> tuple[Tensor, NDArray[np.float64]]:
    """Triangles `[bins, BANDS]`, equally wide on the mel scale from 60 Hz up, and their centres in Hz."""
    size = _window_size(sample_rate)
    top = 2595.0 * np.log10(1.0 + 0.48 * sample_rate / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(2595.0 * np.log10(1.0 + 60.0 / 700.0), top, BANDS + 2) / 2595.0) - 1.0)
    hz = np.arange(size // 2 + 1)[:, None] * (sample_rate / size)
    centres = edges[1:-1]
    weights = np.minimum((hz - edges[:-2]) / (centres - edges[:-2]), (edges[2:] - hz) / (edges[2:] - centres)).clip(0.0)
    for band in np.flatnonzero(weights.sum(axis=0) < 1e-6):  # narrower than a bin
        weights[np.abs(hz[:, 0] - centres[band]).argmin(), band] = 1.0
    return torch.from_numpy(weights / weights.sum(axis=0)).float(), centres


def _minimum_phase(change_db: NDArray[np.float64], sample_rate: int) -> NDArray[np.float32]:
    """Taps of a filter with this change in dB at the bands' centres: the cepstrum folded onto positive times."""
    size = 8 * TAPS
    hz = np.arange(size // 2 + 1) * (sample_rate / size)
    log_size = np.interp(hz, _band_weights(sample_rate)[1], change_db) * (np.log(10.0) / 20.0)
    cepstrum = np.fft.irfft(log_size)
    cepstrum[1:size // 2] *= 2.0
    cepstrum[size // 2 + 1:] = 0.0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:TAPS].astype(np.float32)
