"""The codec: against Opus on loops and recordings, use of its entries, held tones, attacks, silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from soundforge.nn.starter_codec import StarterCodecNet
from training.drum_voices import render_hit
from training.evaluation.material import RATE, Wave
from training.evaluation.report import Figure, mean
from training.losses import log_mel_distance
from training.opus import through_opus
from training.voices import render_note

TONES_HZ = (110.0, 220.0, 440.0, 880.0)


def decoded(net: StarterCodecNet, waves: Sequence[Wave], books: int | None = None) -> list[Wave]:
    """Waves of equal, whole-frame length through the codec."""
    out: list[Wave] = []
    for begin in range(0, len(waves), 8):
        codes, _ = net.encode(torch.from_numpy(np.stack(waves[begin : begin + 8])), n_codebooks=books)
        out += list(net.decode(codes)[0].numpy())
    return out


def distances(truth: Sequence[Wave], made: Sequence[Wave]) -> Figure:
    """Log-mel distance, clip by clip."""
    pairs = zip(truth, made, strict=True)
    return mean([float(log_mel_distance(_row(a), _row(b))) for a, b in pairs])


def _row(wave: Wave) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(wave))[None]


def against_opus(
    net: StarterCodecNet, material: dict[str, list[Wave]], depths: Sequence[int], kbits: Sequence[int]
) -> dict[str, dict[str, Figure | str]]:
    """One row per codec and bit rate, one column per kind of material."""
    rows: dict[str, dict[str, Figure | str]] = {}
    for books in depths:
        name = f"starter, {books} codebooks, {books * 0.5:g} kbit/s"
        rows[name] = {kind: distances(waves, decoded(net, waves, books)) for kind, waves in material.items()}
    for rate in kbits:
        rows[f"Opus {rate} kbit/s"] = {
            kind: distances(waves, [through_opus(wave, rate) for wave in waves]) for kind, waves in material.items()
        }
    return rows


def entries_used(net: StarterCodecNet, waves: Sequence[Wave]) -> list[int]:
    """Entries per codebook that occur in ``waves``."""
    codes, _ = net.encode(torch.from_numpy(np.stack(waves)))
    return [len(set(codes[:, k].flatten().tolist())) for k in range(codes.shape[1])]


def tone(kind: str, hz: float, seconds: float = 2.0) -> Wave:
    """A held tone at -14 dB or so, faded in and out."""
    time = np.arange(round(seconds * RATE)) / RATE
    if kind == "sine":
        wave = np.sin(2 * np.pi * hz * time)
    else:
        partials = np.arange(1, int(12_000 / hz))[:, None]
        wave = (np.sin(2 * np.pi * hz * partials * time) / partials).sum(axis=0)
    fade = np.clip(np.minimum(time, seconds - time) / 0.01, 0, 1)
    return np.asarray(0.25 * wave * fade, dtype=np.float32)


def off_partials_db(wave: Wave, hz: float) -> float:
    """Energy between the partials of ``hz`` (more than 40 cents off, 50 Hz to 8 kHz) over all, in dB, in the middle."""
    middle = wave[RATE // 2 : RATE // 2 + RATE].astype(np.float64)
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    bins = np.arange(len(power), dtype=np.float64)
    partial = np.maximum(1, np.round(bins / hz)) * hz
    cents = np.abs(1200 * np.log2(np.maximum(bins, 1) / partial))
    heard = (bins > 50) & (bins < 8000)
    return float(10 * np.log10(power[heard & (cents > 40) & (np.abs(bins - partial) > 4)].sum() / power[heard].sum()))


def buzz_db(wave: Wave) -> float:
    """How far the envelope's line at the frame rate (50 Hz, and 200 Hz) stands out of its surroundings, in dB."""
    middle = wave[RATE // 2 : RATE // 2 + RATE].astype(np.float64)
    envelope = np.convolve(middle**2, np.hanning(65) / 32.5, mode="same")[::16]
    power = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope)))) ** 2
    out = []
    for line in (50, 200):
        around = np.concatenate([power[line - 9 : line - 3], power[line + 4 : line + 10]])
        out.append(10 * np.log10(power[line - 1 : line + 2].max() / (np.median(around) + 1e-20)))
    return float(max(out))


def tone_rows(net: StarterCodecNet) -> dict[str, dict[str, Figure | str]]:
    """Held sines and saw waves: what comes between the partials, and what pulses at the frame rate."""
    rows: dict[str, dict[str, Figure | str]] = {}
    for kind in ("sine", "saw"):
        tones = [tone(kind, hz) for hz in TONES_HZ]
        made = decoded(net, tones)
        before, after = (
            mean([off_partials_db(wave, hz) for wave, hz in zip(part, TONES_HZ, strict=True)]) for part in (tones, made)
        )
        rows[kind] = {
            "between partials, dB: original": before,
            "decoded": after,
            "line at the frame rate, dB: original": mean([buzz_db(w) for w in tones]),
            "decoded ": mean([buzz_db(w) for w in made]),
            "level decoded - original, dB": mean(
                [20 * np.log10(np.std(b) / np.std(a)) for a, b in zip(tones, made, strict=True)]
            ),
        }
    return rows


def onset_seconds(wave: Wave) -> float:
    """When the energy first reaches a quarter of its largest 2 ms mean."""
    energy = np.convolve(wave.astype(np.float64) ** 2, np.ones(64) / 64, mode="full")
    return float(np.argmax(energy >= energy.max() / 4) / RATE)


def attack_row(net: StarterCodecNet, count: int = 24) -> dict[str, Figure | str]:
    """Single hits and plucks at random places in a frame: how far the energy's rise moves."""
    rng = np.random.default_rng(0)
    waves = []
    for index in range(count):
        wave = np.zeros(RATE, dtype=np.float32)
        start = int(rng.integers(RATE // 4, RATE // 2))
        names = ("kick", "snare", "hat", "clap", "rim", "tom_low")
        hit = (
            render_hit(names[index % 6], 1_000_000 + index, 0)
            if index % 4
            else render_note("pluck", 1_000_000 + index, 48 + index, 0.3, 0.9)
        )
        hit = hit[: RATE - start] / (np.abs(hit).max() + 1e-9) * 0.5
        wave[start : start + len(hit)] = hit
        waves.append(wave)
    made = decoded(net, waves)
    off = [abs(onset_seconds(a) - onset_seconds(b)) * 1000 for a, b in zip(waves, made, strict=True)]
    return {"onset moved, ms": mean(off), "within 5 ms": mean([float(value <= 5.0) for value in off])}


def silence_db(net: StarterCodecNet) -> float:
    """Level of decoded digital silence, after a second of noise, from half a second on."""
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    wave = np.concatenate([noise, np.zeros(2 * RATE, dtype=np.float32)])
    made = decoded(net, [wave[: len(wave) // 640 * 640]])[0][RATE + RATE // 2 :]
    return float(10 * np.log10(np.mean(made.astype(np.float64) ** 2) + 1e-20))
