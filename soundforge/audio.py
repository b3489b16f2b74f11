"""Waveforms in memory: one immutable value type and the few operations everything shares.

Conventions: samples are float32, shape `[C, T]` (channels, samples), nominally in [-1, 1].
Nothing here scales or clamps them; only export to integers and the device output do.
This module imports numpy, soundfile and soxr only, so that the control and the audio process can use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import AudioError

Samples = NDArray[np.float32]

MIN_SAMPLE_RATE_HZ = 1_000
MAX_SAMPLE_RATE_HZ = 768_000


@dataclass(frozen=True, eq=False)
class Waveform:
    """Audio beside its sample rate.

    Args:
        samples: float array `[C, T]` or `[T]` (taken as mono); nominally in [-1, 1].
            Anything with `__array__` (a torch tensor on the CPU) is taken.
        sample_rate: Hz.

    Raises:
        AudioError: integer samples, another rank, more than 64 channels, NaN or infinity, or a rate
            outside 1 kHz to 768 kHz.
    """

    samples: Samples
    sample_rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", as_samples(self.samples))
        object.__setattr__(self, "sample_rate", check_sample_rate(self.sample_rate))

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        return int(self.samples.shape[1])

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    def __len__(self) -> int:
        return self.n_samples

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.samples, dtype=dtype) if copy else np.asarray(self.samples, dtype=dtype)

    def __repr__(self) -> str:
        return f"Waveform({self.channels} ch, {self.seconds:.3f} s at {self.sample_rate} Hz)"

    def resampled(self, sample_rate: int) -> Waveform:
        """The same audio at another rate (soxr, very high quality); itself when it is there already."""
        if sample_rate == self.sample_rate:
            return self
        return Waveform(resample(self.samples, self.sample_rate, sample_rate), sample_rate)

    def with_channels(self, channels: int) -> Waveform:
        """The same audio with another number of channels, see `mix_channels`."""
        if channels == self.channels:
            return self
        return Waveform(mix_channels(self.samples, channels), self.sample_rate)

    def slice_samples(self, start: int, stop: int | None = None) -> Waveform:
        """Samples `start` to `stop` of every channel, indices as in Python slices."""
        return Waveform(self.samples[:, start:stop], self.sample_rate)

    def peak(self) -> float:
        """Largest magnitude; 0.0 for no samples."""
        return float(np.max(np.abs(self.samples))) if self.samples.size else 0.0

    def rms(self) -> float:
        """Root mean square over all channels; 0.0 for no samples."""
        return float(np.sqrt(np.mean(np.square(self.samples, dtype=np.float64)))) if self.samples.size else 0.0


def as_samples(samples: Any) -> Samples:
    """Check an array of audio and give it as float32 `[C, T]` (see `Waveform` for what is refused)."""
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"audio came as {type(samples).__name__}, which is no array ({error}); "
                         "pass a float array [channels, samples]") from error
    if array.dtype.kind != "f":
        raise AudioError(f"audio came as {array.dtype}, expected floats in [-1, 1]; "
                         "for 16-bit integers divide by 32768 first")
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise AudioError(f"audio came with shape {list(array.shape)}, expected [channels, samples] or [samples]")
    if not 1 <= array.shape[0] <= 64:
        hint = "; it looks like [samples, channels], transpose it" if array.shape[1] <= 64 < array.shape[0] else ""
        raise AudioError(f"audio came with {array.shape[0]} channels, expected 1 to 64{hint}")
    if not np.isfinite(array).all():
        raise AudioError("audio holds NaN or infinite samples; replace them (np.nan_to_num) before passing it in")
    return np.ascontiguousarray(array, dtype=np.float32)


def check_sample_rate(sample_rate: Any) -> int:
    """Check a sample rate in Hz and give it as an int; raises AudioError."""
    try:
        rate = int(sample_rate)
    except (TypeError, ValueError, OverflowError):
        rate = 0
    if rate != sample_rate or not MIN_SAMPLE_RATE_HZ <= rate <= MAX_SAMPLE_RATE_HZ:
        raise AudioError(f"sample rate came as {sample_rate!r}, expected a whole number of Hz "
                         f"from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ}")
    return rate


def read(path: str | PathLike[str]) -> Waveform:
    """Read a sound file (anything libsndfile reads: WAV, FLAC, Ogg, MP3, ...).

    Raises:
        AudioError: missing, unreadable, or not a sound file.
    """
    import soundfile

    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, TypeError) as error:
        missing = isinstance(path, (str, PathLike)) and not Path(path).exists()
        raise AudioError(f"cannot read {str(path)!r} as audio ({'there is no such file' if missing else error}); "
                         "expected a sound file such as WAV, FLAC or Ogg") from error
    return Waveform(samples.T, sample_rate)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Resample `[C, T]` to `[C, round(T * to_rate / from_rate)]` with soxr's very high quality filter."""
    if from_rate == to_rate or samples.shape[-1] == 0:
        return samples
    import soxr

    wanted = round(samples.shape[-1] * to_rate / from_rate)
    out = np.asarray(soxr.resample(samples.T, from_rate, to_rate, quality="VHQ"), dtype=np.float32).T
    # soxr rounds the length its own way for odd ratios; ours is the documented one.
    if out.shape[-1] < wanted:
        out = np.pad(out, ((0, 0), (0, wanted - out.shape[-1])))
    return np.ascontiguousarray(out[:, :wanted])


