"""What the model is measured on: held-out loops, drums that people played, real recordings."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from training.compose import HELD_OUT_SEED, compose
from training.piece import Piece
from training.render import render
from training.soundfonts import render_midi_drums

RATE = 32_000
HOP = 640
FRAMES_HZ = 50
Wave = NDArray[np.float32]
SHARED = Path(__file__).parents[3] / "shared" / "testdata"
"""Groove MIDI and recordings, beside the repository; without them their rows are left out."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A held-out prompt: its tempo, where in its bars it begins, its sound, and what really follows."""

    bpm: float
    beats_per_bar: int
    start_beat: float
    prompt: Wave
    truth: Wave
    style: str
    pitched: bool
    piece: Piece | None = None


def held_out_loops(count: int, seconds: float, first: int = 0, after: float | None = None) -> list[Loop]:
    """``count`` loops as they come: prompts of ``seconds`` from a random place, and ``after`` seconds that follow."""
    loops: list[Loop] = []
    n, rest = whole_frames(seconds), whole_frames(seconds if after is None else after)
    for seed in range(HELD_OUT_SEED + first, HELD_OUT_SEED + first + count):
        piece = compose(seed, max(20.0, 1.5 * (n + rest) / RATE))
        wave = render(piece)
        start = int(np.random.default_rng([seed, 9]).integers(0, len(wave) - n - rest))
        pitched = any(track.role != "drums" for track in piece.tracks)
        beat = start / RATE * piece.bpm / 60.0
        loops.append(Loop(piece.bpm, piece.beats_per_bar, beat, wave[start : start + n],
                          wave[start + n : start + n + rest], piece.style, pitched, piece))  # fmt: skip
    return loops


def groove_loops(count: int, seconds: float) -> list[Loop]:
    """Drumming of the Groove MIDI Dataset in 4/4 through a soundfont, a prompt per performance; [] without the data."""
    folder = SHARED / "groove"
    if not (folder / "info.csv").is_file():
        return []
    n = whole_frames(seconds)
    loops: list[Loop] = []
    with (folder / "info.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["beat_type"] == "beat" and row["time_signature"] == "4-4"]
    for row in sorted(rows, key=lambda row: (row["session"] not in ("drummer1/eval_session",), row["id"])):
        path = folder / row["midi_filename"]
        bpm = float(row["bpm"])
        if len(loops) >= count:
            break
        if not path.is_file() or float(row["duration"]) < 2 * seconds + 4:
            continue
        # From the second bar on: takes begin with a count-in or a pick-up.
        start = round(4 * 60.0 / bpm * RATE)
        wave = render_midi_drums(path, (start + 2 * n) / RATE)
        wave *= np.float32(0.1 / (np.sqrt(np.mean(wave[start:] ** 2)) + 1e-9))
        loops.append(Loop(bpm, 4, 4.0, wave[start : start + n], wave[start + n : start + 2 * n], row["style"], False))
    return loops


def recordings(seconds: float) -> dict[str, list[Wave]]:
    """Excerpts of ``seconds``, four per recording, mono at 32 kHz, by short name; {} without the data."""
    out: dict[str, list[Wave]] = {}
    for path in sorted((SHARED / "music").glob("*.ogg")):
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = np.asarray(soxr.resample(data.mean(axis=1), rate, RATE), dtype=np.float32)
        n = whole_frames(seconds)
        places = np.linspace(0.1, 0.8, 4) * (len(mono) - n)
        out[path.name.split("_-_")[0].split(".")[0][:40]] = [mono[int(p) : int(p) + n] for p in places]
    return out


def whole_frames(seconds: float) -> int:
    """Samples of ``seconds`` rounded to whole codec frames."""
    return round(seconds * RATE) // HOP * HOP


def shaped_noise(prompt: Wave, n: int, rng: np.random.Generator) -> Wave:
    """``n`` samples of noise with the prompt's long-term spectrum and level."""
    spectrum = np.abs(np.fft.rfft(prompt))
    phase = np.exp(2j * np.pi * rng.random(len(spectrum)))
    smooth = np.convolve(spectrum, np.ones(64) / 64, mode="same")
    noise = np.fft.irfft(smooth * phase, len(prompt))
    noise = noise / (np.std(noise) + 1e-9) * np.std(prompt)
    return np.asarray(np.resize(noise, n), dtype=np.float32)


def repeated(prompt: Wave, n: int) -> Wave:
    """The prompt again and again, ``n`` samples."""
    return np.asarray(np.resize(prompt, n), dtype=np.float32)
