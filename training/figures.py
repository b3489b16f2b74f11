"""``python -m training.figures`` draws the spectrogram pairs of ``docs/starter.md`` from the shipped weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot

from soundforge_plugins.starter.codec import StarterCodec
from training.evaluation import sound
from training.evaluation.continuing import jobs_for
from training.evaluation.making import Maker
from training.evaluation.material import RATE, Wave, held_out_loops, recordings

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def decibels(wave: Wave, size: int = 2048, hop: int = 320) -> NDArray[np.float64]:
    """Magnitudes in dB below a full-scale sine, ``[bins, frames]``, up to 8 kHz."""
    padded = np.pad(wave.astype(np.float64), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(size))) * 4 / size
    return np.asarray(20 * np.log10(magnitude[:, : size // 4].T + 1e-6))


def draw(columns: Sequence[tuple[str, Wave, Wave]], rows: tuple[str, str], path: Path) -> None:
    """Two rows of spectrograms; pairs stand one above the other."""
    figure, axes = pyplot.subplots(2, len(columns), figsize=(2.6 * len(columns), 4.6), sharey=True, squeeze=False)
    for place, (name, first, second) in enumerate(columns):
        for row, wave in enumerate((first, second)):
            axis = axes[row, place]
            axis.imshow(
                decibels(wave), origin="lower", aspect="auto", vmin=-90, vmax=-10, cmap="magma",
                extent=(0, len(wave) / RATE, 0, 8), interpolation="nearest",
            )  # fmt: skip
            axis.set_title(name if row == 0 else "", fontsize=8)
            axis.tick_params(labelsize=6)
            if place == 0:
                axis.set_ylabel(f"{rows[row]}, kHz", fontsize=8)
    figure.tight_layout(pad=0.4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    with Image.open(path) as drawn:  # 48 colours do, and take a fifth of the space
        small = drawn.convert("RGB").quantize(48, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    maker = Maker(arguments.weights)
    assert isinstance(maker.codec, StarterCodec)
    net = maker.codec.net
    loops = held_out_loops(12, 4.0)
    chosen = [loop for loop in loops if loop.pitched][:3]
    material = [("saw wave, 220 Hz", sound.tone("saw", 220.0)), ("sine, 440 Hz", sound.tone("sine", 440.0))]
    material += [(loop.style, loop.prompt[: 2 * RATE]) for loop in chosen]
    material += [(name[:24], waves[1][: 2 * RATE]) for name, waves in recordings(3.0).items()][:2]
    pairs = [(name, wave, sound.decoded(net, [wave])[0]) for name, wave in material]
    draw(pairs, ("original", "3 kbit/s"), arguments.folder / "starter-codec.png")
    chosen = loops[:5]
    made = maker.make(jobs_for(chosen, True), 4.0)[0]
    names = [f"{loop.style}, {loop.bpm:.0f} BPM" for loop in chosen]
    columns = [(name, loop.prompt, wave) for name, loop, wave in zip(names, chosen, made, strict=True)]
    draw(columns, ("prompt", "continued"), arguments.folder / "starter-continuations.png")


if __name__ == "__main__":
    main()
