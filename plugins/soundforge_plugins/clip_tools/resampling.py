"""Resampling that keeps the beat: to another rate, to another tempo, with bars that end on the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundforge import AudioError, Waveform
from soundforge.audio import check_sample_rate
from soundforge.requests import check_number

NEAREST_SECONDS = 0.02
"""A clip that is so little off a whole number of beats (a codec's frame) is taken to be meant as whole beats."""


@dataclass(frozen=True)
class Resample:
    """Another sample rate, or another tempo as a tape plays it (pitch goes along), exact to the sample.

    With `bpm` the length is that of the clip's beats: a clip of 4 bars has `round(beats * 60 / tempo * rate)` samples
    at any rate and tempo, so that copies laid end to end do not drift. Without it, length is `n * rate / its rate`.

    Args:
        rate: Hz of the result; None = the clip's.
        bpm: tempo of the clip; None = not known.
        beats_per_bar: not looked at; every processor that takes a tempo is given it.
        to_bpm: tempo of the result; None = the clip's.
    """

    rate: int | None = None
    bpm: float | None = None
    beats_per_bar: int = 4
    to_bpm: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None:
            check_sample_rate(self.rate)
        for name, value in (("bpm", self.bpm), ("to_bpm", self.to_bpm)):
            if value is not None:
                check_number(name, value, 20.0, 999.0)

    def __call__(self, wave: Waveform) -> Waveform:
        """Raises AudioError for `to_bpm` without a tempo of the clip, and for no samples."""
        if wave.n_samples == 0:
            raise AudioError("0 samples came to be resampled, expected at least one")
        rate = self.rate or wave.sample_rate
        wanted = self._length(wave, rate)
        if wanted == wave.n_samples:
            return Waveform(wave.samples, rate)
        import soxr

        # A ratio that gives `wanted` to the sample; soxr takes any two numbers as rates.
        out = np.asarray(soxr.resample(wave.samples.T, wave.n_samples, wanted, quality="VHQ"), dtype=np.float32).T
        if out.shape[-1] < wanted:
            out = np.pad(out, ((0, 0), (0, wanted - out.shape[-1])))
        return Waveform(np.ascontiguousarray(out[:, :wanted]), rate)

    def _length(self, wave: Waveform, rate: int) -> int:
        if self.bpm is None:
            if self.to_bpm is not None:
                raise AudioError(f"to_bpm came as {self.to_bpm:g}, but the clip has no tempo; give bpm as well")
            return max(1, round(wave.n_samples * rate / wave.sample_rate))
        beats = wave.seconds * self.bpm / 60.0
        whole = round(beats)
        if whole and abs(beats - whole) * 60.0 / self.bpm <= NEAREST_SECONDS:
            beats = float(whole)
        return max(1, round(beats * 60.0 / (self.to_bpm or self.bpm) * rate))
