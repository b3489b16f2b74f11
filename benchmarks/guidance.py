"""What is saved where guidance cannot matter: no condition, or weight 1, against guided generation.

    python benchmarks/guidance.py [--model small | starter] [--quantize int4] [--seconds 1]

Without a condition the conditioned and the null row are the same, and with weight 1 the null row is multiplied by zero;
both halves the rows of every step, and the result is the same to the last bit. The network alone is timed (no codec),
in turns. The last line is JSON.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from common import alternately, arguments, parse, print_result
from sizes import musicgen_runtime

import soundforge as sf
from soundforge.engine.generate import Generation
from soundforge.engine.model import LanguageModelRuntime
from soundforge.requests import GenerateRequest, SamplingParams

KINDS: dict[str, tuple[str | None, float]] = {"guided": ("drums", 3.0), "weight_1": ("drums", 1.0),
                                              "no_condition": (None, 3.0)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--quantize", default=None)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parse(parser)
    runtime: Any = (musicgen_runtime(options.model, options.quantize) if options.model in ("small", "medium", "large")
                    else sf.load(options.model, quantize=options.quantize).model)
    frames = round(options.seconds * runtime.codec.frame_rate_hz)
    times = alternately({kind: partial(made, runtime, kind, frames) for kind in KINDS}, options.rounds)
    print_result("guidance", {"model": runtime.name, "quantize": options.quantize, "frames": frames,
                              "steps_per_second": {kind: frames / times.median(kind) for kind in KINDS},
                              "guided_over_weight_1": times.ratio("guided", "weight_1"),
                              "guided_over_no_condition": times.ratio("guided", "no_condition")})


def made(runtime: LanguageModelRuntime, kind: str, frames: int) -> None:
    text, cfg = KINDS[kind]
    request = GenerateRequest(text=text, seed=1, sampling=SamplingParams(cfg=cfg))
    Generation(runtime, [request], prompt=None, new_frames=frames).run()


if __name__ == "__main__":
    main()
