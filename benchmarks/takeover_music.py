"""What a model plays after a takeover, over many seeds: its level and where its onsets lie. The engine alone, any load.

    python benchmarks/takeover_music.py [--cases 75:4 120:4 ...] [--seeds 6] [--model starter]

`benchmarks/takeover.py` shows on a real sound server that the splice is on the line, once for each case; how loud the
model is and how tight is another question, of chance. Here a loop of that tempo is fed as a capture is, and continued
with each seed for four bars. Figures as of `tests/rig/splice.py`; by case the middle and the worst of all seeds. The
last line is JSON.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soxr
from common import arguments, parse, print_result

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rig"))

from serve_process import LOOP
from splice import level, phase
from takeover_kit import BEATS, loop_at, playable

import soundforge as sf

RATE, BARS_OUT, BLOCK_SECONDS = 48_000, 4, 0.08
CASES = ("75:1", "75:4", "90:2", "90:8", "100:1", "100:4", "120:1", "120:4", "140:1", "140:4", "174:1", "174:4")


def measure(engine: sf.Engine, asked: float, bars_in: int, seeds: int) -> dict[str, Any]:
    """Continue `bars_in` bars of the loop at this tempo with seeds 0, 1, ..."""
    bpm = playable(asked, RATE)
    loop, bar = loop_at(bpm, RATE), round(RATE * BEATS * 60.0 / bpm)
    heard = np.tile(loop, -(-bars_in * bar // len(loop)) + 1)[:bars_in * bar]
    before = np.tile(loop, -(-bars_in * bar // len(loop)) + 2)[:bars_in * bar + len(loop)][-2 * bar:]
    prompt = engine.open_prompt(bpm=bpm)
    captured = np.tile(soxr.resample(heard, RATE, engine.sample_rate).astype(np.float32), (engine.channels, 1))
    block = round(BLOCK_SECONDS * engine.sample_rate)
    for start in range(0, captured.shape[1], block):
        prompt.feed(captured[:, start:start + block])
    levels, late, alike = [], [], []
    for seed in range(seeds):
        request = replace(prompt.request, seconds=None, bars=BARS_OUT, seed=seed)
        made = np.concatenate([chunk.samples for chunk in prompt.continue_(request)], axis=1).mean(axis=0)
        sound = soxr.resample(made, engine.sample_rate, RATE).astype(np.float32)
        levels.append(level(sound) - level(before))
        found = phase(before, sound, RATE, bpm)
        late.append(found[0])
        alike.append(found[1])
    return {"bpm": asked, "bars_in": bars_in, "level_db": median(levels), "worst_level_db": max(levels, key=abs),
            "onsets_ms": median(late), "worst_onsets_ms": max(late, key=abs), "alike": median(alike)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="TEMPO:BARS")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--model", default="starter")
    options = parse(parser)
    found = []
    with sf.load(options.model) as engine:
        for case in options.cases:
            bpm, bars = case.split(":")
            found.append(measure(engine, float(bpm), int(bars), options.seeds))
            print(found[-1], flush=True)
    print_result("takeover_music", {"model": options.model, "loop": LOOP.stem, "seeds": options.seeds, "cases": found})


if __name__ == "__main__":
    main()
