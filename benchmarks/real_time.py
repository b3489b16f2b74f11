"""Can it keep up with itself: a whole window streamed, codec and sampling and all, as a listener gets it.

    python benchmarks/real_time.py [--model small | medium | starter] [--quantize int4] [--seconds 30] [--threads 2]

`small` and `medium` have musicgen's shape with random weights and EnCodec 32 kHz; guidance is on, so two rows step.
Timed from the call to the last chunk of `engine.stream`. The real-time factor of the whole run, of its last fifth
(where the cache is longest), and by how much the sound that is there would ever run behind a listener who starts with
the first chunk. The last line is JSON with the memory's bandwidth, measured before.
"""

from __future__ import annotations

import itertools
import time

from common import arguments, parse, print_result
from sizes import SIZES, musicgen_engine

import soundforge as sf
from soundforge.machine import read_bandwidth

TEXT = "warm lo-fi drums, 90 bpm"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--quantize", default="int4")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parse(parser)
    quantize = None if options.quantize == "none" else options.quantize
    bandwidth = read_bandwidth()
    engine = musicgen_engine(options.model, quantize) if options.model in SIZES else sf.load(options.model,
                                                                                            quantize=quantize)
    with engine:
        for _ in engine.stream(TEXT, seconds=1.0, seed=1):
            pass  # lazily made tables, the codec's first call
        began = time.perf_counter()
        there, ends = 0.0, []
        for chunk in engine.stream(TEXT, seconds=options.seconds, seed=2):
            there += chunk.samples.shape[-1] / chunk.sample_rate
            ends.append((there, time.perf_counter() - began))
        total, first = ends[-1][1], ends[0][1]
        late = max(at - first - sounded for (sounded, _), (_, at) in itertools.pairwise(ends))
        start = next((sounded, at) for sounded, at in ends if sounded >= 0.8 * there)
        print_result("real_time", {
            "model": engine.name, "quantize": quantize, "audio_seconds": there, "seconds": total,
            "real_time_factor": there / total, "last_fifth": (there - start[0]) / (total - start[1]),
            "first_chunk_seconds": first, "most_behind_seconds": max(0.0, late),
            "bandwidth_gb_per_second": bandwidth / 1e9})


if __name__ == "__main__":
    main()
