"""Melodic synthesiser voices: one note of a patch as float32 samples. All random properties come from the patch seed.

Oscillators read band-limited wavetables (one per octave), so that a note costs a table look-up per sample.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from training.effects import bandpass_noise, lowpass

SAMPLE_RATE_HZ = 32_000
Samples = NDArray[Any]  # float32 throughout
_TABLE = 2048


@lru_cache(maxsize=128)
def _wavetable(shape: str, octave: int) -> Samples:
    """One period of ``shape`` with all harmonics below Nyquist for notes up to ``27.5 * 2**(octave + 1)`` Hz."""
    top_hz = 27.5 * 2.0 ** (octave + 1)
    harmonics = np.arange(1, max(2, int(0.47 * SAMPLE_RATE_HZ / top_hz)))
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    if shape == "saw":
        amplitude = 1.0 / harmonics
    elif shape == "square":
        amplitude = (harmonics % 2) / harmonics
    elif shape == "triangle":
        amplitude = (harmonics % 2) / harmonics**2.0 * np.where(harmonics % 4 == 1, 1.0, -1.0)
    elif shape.startswith("pulse"):
        duty = float(shape[5:]) / 100.0
        amplitude = np.sin(np.pi * harmonics * duty) / harmonics
    else:
        amplitude = (harmonics == 1).astype(float)
    keep = harmonics < len(spectrum)
    spectrum[harmonics[keep]] = -0.5j * amplitude[keep] * _TABLE
    table = np.fft.irfft(spectrum)
    return np.append(table, table[0]).astype(np.float32) / np.float32(np.abs(table).max())


def oscillator(
    shape: str, frequency_hz: float, n_samples: int, phase: float = 0.0, vibrato: Samples | None = None
) -> Samples:
    """A band-limited periodic wave; ``vibrato`` is a factor per sample on the frequency."""
    octave = int(np.clip(np.floor(np.log2(max(frequency_hz, 20.0) / 27.5)), -1, 9))
    table = _wavetable(shape, octave)
    if vibrato is None:
        position = (phase + np.arange(n_samples) * (frequency_hz / SAMPLE_RATE_HZ)) % 1.0 * _TABLE
    else:
        position = (phase + np.cumsum(vibrato, dtype=np.float64) * (frequency_hz / SAMPLE_RATE_HZ)) % 1.0 * _TABLE
    index = position.astype(np.int32)
    fraction = (position - index).astype(np.float32)
    left = table[index]
    wave: Samples = left + fraction * (table[index + 1] - left)
    return wave


def envelope(n_held: int, n_total: int, attack_s: float, decay_s: float, sustain: float, release_s: float) -> Samples:
    """Attack, exponential decay to ``sustain`` while held, exponential release after ``n_held`` samples."""
    time = np.arange(n_total, dtype=np.float32) / SAMPLE_RATE_HZ
    held = n_held / SAMPLE_RATE_HZ
    level = sustain + (1.0 - sustain) * np.exp(-time / max(decay_s, 1e-3))
    level *= np.minimum(1.0, time / max(attack_s, 1e-4))
    level *= np.exp(-np.maximum(0.0, time - held) / max(release_s, 2e-3))
    return level.astype(np.float32)


def _fm(f: float, n: int, ratio: float, index: Samples | float) -> Samples:
    phase = 2 * np.pi * f * np.arange(n) / SAMPLE_RATE_HZ
    return np.sin(phase + index * np.sin(ratio * phase)).astype(np.float32)


def _decay(n: int, seconds: float) -> Samples:
    level: Samples = np.exp(-np.arange(n, dtype=np.float32) / (seconds * SAMPLE_RATE_HZ))
    return level


def _stack(shape: str, f: float, n: int, rng: np.random.Generator, voices: int, cents: float) -> Samples:
    detune = np.linspace(-cents, cents, voices) + rng.normal(0, cents * 0.1, voices)
    out = np.zeros(n, dtype=np.float32)
    for cent in detune:
        out += oscillator(shape, f * 2 ** (cent / 1200), n, float(rng.random()))
    return out / np.float32(np.sqrt(voices))


def _swept(wave: Samples, low_hz: float, high_hz: float, sweep: Samples) -> Samples:
    """A cheap filter envelope: fades from the bright to the dark low-pass of the same wave."""
    swept: Samples = lowpass(wave, low_hz) * (1 - sweep) + lowpass(wave, high_hz) * sweep
    return swept


def _string(f: float, n: int, rng: np.random.Generator, damping: float) -> Samples:
    """Karplus-Strong: a noise burst through a comb whose loop averages two neighbours."""
    period = max(2, int(SAMPLE_RATE_HZ / f - 0.5))
    burst = np.zeros(n, dtype=np.float64)
    burst[:period] = rng.uniform(-1, 1, min(period, n))[: len(burst[:period])]
    feedback = np.zeros(period + 2)
    feedback[0] = 1.0
    feedback[period] = feedback[period + 1] = -0.5 * damping
    wave: Samples = lfilter([1.0], feedback, burst).astype(np.float32)
    return wave


def render_note(patch: str, patch_seed: int, pitch: int, held_seconds: float, brightness: float) -> Samples:
    """One note of ``patch``, peak near 1; ``brightness`` 0..1 follows the velocity and opens filters and FM indices."""
    rng = np.random.default_rng([patch_seed, 7])
    f = 440.0 * 2 ** ((pitch - 69) / 12)
    voice = VOICES[patch]
    release = {"pad": 0.25, "key": 0.2, "ell": 0.6}.get(patch[-3:], 0.05) * float(rng.uniform(0.5, 1.8))
    n_held = max(64, int(held_seconds * SAMPLE_RATE_HZ))
    n = n_held + int(min(1.2, release * 5) * SAMPLE_RATE_HZ)
    wave = voice(f, n, n_held, release, brightness, rng)
    tail = min(n, 320)
    wave[-tail:] *= np.linspace(1, 0, tail, dtype=np.float32)  # no click where the buffer ends
    return wave


Voice = Callable[[float, int, int, float, float, np.random.Generator], Samples]


def _sub_bass(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    wave = oscillator("sine", f, n)
    drive = float(rng.choice([0.0, 1.0, 2.5]))
    wave = np.tanh(wave * (1 + drive)) if drive else wave
    return wave * envelope(held, n, 0.004, float(rng.uniform(0.3, 2.0)), float(rng.uniform(0.4, 1.0)), rel)


def _plain_bass(shape: str) -> Voice:
    def voice(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
        wave = 0.7 * oscillator(shape, f, n) + 0.5 * oscillator("sine", f / (2 if f > 70 else 1), n)
        sweep = _decay(n, float(rng.uniform(0.05, 0.3)))
        high = float(rng.uniform(800, 3500)) * (0.6 + b)
        wave = _swept(wave, min(high, float(rng.uniform(200, 700))), high, sweep)
        return wave * envelope(held, n, 0.003, 0.4, 0.6, rel * 0.6)

    return voice


def _acid_bass(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    wave = oscillator(str(rng.choice(["saw", "square"])), f, n)
    sweep = _decay(n, float(rng.uniform(0.06, 0.2)))
    centre = float(rng.uniform(500, 1500)) * (0.5 + b)
    body = _swept(wave, centre * 0.4, centre * 2.5, sweep)
    ring = bandpass_noise(body, centre, centre * 1.3) * float(rng.uniform(1.0, 3.0))  # the resonance
    return np.tanh(1.5 * (body + ring)).astype(np.float32) * envelope(held, n, 0.002, 0.25, 0.5, rel * 0.4)


def _fm_bass(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    index = float(rng.uniform(1.0, 4.0)) * (0.5 + b) * _decay(n, float(rng.uniform(0.08, 0.4))) + 0.3
    return _fm(f, n, float(rng.choice([1.0, 2.0, 3.0, 0.5])), index) * envelope(held, n, 0.002, 0.5, 0.6, rel * 0.6)


def _reese_bass(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    wave = _stack("saw", f, n, rng, 3, float(rng.uniform(12, 35)))
    wave = lowpass(wave, float(rng.uniform(500, 1800))) + 0.5 * oscillator("sine", f, n)
    return np.tanh(1.4 * wave).astype(np.float32) * envelope(held, n, 0.01, 1.0, 0.85, rel)


def _supersaw(attack: float, rel_scale: float) -> Voice:
    def voice(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
        wave = _stack("saw", f, n, rng, int(rng.choice([3, 5, 7])), float(rng.uniform(8, 25)))
        wave = lowpass(wave, float(rng.uniform(2500, 12000)))
        return 0.6 * wave * envelope(held, n, attack, 1.0, 0.85, rel * rel_scale)

    return voice


def _fm_pad(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    slow = 0.7 + 0.5 * np.sin(
        2 * np.pi * float(rng.uniform(0.2, 1.5)) * np.arange(n, dtype=np.float32) / SAMPLE_RATE_HZ
    )
    wave = _fm(f, n, float(rng.choice([1.0, 2.0, 1.005, 3.0])), slow * float(rng.uniform(0.5, 2.0)))
    wave = 0.5 * (wave + _fm(f * 1.003, n, 2.0, 0.6))
    return wave * envelope(held, n, float(rng.uniform(0.03, 0.3)), 1.0, 0.9, rel)


def _soft_pad(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    wave = _stack("triangle", f, n, rng, 2, 6.0) + 0.3 * oscillator("sine", 2 * f, n)
    return 0.6 * wave * envelope(held, n, float(rng.uniform(0.05, 0.4)), 1.0, 1.0, rel)


def _string_pad(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    lfo = (1 + 0.003 * np.sin(2 * np.pi * 5.2 * np.arange(n) / SAMPLE_RATE_HZ)).astype(np.float32)
    wave = oscillator("saw", f, n, 0.0, lfo) + oscillator("saw", f * 1.004, n, 0.37)
    return (
        0.6
        * lowpass(wave, float(rng.uniform(1500, 5000)))
        * envelope(held, n, float(rng.uniform(0.05, 0.2)), 1.0, 0.9, rel)
    )


def _fm_keys(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    body = _fm(f, n, 1.0, float(rng.uniform(0.6, 1.8)) * (0.4 + b) * _decay(n, 0.5))
    tine = _fm(f, n, float(rng.choice([7.0, 11.0, 14.0])), 0.5) * _decay(n, 0.08) * 0.25
    return (body + tine) * envelope(held, n, 0.002, float(rng.uniform(0.6, 1.8)), 0.1, rel)


def _organ(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    bars = rng.uniform(0, 1, 5) * np.array([0.6, 1.0, 0.7, 0.5, 0.4])
    wave = sum(
        (
            np.float32(bar) * oscillator("sine", f * r, n)
            for bar, r in zip(bars, (0.5, 1, 2, 3, 4), strict=True)
            if f * r < 14000
        ),
        start=np.zeros(n, dtype=np.float32),
    )
    return wave / np.float32(bars.sum() * 0.7 + 0.2) * envelope(held, n, 0.005, 1.0, 1.0, 0.02)


def _pluck(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    if rng.random() < 0.5:
        wave = lowpass(_string(f, n, rng, float(rng.uniform(0.985, 0.998))), 2500 + 6000 * b)
        return wave * envelope(held, n, 0.001, 2.0, 0.6, rel * 2)
    wave = _stack("saw", f, n, rng, 2, 7.0)
    wave = _swept(wave, 500.0, 5000 * (0.5 + b), _decay(n, float(rng.uniform(0.05, 0.15))))
    return wave * envelope(held, n, 0.002, float(rng.uniform(0.1, 0.3)), 0.0, rel)


def _bell(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    ratio = float(rng.choice([1.4, 2.76, 3.5, 3.0, 4.0]))
    index = float(rng.uniform(0.8, 2.5)) * _decay(n, float(rng.uniform(0.2, 0.6)))
    return _fm(f, n, ratio, index) * envelope(held, n, 0.001, float(rng.uniform(0.4, 1.0)), 0.0, rel)


def _wave_lead(shape: str) -> Voice:
    def voice(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
        depth = float(rng.uniform(0.0, 0.006))
        time = np.arange(n, dtype=np.float32) / SAMPLE_RATE_HZ
        vibrato = (
            1 + depth * np.minimum(1, time * 4) * np.sin(2 * np.pi * float(rng.uniform(4.5, 6.5)) * time)
        ).astype(np.float32)
        wave = oscillator(shape, f, n, 0.0, vibrato)
        if rng.random() < 0.4:
            wave = 0.6 * wave + 0.4 * oscillator(shape, f * 1.005, n, 0.3, vibrato)
        return lowpass(wave, float(rng.uniform(1800, 7000)) * (0.6 + b)) * envelope(
            held, n, float(rng.uniform(0.002, 0.03)), 0.4, 0.7, rel
        )

    return voice


def _fm_lead(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
    wave = _fm(f, n, float(rng.choice([1.0, 2.0, 0.5, 3.0])), float(rng.uniform(0.5, 2.5)) * (0.5 + b))
    return wave * envelope(held, n, 0.005, 0.5, 0.7, rel)


def _chip(shape: str) -> Voice:
    def voice(f: float, n: int, held: int, rel: float, b: float, rng: np.random.Generator) -> Samples:
        return 0.7 * oscillator(shape, f, n) * envelope(held, n, 0.001, 0.3, 0.6, 0.005)

    return voice


VOICES: dict[str, Voice] = {
    "sub bass": _sub_bass,
    "saw bass": _plain_bass("saw"),
    "square bass": _plain_bass("square"),
    "acid bass": _acid_bass,
    "fm bass": _fm_bass,
    "reese bass": _reese_bass,
    "chip triangle": _chip("triangle"),
    "supersaw pad": _supersaw(0.08, 1.0),
    "supersaw lead": _supersaw(0.005, 0.5),
    "fm pad": _fm_pad,
    "soft pad": _soft_pad,
    "string pad": _string_pad,
    "fm keys": _fm_keys,
    "organ": _organ,
    "pluck": _pluck,
    "bell": _bell,
    "saw lead": _wave_lead("saw"),
    "square lead": _wave_lead("square"),
    "fm lead": _fm_lead,
    "chip pulse": _chip("pulse25"),
    "chip square": _chip("square"),
}
