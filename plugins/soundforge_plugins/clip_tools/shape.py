"""Whole bars with a seamless loop, fades, and a level without true peaks above a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from soundforge import AudioError, Waveform
from soundforge.audio import looped, resample
from soundforge.requests import check_number

OVERSAMPLING = 4


@dataclass(frozen=True)
class Bars:
    """Cut to whole bars; what lies beyond the last bar line is faded into the first samples, so the loop is seamless.

    Where nothing lies beyond, the loop ends as the sound does. The length is exact to the sample.

    Args:
        bpm: tempo in beats per minute.
        beats_per_bar: beats in a bar.
        seam_ms: length of the equal-power crossfade at the loop's seam.
    """

    bpm: float = 120.0
    beats_per_bar: int = 4
    seam_ms: float = 10.0

    def __post_init__(self) -> None:
        check_number("bpm", self.bpm, 20.0, 999.0)
        check_number("beats_per_bar", self.beats_per_bar, 1, 64)
        check_number("seam_ms", self.seam_ms, 0.0, 1000.0)

    def __call__(self, wave: Waveform) -> Waveform:
        """Raises AudioError for less than one bar."""
        bar = self.beats_per_bar * 60.0 / self.bpm * wave.sample_rate
        # Half a sample of rounding must not cost a bar.
        bars = math.floor((wave.n_samples + 0.5) / bar)
        if bars < 1:
            raise AudioError(f"{wave.seconds:.3f} s came, expected at least one bar ({bar / wave.sample_rate:.3f} s at "
                             f"{self.bpm:g} bpm)")
        length = min(round(bars * bar), wave.n_samples)
        beyond = wave.samples[:, length:length + round(self.seam_ms / 1000 * wave.sample_rate)]
        return Waveform(looped(wave.samples[:, :length], beyond), wave.sample_rate)


@dataclass(frozen=True)
class Fade:
    """Equal-power fades at both ends; each takes at most half of the sound.

    Args:
        in_seconds, out_seconds: lengths, 0 to 600.
    """

    in_seconds: float = 0.01
    out_seconds: float = 0.01

    def __post_init__(self) -> None:
        check_number("in_seconds", self.in_seconds, 0.0, 600.0)
        check_number("out_seconds", self.out_seconds, 0.0, 600.0)

    def __call__(self, wave: Waveform) -> Waveform:
        out = wave.samples.copy()
        for seconds, at_end in ((self.in_seconds, False), (self.out_seconds, True)):
            n = min(round(seconds * wave.sample_rate), wave.n_samples // 2)
            if n:
                ramp = np.sin((np.arange(n, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / n))
                if at_end:
                    out[:, -n:] *= ramp[::-1]
                else:
                    out[:, :n] *= ramp
        return Waveform(out, wave.sample_rate)


@dataclass(frozen=True)
class PeakSafe:
    """Turned down as a whole until no peak is above the limit, those between the samples included (4 x oversampled).

    Never turned up.

    Args:
        db: limit in dBTP, -60 to 0.
    """

    db: float = -1.0

    def __post_init__(self) -> None:
        check_number("db", self.db, -60.0, 0.0)

    def __call__(self, wave: Waveform) -> Waveform:
        peak, limit = true_peak(wave), 10 ** (self.db / 20)
        return wave if peak <= limit else Waveform(wave.samples * np.float32(limit / peak), wave.sample_rate)


def true_peak(wave: Waveform) -> float:
    """Largest magnitude of the samples and of three values between each two of them."""
    if wave.n_samples == 0:
        return 0.0
    between = resample(wave.samples, wave.sample_rate, wave.sample_rate * OVERSAMPLING)
    return max(wave.peak(), float(np.max(np.abs(between))))
