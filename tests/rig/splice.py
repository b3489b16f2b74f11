"""What a recording tells about a takeover, without asking the server: where the splice lies, and how it sounds.

The recording has two channels of the same clock: what was played to the server, and what the server gave out. Before
the splice the second is the first one some periods later (the monitored input), or silent where the player hears the
input by another way; after it, it is generated.
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
        departs: the last sample before the crossfade begins: still the monitored input alone, or silent.
        error_ms: where the crossfade ended, against `line` as it is heard.
        silence_ms: the longest stretch around the splice that stays below -60 dB of the sound around it; rests that
            the monitored input has itself do not count.
        jump: largest difference of neighbouring samples at the splice, as a share of the largest one elsewhere.
        flux: largest spectral flux at the splice, as a share of the largest one elsewhere.
        level_db: generated sound against the two bars before the line.
        step_db: the first generated bar against the last one before the line.
        phase_ms: by how much the onsets of the generated sound come late against the loop's, within half a step
            (a sixteenth note).
        phase_strength: normalised correlation of the two onset envelopes at that place.
        back_ms: where the monitored input is back alone, against the bar line at which the generated bars end.
    """

    line: int
    delay: int
    departs: int
    error_ms: float
    silence_ms: float
    jump: float
    flux: float
    level_db: float
    step_db: float
    phase_ms: float
    phase_strength: float
    back_ms: float | None


def find_delay(source: Sound, heard: Sound, longest: int) -> int:
    """By how many samples `heard` comes after `source`, 0 to `longest`."""
    size = 1 << (len(source) + len(heard)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(source, size)), size)
    return int(np.argmax(product[:longest + 1]))


def place_in(loop: Sound, part: Sound) -> int:
    """Where in a loop that is played in rounds a part of it, one round at most, begins."""
    n = len(loop)
    spectrum = np.fft.rfft(loop.astype(np.float64))
    here = np.pad(part[:n], (0, max(0, n - len(part)))).astype(np.float64)
    window = np.pad(np.ones(min(n, len(part))), (0, max(0, n - len(part))))
    match = np.fft.irfft(spectrum * np.conj(np.fft.rfft(here)), n)
    energy = np.fft.irfft(np.fft.rfft(loop.astype(np.float64) ** 2) * np.conj(np.fft.rfft(window)), n)
    return int(np.argmax(match / np.sqrt(np.maximum(energy, 1e-6 * energy.max()))))


def departure(source: Sound, heard: Sound, delay: int, since: int) -> int:
    """The last sample of `heard` from `since` on that is still `source`, `delay` samples later."""
    same = heard[since:] - source[since - delay:len(heard) - delay]
    other = np.flatnonzero(np.abs(same) > SAME)
    if not len(other):
        raise AssertionError("nothing was taken over: the monitored input goes on to the end")
    return since + int(other[0]) - 1


def away(recording: Sound, rate: int) -> tuple[int, int]:
    """Where in a recording `[n, 2]` the monitored input goes away, and where it is back, in samples.

    It is there where the two are the same for a quarter of a second: rests that both have are shorter.
    """
    source, heard = recording[:, 0], recording[:, 1]
    delay = find_delay(source[rate // 2:rate], heard[rate // 2:rate + rate // 10], rate // 10)
    same = np.abs(heard[delay:] - source[:len(source) - delay]) < SAME
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8))).reshape(-1, 2)
    there = edges[edges[:, 1] - edges[:, 0] > rate // 4]
    last = int(np.argmax(there[1:, 0] - there[:-1, 1]))
    return int(there[last, 1]) + delay, int(there[last + 1, 0]) + delay


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


def longest_silence(sound: Sound, rate: int, but: NDArray[np.bool_] | bool = False) -> float:
    """Milliseconds of the longest stretch below -60 dB of the sound's own peak level; `but`: samples not to count."""
    quiet = (np.abs(sound) < 1e-3 * np.abs(sound).max()) & ~np.asarray(but)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    return 1000.0 * float(np.max(edges[1::2] - edges[::2], initial=0)) / rate


def flux(sound: Sound) -> NDArray[np.float64]:
    """Spectral flux, frames of 256 samples, 128 apart."""
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), 256)[::128] * np.hanning(256)
    return np.maximum(np.diff(np.abs(np.fft.rfft(frames, axis=1)), axis=0), 0.0).sum(axis=1)


def level(sound: Sound) -> float:
    """Root mean square in dB."""
    return float(10.0 * np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-20))


def at_the_desk(source: Sound, heard: Sound, departs: int, fade: int) -> Sound:
    """What is heard of a player who listens to the input by another way, and takes it away in the crossfade's time."""
    gain = np.ones(len(source), np.float32)
    gain[departs + 1:departs + 1 + fade] = np.cos(np.arange(fade) * np.pi / 2 / fade)
    gain[departs + 1 + fade:] = 0.0
    return source * gain + heard


def analyse(recording: Sound, rate: int, loop: Sound, bpm: float, fade_ms: float, since: int, bars: int,
            monitored: bool = True) -> Splice:
    """Find the splice in `recording [n, 2]`, and measure it.

    Args:
        loop: what was played, in rounds of whole bars.
        fade_ms: of the crossfade that ends on the line.
        since: from here on, and for two bars at least, the input is heard.
        bars: of generated sound to look at.
        monitored: the server passes its input through until it takes over.
    """
    source, heard = recording[:, 0], recording[:, 1]
    bar, fade = round(rate * 240.0 / bpm), round(fade_ms / 1000.0 * rate)
    if monitored:
        delay = find_delay(source[since:since + bar], heard[since:since + bar + rate // 10], rate // 10)
        departs = departure(source, heard, delay, since + delay)
    else:
        delay, departs = 0, departure(np.zeros_like(source), heard, 0, since)
        heard = at_the_desk(source, heard, departs, fade)
    begin = since + delay - place_in(loop, source[since:])
    ends = departs + 1 + fade
    line = begin + round((ends - begin) / bar) * bar
    near = slice(departs - rate // 10, ends + rate // 10)
    shared = monitored & (np.abs(heard[near] - np.roll(source, delay)[near]) < SAME)
    back = (away(recording, rate)[1] - line - round(bars * rate * 240.0 / bpm)) * 1000.0 / rate if monitored else None
    around = slice(departs - rate // 50, ends + rate // 50)
    rest = (heard[departs - 2 * bar:around.start], heard[around.stop:ends + bars * bar - round(0.05 * rate)])
    before, after = heard[line - 2 * bar:line - fade], heard[line:line + bars * bar]
    late, alike = phase(source[line - delay - 2 * bar:line - delay], after, rate, bpm)
    return Splice(line, delay, departs, 1000.0 * (ends - line) / rate,
                  longest_silence(heard[near], rate, shared),
                  share(heard[around], rest, lambda sound: np.abs(np.diff(sound))), share(heard[around], rest, flux),
                  level(after) - level(before), level(after[:bar]) - level(before[fade - bar:]), late, alike, back)


def share(part: Sound, rest: tuple[Sound, ...], measure: Callable[[Sound], NDArray[Any]]) -> float:
    """The largest value of a measure in one part, as a share of the largest one elsewhere."""
    return float(measure(part).max() / max(measure(other).max() for other in rest))