def mix_channels(samples: Samples, channels: int) -> Samples:
    """`[C, T]` to `[channels, T]`: mono is copied to all, many are averaged to mono, else cut or zero-filled.

    Averaging (not summing) keeps a downmix inside [-1, 1], as AudioCraft's `convert_audio_channels` does.
    """
    have = samples.shape[0]
    if have == channels:
        return samples
    if channels == 1:
        return np.asarray(samples.mean(axis=0, keepdims=True), dtype=np.float32)
    if have == 1:
        return np.repeat(samples, channels, axis=0)
    out = np.zeros((channels, samples.shape[1]), dtype=np.float32)
    kept = min(have, channels)
    out[:kept] = samples[:kept]
    return out


def equal_power_crossfade(old: Samples, new: Samples) -> Samples:
    """Fade `old` `[C, n]` out and `new` `[C, n]` in over all their `n` samples.

    Quarter-cycle cosine and sine: their squares sum to 1, so uncorrelated material keeps its power.
    """
    n = old.shape[-1]
    phase = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(n, 1))
    return np.asarray(old * np.cos(phase) + new * np.sin(phase), dtype=np.float32)


def splice(prompt: Samples, continuation: Samples, overlap: int) -> Samples:
    """Join `[C, a]` and `[C, b]` into `[C, a + b]` without losing a sample of time.

    `continuation` carries `overlap` samples of lead-in that describe the prompt's own end, followed by the
    `b` new ones: the cross-fade lies inside the prompt's last `overlap` samples and the first new sample
    stands exactly at index `a`.
    """
    overlap = min(overlap, prompt.shape[-1], continuation.shape[-1])
    if overlap <= 0:
        return np.concatenate([prompt, continuation], axis=-1)
    faded = equal_power_crossfade(prompt[:, -overlap:], continuation[:, :overlap])
    return np.concatenate([prompt[:, :-overlap], faded, continuation[:, overlap:]], axis=-1)


SEAM_SECONDS = 0.01
"""Length of a loop's seam."""


def looped(samples: Samples, beyond: Samples) -> Samples:
    """`samples` `[C, n]` as a loop without a seam: what would have followed its end fades into its beginning.

    Args:
        beyond: what would have followed, `[C, m]`; so long is the equal-power crossfade (at most n).
    """
    m = min(beyond.shape[-1], samples.shape[-1])
    out = np.array(samples, dtype=np.float32)
    if m:
        out[:, :m] = equal_power_crossfade(beyond[:, :m], out[:, :m])
    return out


def match_gain(reference: Samples, candidate: Samples, limit_db: float = 6.0) -> float:
    """Linear gain that brings `candidate`'s RMS to `reference`'s, held within ±`limit_db`.

    1.0 when either is silent: there is nothing to match, and boosting silence only lifts noise.
    """
    def rms(x: Samples) -> float:
        return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0

    want, have = rms(reference), rms(candidate)
    if want < 1e-4 or have < 1e-4:
        return 1.0
    limit = 10.0 ** (limit_db / 20.0)
    return float(np.clip(want / have, 1.0 / limit, limit))


def peak_db(samples: Samples) -> float:
    """Peak in dBFS, -120 for digital silence and for no samples."""
    peak = float(np.max(np.abs(samples))) if samples.size else 0.0
    return max(-120.0, 20.0 * float(np.log10(max(peak, 1e-12))))
