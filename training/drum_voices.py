"""Drum synthesis: one hit as float32 samples, its character fixed by the kit seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.effects import bandpass_noise, highpass, lowpass

SAMPLE_RATE_HZ = 32_000
Samples = NDArray[Any]  # float32 throughout


def _time(seconds: float) -> Samples:
    return (np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ).astype(np.float32)


def _noise(rng: np.random.Generator, n: int) -> Samples:
    return rng.standard_normal(n).astype(np.float32)


def _kick(rng: np.random.Generator) -> Samples:
    length = float(rng.uniform(0.15, 0.7))
    t = _time(length)
    low, high = float(rng.uniform(40, 62)), float(rng.uniform(120, 400))
    bend = float(rng.uniform(0.012, 0.05))
    phase = 2 * np.pi * (low * t + (high - low) * bend * (1 - np.exp(-t / bend)))
    body = np.sin(phase) * np.exp(-t / (length * 0.35))
    click = _noise(rng, len(t)) * np.exp(-t / 0.002) * float(rng.uniform(0.0, 0.5))
    return np.tanh((1 + float(rng.uniform(0, 3))) * (body + lowpass(click.astype(np.float32), 6000))).astype(np.float32)


def _snare(rng: np.random.Generator) -> Samples:
    t = _time(float(rng.uniform(0.12, 0.4)))
    tone = np.sin(2 * np.pi * (float(rng.uniform(150, 240)) * t + 2.0 * (1 - np.exp(-t / 0.01)))) * np.exp(
        -t / float(rng.uniform(0.03, 0.12))
    )
    rattle = highpass(_noise(rng, len(t)), float(rng.uniform(800, 2500))) * np.exp(-t / float(rng.uniform(0.04, 0.14)))
    return (float(rng.uniform(0.4, 0.9)) * tone + float(rng.uniform(0.3, 0.6)) * rattle).astype(np.float32)


def _clap(rng: np.random.Generator) -> Samples:
    t = _time(0.35)
    shape = sum(np.exp(-np.maximum(0, t - d) / 0.006) * (t >= d) for d in (0.0, 0.011, 0.021))
    shape = 0.6 * shape + np.exp(-np.maximum(0, t - 0.03) / float(rng.uniform(0.04, 0.12))) * (t >= 0.03)
    centre = float(rng.uniform(900, 1600))
    return (bandpass_noise(_noise(rng, len(t)), centre * 0.7, centre * 2.2) * shape).astype(np.float32)


def _hat(rng: np.random.Generator, decay: float) -> Samples:
    t = _time(min(1.6, decay * 6))
    if rng.random() < 0.5:
        source = _noise(rng, len(t))
    else:  # six square waves, as in the old machines
        ratios = np.array([2.0, 3.0, 4.16, 5.43, 6.79, 8.21]) * float(rng.uniform(35, 60)) * 10
        source = sum(np.sign(np.sin(2 * np.pi * r * t)) for r in ratios).astype(np.float32) / 3
    return (highpass(source, float(rng.uniform(5000, 9000))) * np.exp(-t / decay)).astype(np.float32) * np.float32(0.6)


def _ride(rng: np.random.Generator, decay: float) -> Samples:
    t = _time(min(2.0, decay * 4))
    wash = highpass(_noise(rng, len(t)), 4000) * np.exp(-t / decay) * 0.35
    ping = (
        sum(
            np.sin(2 * np.pi * f * t + p) for f, p in zip(rng.uniform(2500, 9000, 6), rng.uniform(0, 6, 6), strict=True)
        )
        * np.exp(-t / (decay * 0.5))
        * 0.1
    )
    ride: Samples = (wash + ping).astype(np.float32)
    return ride


def _pitched(rng: np.random.Generator, low: float, high: float, decay: tuple[float, float], noise: float) -> Samples:
    """Toms, congas: a sine that falls a little in pitch, with some skin noise."""
    length = float(rng.uniform(*decay))
    t = _time(length * 5)
    f = float(rng.uniform(low, high))
    body = np.sin(2 * np.pi * (f * t + 0.4 * f * 0.02 * (1 - np.exp(-t / 0.02)))) * np.exp(-t / length)
    return (body + noise * lowpass(_noise(rng, len(t)), 3000) * np.exp(-t / 0.008)).astype(np.float32)


def _wood(rng: np.random.Generator, low: float, high: float, decay: float) -> Samples:
    """Rim shots and claves: two short partials."""
    t = _time(decay * 7)
    f = float(rng.uniform(low, high))
    return ((np.sin(2 * np.pi * f * t) + 0.5 * np.sin(2 * np.pi * f * 1.63 * t)) * np.exp(-t / decay)).astype(
        np.float32
    ) * np.float32(0.7)


def _shaker(rng: np.random.Generator) -> Samples:
    t = _time(0.12)
    shape = np.minimum(1, t / float(rng.uniform(0.003, 0.03))) * np.exp(-t / float(rng.uniform(0.015, 0.035)))
    shaken: Samples = (highpass(_noise(rng, len(t)), float(rng.uniform(3000, 6000))) * shape).astype(np.float32)
    return shaken * np.float32(0.5)


def _cowbell(rng: np.random.Generator) -> Samples:
    t = _time(0.3)
    f = float(rng.uniform(480, 620))
    wave = np.sign(np.sin(2 * np.pi * f * t)) + np.sign(np.sin(2 * np.pi * f * 1.48 * t))
    return bandpass_noise((wave * np.exp(-t / 0.06)).astype(np.float32), f, f * 4) * np.float32(0.5)


def render_hit(name: str, kit_seed: int, variant: int) -> Samples:
    """One hit of drum ``name``; ``variant`` redraws the noise only where a real drum would differ from hit to hit."""
    index = sum(ord(c) * 31**i for i, c in enumerate(name)) % (2**31)
    rng = np.random.default_rng([kit_seed, index, variant])
    hit: Samples
    if name == "kick":
        hit = _kick(rng)
    elif name == "snare":
        hit = _snare(rng)
    elif name == "clap":
        hit = _clap(rng)
    elif name == "hat":
        hit = _hat(rng, float(rng.uniform(0.015, 0.06)))
    elif name == "open_hat":
        hit = _hat(rng, float(rng.uniform(0.12, 0.3)))
    elif name == "ride":
        hit = _ride(rng, 0.35)
    elif name == "crash":
        hit = _ride(rng, 0.6) * np.float32(1.5)
    elif name in ("tom_low", "tom_high"):
        hit = _pitched(rng, *((80, 120) if name == "tom_low" else (140, 220)), (0.06, 0.16), 0.3)
    elif name == "conga":
        hit = _pitched(rng, 180, 340, (0.03, 0.09), 0.2) * np.float32(0.7)
    elif name == "rim":
        hit = _wood(rng, 1400, 2200, 0.012)
    elif name == "clave":
        hit = _wood(rng, 2000, 2800, 0.025)
    elif name == "shaker":
        hit = _shaker(rng)
    else:
        hit = _cowbell(rng)
    hit[-64:] *= np.linspace(1, 0, 64, dtype=np.float32)
    return hit
