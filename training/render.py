"""A piece as sound: tracks, effects, mix. Notes are rendered once per pitch and length, because loops repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import effects
from training.drum_voices import render_hit
from training.piece import DRUM_NAMES, Piece, Track
from training.samples import sampled_hit
from training.soundfonts import render_track
from training.voices import render_note

SAMPLE_RATE_HZ = 32_000
Samples = NDArray[Any]  # float32 throughout


def _synth_track(track: Track, beat_seconds: float, n_samples: int, held_out: bool) -> Samples:
    out = np.zeros(n_samples, dtype=np.float32)
    cache: dict[tuple[int, int, int], Samples] = {}
    for note in track.notes:
        start = round(note.start_beats * beat_seconds * SAMPLE_RATE_HZ)
        if start >= n_samples:
            continue
        if track.role == "drums":
            key = (note.pitch, 0, 0)
        else:
            key = (note.pitch, round(note.length_beats * 48), round(note.velocity * 3))
        wave = cache.get(key)
        if wave is None:
            if track.role != "drums":
                wave = render_note(
                    track.patch, track.patch_seed, note.pitch, note.length_beats * beat_seconds, key[2] / 3
                )
            elif track.source == "samples":
                wave = sampled_hit(DRUM_NAMES[note.pitch], track.patch_seed, held_out)
            else:
                wave = render_hit(DRUM_NAMES[note.pitch], track.patch_seed, 0)
            cache[key] = wave
        end = min(n_samples, start + len(wave))
        out[start:end] += np.float32(note.velocity) * wave[: end - start]
    return out


def _normalised(signal: Samples) -> Samples:
    """Scaled to the loudness of its loud parts, so that patches of any level mix predictably."""
    n = len(signal) // 1600 * 1600
    blocks = np.sqrt((signal[:n].reshape(-1, 1600) ** 2).mean(axis=1))
    level = float(np.quantile(blocks, 0.9)) if len(blocks) else 0.0
    return signal * np.float32(0.2 / level) if level > 1e-5 else signal


def render(piece: Piece) -> Samples:
    """Mono float32 ``[T]`` at 32 kHz, exactly ``piece.seconds`` long, RMS at ``piece.level_db``, peak at most 0.98."""
    beat_seconds = 60.0 / piece.bpm
    n_samples = round(piece.seconds * SAMPLE_RATE_HZ)
    rng = np.random.default_rng([piece.seed, 2])
    kicks = np.array(
        [
            round(n.start_beats * beat_seconds * SAMPLE_RATE_HZ)
            for t in piece.tracks
            if t.role == "drums"
            for n in t.notes
            if n.pitch == 0
        ],
        dtype=np.int64,
    )
    mix = np.zeros(n_samples, dtype=np.float32)
    send = np.zeros(n_samples, dtype=np.float32)
    for track in piece.tracks:
        if track.source == "soundfont":
            signal = render_track(track, beat_seconds, n_samples, piece.held_out)
        else:
            signal = _synth_track(track, beat_seconds, n_samples, piece.held_out)
        signal = _normalised(signal) * np.float32(track.gain)
        if track.cutoff_hz is not None:
            signal = effects.lowpass(signal, track.cutoff_hz)
        if track.drive > 0:
            signal = effects.saturate(signal, track.drive)
        if track.delay_mix > 0:
            step = float(rng.choice([0.5, 0.75, 0.25, 1.0]))
            signal = effects.echo(signal, round(step * beat_seconds * SAMPLE_RATE_HZ), track.delay_mix, 0.5)
        if track.duck_by_kick > 0 and len(kicks):
            signal = signal * effects.duck(n_samples, kicks, track.duck_by_kick, 0.12)
        mix += signal
        if track.reverb_mix > 0:
            send += np.float32(track.reverb_mix) * signal
    if np.any(send):
        mix += effects.reverb(send, rng)
    rms = float(np.sqrt(np.mean(mix.astype(np.float64) ** 2))) + 1e-9
    mix *= np.float32(10 ** (piece.level_db / 20) / rms)
    peak = float(np.abs(mix).max())
    if peak > 0.98:  # a limiter would change the timbre from loop to loop; saturation of the whole does not
        mix = (np.tanh(mix / np.float32(0.98)) * np.float32(0.98)).astype(np.float32)
    return mix
