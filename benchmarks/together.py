"""Independent requests in one step loop: frames per second of all together, beside one after the other.

    python benchmarks/together.py [--size small] [--requests 1 2 4 8 16] [--seconds 0.5] [--device cpu] [--bfloat16]

Texts, seeds and lengths differ (the k-th request is up to 20 % shorter), all guided. The network alone is timed.
`alone` is one request by itself, with the step that serves it best on this machine. The last line is JSON.
"""

from __future__ import annotations

from common import alternately, arguments, parse, print_result
from sizes import musicgen_runtime

from soundforge.engine.generate import Generation
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.together import Together
from soundforge.requests import GenerateRequest


def generations(runtime: LanguageModelRuntime, count: int, seconds: float) -> list[Generation]:
    made = []
    for index in range(count):
        frames = max(1, round(seconds * (1 - 0.2 * index / max(count - 1, 1)) * 50))
        request = GenerateRequest(text=f"text number {index}", seed=index)
        made.append(Generation(runtime, [request], prompt=None, new_frames=frames))
    return made


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--size", default="small", choices=["small", "medium", "large"])
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parse(parser)
    runtime = musicgen_runtime(options.size, "bfloat16" if options.bfloat16 else None, options.device)

    def alone() -> None:
        generations(runtime, 1, options.seconds)[0].run()

    def together(count: int) -> None:
        Together(runtime, 2 * count).run(generations(runtime, count, options.seconds))

    def frames(count: int) -> int:
        return sum(g.new_frames or 0 for g in generations(runtime, count, options.seconds))

    times = alternately({"alone": alone, **{str(n): lambda n=n: together(n) for n in options.requests}}, options.rounds)
    one = frames(1)
    print_result("together", {
        "model": runtime.name, "device": options.device, "bfloat16": options.bfloat16, "frames_alone": one,
        "frames_per_second_alone": one / times.median("alone"),
        "frames_per_second": {n: frames(n) / times.median(str(n)) for n in options.requests},
        "aggregate_over_alone": {n: frames(n) / one / times.ratio(str(n), "alone") for n in options.requests}})


if __name__ == "__main__":
    main()
