"""``python -m training.clips`` renders the ten clips of ``examples/clips`` with the shipped weights, and their list."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from soundforge.audio import Waveform
from training.evaluation.following import melodies
from training.evaluation.making import Maker
from training.evaluation.material import RATE, Wave, held_out_loops

FOLDER = Path(__file__).parent.parent / "examples" / "clips"
LOOPS = FOLDER.parent / "loops"
TEXTS = ("techno drums only, 128 bpm", "calm dark ambient pad, no drums", "bright funk with electric bass, 104 bpm")


def recipes(maker: Maker) -> dict[str, tuple[str, Callable[[], Wave]]]:
    """File name: what it is, and how it is made. Seeds were not searched for: each is the clip's number."""
    engine = maker.engine

    def continued(prompt: Waveform, seed: int, bpm: float) -> Wave:
        wave: Wave = engine.extend(prompt, seed=seed, seconds=8, splice=True, bpm=bpm).waveform[0]
        return wave

    def made(text: str, seed: int, **keywords: Any) -> Wave:
        wave: Wave = engine.generate(text, seed=seed, **keywords).waveform[0]
        return wave

    def sung(melody: Waveform, text: str, seed: int) -> Wave:
        return np.concatenate([melody.samples[0], made(text, seed, seconds=6, conditions={"chroma": melody})])

    out: dict[str, tuple[str, Callable[[], Wave]]] = {}
    for number, name in enumerate(("garzul", "mika"), 1):
        data, rate = soundfile.read(LOOPS / f"{name}_120bpm.flac", dtype="float32", always_2d=True)
        prompt = Waveform(data.T[:, : 4 * rate], rate).with_channels(1).resampled(RATE)
        what = f"4 s of the recorded CC0 loop `examples/loops/{name}_120bpm.flac`, then 8 s of continuation at 120 BPM"
        out[f"{number:02d}-continued-{name}"] = (what, partial(continued, prompt, number, 120.0))
    loops = [loop for loop in held_out_loops(12, 4.0, first=60_000) if loop.pitched][:3]
    for number, loop in enumerate(loops, 3):
        what = f"a held-out synthesised loop ({loop.style}, {loop.bpm:.0f} BPM, 4 s), then 8 s of continuation"
        name = f"{number:02d}-continued-{loop.style.replace(' ', '-')}"
        out[name] = (what, partial(continued, Waveform(loop.prompt, RATE), number, loop.bpm))
    for number, text in enumerate(TEXTS, 6):
        out[f"{number:02d}-text"] = (f'from nothing: "{text}"', partial(made, text, number, seconds=8))
    text = "synthwave, no drums"
    what = f'6 s of a melody (the given lead alone), then "{text}" following it'
    out["09-melody"] = (what, partial(sung, Waveform(melodies(1, first=61_000)[0], RATE), text, 9))
    bars = partial(made, "house with drums and bass", 10, bars=2, bpm=120.0, loop=True)
    out["10-seamless"] = ("a loop of 2 bars at 120 BPM, played twice", lambda: np.tile(bars(), 2))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Clips by the starter model",
        "",
        "Rendered with the shipped weights by `python -m training.clips`, at the default sampling; the seed is each",
        "clip's number, and nothing was selected. Ogg Vorbis, mono, 32 kHz; dedicated to the public domain (CC0).",
        "",
        "| clip | what it is |",
        "|---|---|",
    ]
    for name, (what, make) in recipes(Maker(arguments.weights)).items():
        path = arguments.folder / f"{name}.ogg"
        soundfile.write(path, make(), RATE, format="OGG", subtype="VORBIS", compression_level=0.7)
        lines.append(f"| [{path.name}]({path.name}) | {what} |")
        print(f"{path.name} {path.stat().st_size / 1000:.0f} kB", flush=True)
    (arguments.folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
