"""From trigger to the first new sound after captures of 2, 8 and 20 seconds, on the engine: quantum 0, no device.

    python benchmarks/first_sound.py [--model starter | small [--quantize int8]] [--captures 2 8 20] [--rounds 7]

The capture is fed in blocks of 80 ms as the live server feeds it, then a continuation is asked for at once. What is
timed is everything from then on to the first chunk that holds new sound: the rest of the capture encoded and read, the
state forked, the first frames generated, decoded. `small` is musicgen-small's size with random weights. The last line
is JSON; `benchmarks/live.py` measures the same through OSC and all three processes.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from common import arguments, parse, print_result
from sizes import musicgen_engine

import soundforge as sf
from soundforge.requests import GenerateRequest

BLOCK_SECONDS = 0.08


def measure(engine: sf.Engine, seconds: float, rounds: int) -> dict[str, Any]:
    """Trigger after a capture of about this length; each round's capture is one block longer than the last one's."""
    prompt = engine.open_prompt("drums and bass, 120 bpm", bpm=120.0)
    rate, taken, first_codes = engine.sample_rate, [], []
    generator = np.random.default_rng(0)

    def block() -> np.ndarray:
        n = round(BLOCK_SECONDS * rate)
        return (0.1 * generator.standard_normal((engine.channels, n))).astype(np.float32)

    feeding = []
    while prompt.n_samples < seconds * rate:
        feeding.append(fed(prompt, block()))
    for index in range(-1, rounds):
        request = GenerateRequest(text="drums and bass, 120 bpm", bpm=120.0, seconds=2.0, seed=index + 1)
        began = time.perf_counter()
        run = iter(prompt.continue_(request))
        chunk = next(run)
        while chunk.samples.shape[-1] == 0:
            chunk = next(run)
        if index >= 0:
            taken.append(time.perf_counter() - began)
            first_codes.append(chunk.samples.shape[-1])
        prompt.feed(block())  # so that the trigger falls at every place between two pieces of the capture
    return {"median_seconds": median(taken), "longest_seconds": max(taken), "shortest_seconds": min(taken),
            "first_chunk_samples": median(first_codes), "capture_load": sum(feeding) / seconds}


def fed(prompt: Any, samples: np.ndarray) -> float:
    began = time.perf_counter()
    prompt.feed(samples)
    return time.perf_counter() - began


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--quantize", default=None)
    parser.add_argument("--captures", type=float, nargs="+", default=[2.0, 8.0, 20.0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parse(parser)
    engine = (musicgen_engine(options.model, options.quantize) if options.model in ("small", "medium", "large")
              else sf.load(options.model, quantize=options.quantize))
    with engine:
        figures = {f"{seconds:g}": measure(engine, seconds, options.rounds) for seconds in options.captures}
        print_result("first_sound", {"model": engine.name, "quantize": options.quantize, "captures": figures})


if __name__ == "__main__":
    main()
