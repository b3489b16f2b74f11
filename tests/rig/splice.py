"""What a recording tells about a takeover, without asking the server: where the splice lies, and how it sounds.

The recording has two channels of the same clock: what was played to the server, and what the server gave out, which
before the splice is the first one some periods later (the monitored input), and after it is generated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

SAME = 1e-4          # the monitored input comes through within this
SILENT_SECONDS = 0.005
ENVELOPE_HZ = 1000
STEPS_A_BEAT = 4


@dataclass(frozen=True)
class Splice:
    """Findings about one takeover. Positions are samples of the recording.

    Args:
        line: the bar line of the loop at which the generated sound was due.
        delay: by how many samples the monitored input comes late (the round trip through server and device).
        departs: the last sample that is still the monitored input alone, and after which the crossfade begins.
        error_ms: where the crossfade ended, against `line`.
        silence_ms: the longest stretch around the splice that stays below -60 dB of the sound around it.
        jump: largest difference of neighbouring samples at the splice, as a share of the largest one elsewhere.
        flux: largest spectral flux at the splice, as a share of the largest one elsewhere.
        level_db: generated sound against the loop.
        phase_ms: by how much the onsets of the generated sound come late against the loop's, within half a step
            (a sixteenth note).
        phase_strength: normalised correlation of the two onset envelopes at that place.
    """

    line: int
    delay: int
    departs: int
    error_ms: float
    silence_ms: float
    jump: float
    flux: float
    level_db: float
    phase_ms: float
    phase_strength: float


def find_delay(source: Sound, heard: Sound, longest: int) -> int:
    """By how many samples `heard` comes after `source`, 0 to `longest`."""
    size = 1 << (len(source) + len(heard)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(source, size)), size)
    return int(np.argmax(product[:longest + 1]))


def find_loop(source: Sound, loop: Sound) -> int:
    """Where in `source` a round of `loop` begins (modulo its length)."""
    part = source[:2 * len(loop)]
    size = 1 << (len(part) + len(loop)).bit_length()
    product = np.fft.irfft(np.fft.rfft(part, size) * np.conj(np.fft.rfft(loop, size)), size)
    return int(np.argmax(product[:len(part) - len(loop) + 1])) % len(loop)


def departure(source: Sound, heard: Sound, delay: int, since: int) -> int:
    """The last sample of `heard` from `since` on that is still `source`, `delay` samples later."""
    same = heard[since:] - source[since - delay:len(heard) - delay]
    other = np.flatnonzero(np.abs(same) > SAME)
    if not len(other):
        raise AssertionError("nothing was taken over: the monitored input goes on to the end")
    return since + int(other[0]) - 1


def envelope(sound: Sound, rate: int) -> NDArray[np.float64]:
    """Onset strength at `ENVELOPE_HZ`: rises of the logarithmic spectrum, summed."""
    hop = rate // ENVELOPE_HZ
    window = np.hanning(1024)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound.astype(np.float64), (512, 512)), 1024)[::hop]
    level = np.log1p(100.0 * np.abs(np.fft.rfft(frames * window, axis=1)))
    rise = np.maximum(level[8:] - level[:-8], 0.0).sum(axis=1)
    return np.concatenate([np.zeros(4), rise, np.zeros(4)])[:len(frames)]


def folded(strength: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Mean onset strength over one step of the grid."""
    n = round(step)
    at = (np.arange(len(strength)) / step % 1.0 * n).astype(int) % n
    return np.bincount(at, strength, n) / np.maximum(np.bincount(at, minlength=n), 1)


def phase(before: Sound, after: Sound, rate: int, bpm: float) -> tuple[float, float]:
    """How many milliseconds the onsets of `after` come late against those of `before`, and how alike they are.

    Both begin on a bar line. Different music has its onsets on different beats, so what is compared is where they lie
    between the lines of the sixteenth-note grid.
    """
    step = ENVELOPE_HZ * 60.0 / bpm / STEPS_A_BEAT
    first, second = (folded(envelope(sound, rate), step) for sound in (before, after))
    first, second = first - first.mean(), second - second.mean()
    product = np.fft.irfft(np.fft.rfft(second) * np.conj(np.fft.rfft(first)), len(first))
    at = int(np.argmax(product))
    scale = float(np.sqrt(np.sum(first ** 2) * np.sum(second ** 2)))
    late = at if at <= len(first) // 2 else at - len(first)
    return 1000.0 * late / ENVELOPE_HZ, float(product[at]) / max(scale, 1e-12)


def longest_silence(sound: Sound, rate: int) -> float:
    """Milliseconds of the longest stretch below -60 dB of the sound's own peak level."""
    quiet = np.abs(sound) < 1e-3 * np.abs(sound).max()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    return 1000.0 * float(np.max(edges[1::2] - edges[::2], initial=0)) / rate


def flux(sound: Sound) -> NDArray[np.float64]:
    """Spectral flux, frames of 256 samples, 128 apart."""
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), 256)[::128] * np.hanning(256)
    return np.maximum(np.diff(np.abs(np.fft.rfft(frames, axis=1)), axis=0), 0.0).sum(axis=1)


def analyse(recording: Sound, rate: int, loop: Sound, bpm: float, fade_ms: float, since: int, bars: int) -> Splice:
    """Find the splice in `recording [n, 2]`, and measure it.

    Args:
        loop: what was played, in rounds of whole bars.
        fade_ms: of the crossfade that ends on the line.
        since: from here on, and for two bars at least, the monitored input is heard.
        bars: of generated sound to look at.
    """
    source, heard = recording[:, 0], recording[:, 1]
    bar = round(rate * 240.0 / bpm)
    delay = find_delay(source[since:since + bar], heard[since:since + bar + rate // 10], rate // 10)
    departs = departure(source, heard, delay, since + delay)
    begin = find_loop(source[since:], loop) + since
    ends = departs + 1 + round(fade_ms / 1000.0 * rate)
    line = begin + round((ends - begin) / bar) * bar
    around = slice(departs - rate // 50, ends + rate // 50)
    rest = (heard[departs - 2 * bar:around.start], heard[around.stop:ends + bars * bar - round(0.05 * rate)])
    before, after = source[line - 2 * bar:line], heard[line:line + bars * bar]
    late, alike = phase(before, after, rate, bpm)
    level = 20.0 * np.log10(np.sqrt(np.mean(after ** 2) / np.mean(before ** 2)))
    return Splice(line, delay, departs, 1000.0 * (ends - line) / rate,
                  longest_silence(heard[departs - rate // 10:ends + rate // 10], rate),
                  share(heard[around], rest, lambda sound: np.abs(np.diff(sound))), share(heard[around], rest, flux),
                  float(level), late, alike)


def share(part: Sound, rest: tuple[Sound, ...], measure: Callable[[Sound], NDArray[Any]]) -> float:
    """The largest value of a measure in one part, as a share of the largest one elsewhere."""
    return float(measure(part).max() / max(measure(other).max() for other in rest))
