"""Draws `demo/joined.png`: captured audio and its continuation as waveform, spectrogram and chroma, bar by bar."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.audio import Waveform

INK, PAPER, GRID = "#e8e6e3", "#14161a", "#ffffff"
CAPTURED, CONTINUED, SPLICE = "#6cb6ff", "#ffb454", "#ff5c7a"
NOTES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
LOWEST_HZ, N_FFT = 40.0, 4096


def power_spectrogram(samples: NDArray[np.float32], hop: int) -> NDArray[np.float64]:
    """Power `[N_FFT / 2 + 1, frames]` of mono samples `[T]`, Hann windows centred every `hop` samples."""
    padded = np.pad(samples.astype(np.float64), N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::hop]
    spectrum = np.fft.rfft(frames * np.hanning(N_FFT), axis=-1)
    return np.asarray((np.abs(spectrum) ** 2).T, dtype=np.float64)


def in_bands(power: NDArray[np.float64], edges: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Mean power in frequency bands with the given edges in Hz: `[bands, frames]`."""
    bins = edges * N_FFT / sample_rate
    rows = []
    for low, high in itertools.pairwise(bins.tolist()):
        first = min(round(low), power.shape[0] - 1)
        rows.append(power[first:max(round(high), first + 1)].mean(axis=0))
    return np.stack(rows)


def chroma(power: NDArray[np.float64], sample_rate: int, frames_per_second: float) -> NDArray[np.float64]:
    """Energy by pitch class `[12, frames]`, from 0 to 1, averaged over a tenth of a second."""
    frequency = np.arange(power.shape[0]) * sample_rate / N_FFT
    used = (frequency > 100) & (frequency < 4000)
    classes = np.round(12 * np.log2(np.maximum(frequency, 1.0) / 261.626)).astype(int) % 12
    # The root of the power: a quiet chord between two drum hits is to be seen as well.
    out = np.sqrt(np.stack([power[used & (classes == note)].sum(axis=0) for note in range(12)]))
    window = np.hanning(max(3, round(frames_per_second / 5)))
    smooth = np.stack([np.convolve(row, window / window.sum(), "same") for row in out])
    within = smooth / np.maximum(smooth.max(axis=0, keepdims=True), 1e-9)
    loudness = smooth.max(axis=0, keepdims=True) / max(float(np.percentile(smooth.max(axis=0), 90)), 1e-9)
    return np.asarray(within ** 2 * np.clip(loudness, 0.0, 1.0) ** 0.5)


def draw(joined: Waveform, splice_seconds: float, path: Path, *, bpm: float, beats_per_bar: int = 4,
         title: str = "", subtitle: str = "") -> None:
    """Write the picture.

    Args:
        joined: captured audio followed by its continuation.
        splice_seconds: where the continuation begins.
        path: PNG to write.
        bpm: tempo; beat 0 stands at the splice and at the start of the recording alike.
        beats_per_bar: beats in a bar.
        title: first line, what it is.
        subtitle: second line, how it was made.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    mono = joined.samples.mean(axis=0)
    hop = max(joined.sample_rate // 150, 1)
    power = power_spectrogram(mono, hop)
    times = (0.0, joined.seconds)
    top_hz = min(joined.sample_rate / 2, 16_000.0)
    edges = np.geomspace(LOWEST_HZ, top_hz, 161)
    level = 10 * np.log10(in_bands(power, edges, joined.sample_rate) + 1e-9)

    with pyplot.rc_context({"font.size": 10, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK,
                            "ytick.color": INK, "axes.edgecolor": "#3a3f47", "figure.facecolor": PAPER,
                            "axes.facecolor": PAPER, "savefig.facecolor": PAPER}):
        figure, (wave, spectrum, pitch) = pyplot.subplots(
            3, 1, figsize=(13, 8.2), sharex=True, height_ratios=(1.1, 2.2, 1.0), layout="constrained")
        _draw_wave(wave, mono, joined, splice_seconds)
        spectrum.pcolormesh(np.linspace(*times, level.shape[1] + 1), edges, level, cmap="magma", rasterized=True,
                            vmin=np.percentile(level, 99.8) - 70, vmax=np.percentile(level, 99.8))
        spectrum.set_yscale("log")
        spectrum.set_yticks([50, 100, 200, 500, 1000, 2000, 5000, 10000],
                            ["50", "100", "200", "500", "1k", "2k", "5k", "10k"])
        spectrum.minorticks_off()
        spectrum.set_ylabel("frequency, Hz")
        classes = chroma(power, joined.sample_rate, joined.sample_rate / hop)
        pitch.pcolormesh(np.linspace(*times, classes.shape[1] + 1), np.arange(13), classes, cmap="magma",
                         rasterized=True)
        pitch.set_yticks(np.arange(12) + 0.5, NOTES, fontsize=7)
        pitch.set_ylabel("pitch class")
        _bar_lines((wave, spectrum, pitch), joined.seconds, splice_seconds, 60.0 / bpm, beats_per_bar)
        pitch.set_xlabel("seconds")
        pitch.set_xlim(*times)
        figure.suptitle(title, fontsize=15, fontweight="bold", x=0.01, ha="left")
        wave.set_title(subtitle, fontsize=9.5, loc="left", pad=24, color="#a8adb5")
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def _draw_wave(axes: Any, mono: NDArray[np.float32], joined: Waveform, splice_seconds: float) -> None:
    """The envelope, one pixel column after the other, so that peaks are not lost between drawn points."""
    columns = 2600
    step = max(len(mono) // columns, 1)
    blocks = mono[:len(mono) // step * step].reshape(-1, step)
    at = (np.arange(len(blocks)) + 0.5) * step / joined.sample_rate
    for part, colour, name in ((at < splice_seconds, CAPTURED, "captured"), (at >= splice_seconds, CONTINUED,
                                                                             "continued by SoundForge")):
        if part.any():
            axes.fill_between(at[part], blocks[part].min(axis=1), blocks[part].max(axis=1), color=colour, lw=0)
            axes.text(float(at[part][0]) + 0.06, 1.0, name, color=colour, fontsize=11, fontweight="bold", va="top")
    axes.set_ylim(-1.12, 1.12)
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("amplitude")


def _bar_lines(panels: tuple[Any, ...], seconds: float, splice_seconds: float, beat: float, beats_per_bar: int) -> None:
    """A line per beat, a stronger one per bar, the splice in its own colour; bars numbered on top."""
    first = -round(splice_seconds / beat)
    for number in range(first, int((seconds - splice_seconds) / beat + 1e-6) + 1):
        at = splice_seconds + number * beat
        bar = number % beats_per_bar == 0
        for axes in panels:
            axes.axvline(at, color=GRID, lw=0.9 if bar else 0.5, alpha=0.55 if bar else 0.16)
        if bar and -0.01 <= at < seconds - 0.05:
            panels[0].annotate(f"bar {(number - first) // beats_per_bar + 1}", (at, 1.12), xytext=(2, 3),
                               textcoords="offset points", fontsize=8, color="#a8adb5", annotation_clip=False)
    for axes in panels:
        axes.axvline(splice_seconds, color=SPLICE, lw=1.8)
    panels[0].annotate("splice", (splice_seconds, -1.12), xytext=(4, 4), textcoords="offset points", color=SPLICE,
                       fontsize=9, fontweight="bold")
