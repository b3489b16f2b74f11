"""How the cost of a step grows: with the position, with the batch, with the width; and memory over a long stream.

    python benchmarks/scaling.py [position batch width memory] [--quantize int8] [--minutes 5] [--plots docs/images]

Random weights, 24 layers, guidance off unless rows say otherwise; every size is timed in turns with the others. With
`--plots` each one becomes a small picture. `memory` streams the starter for so many minutes of audio and takes the
process's resident memory as it goes. The last line is JSON.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import alternately, arguments, parse, print_result
from sizes import TEXT_LENGTH, musicgen_parts

import soundforge as sf
from soundforge.machine import read_bandwidth
from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.step_bytes import bytes_per_step
from soundforge.requests import GenerateRequest

WINDOW = 1504
POSITIONS = (1, 500, 1000, 1500)
BATCHES = (1, 2, 4, 8, 16)
WIDTHS = (256, 512, 1024)
STEPS = 3


class Stepping:
    """A network with a full cache whose step is timed anywhere in it."""

    def __init__(self, lm: LanguageModel, rows: int) -> None:
        self.lm = lm
        lm.prepare_for_steps()
        fused = FusedInputs(cross=torch.randn(rows, TEXT_LENGTH, lm.config.d_model))
        self.state = lm.new_state(rows, WINDOW, fused)
        self.column = torch.zeros(rows, lm.config.n_codebooks, 1, dtype=torch.long)

    def steps(self, position: int) -> None:
        self.state.position = position - 1
        for _ in range(STEPS):
            self.lm.step(self.column, self.state)

    def bytes_read(self, position: int) -> int:
        return bytes_per_step(self.lm, self.state, position)


@torch.inference_mode()
def by_position(quantize: str | None, rounds: int) -> dict[str, Any]:
    """Seconds per step of musicgen-small's size with guidance (two rows) along its window."""
    stepping = Stepping(musicgen_parts("small", quantize).lm, 2)
    times = alternately({str(p): lambda p=p: stepping.steps(p) for p in POSITIONS}, rounds)
    seconds = {p: times.median(str(p)) / STEPS for p in POSITIONS}
    return {"x": list(POSITIONS), "seconds": list(seconds.values()),
            "bytes": [stepping.bytes_read(p) for p in POSITIONS],
            "seconds_over_bytes_slope": slope(list(POSITIONS), list(seconds.values())) / slope(
                list(POSITIONS), [stepping.bytes_read(p) / read_bandwidth() for p in POSITIONS])}


@torch.inference_mode()
def by_batch(quantize: str | None, rounds: int) -> dict[str, Any]:
    """Seconds per step of so many rows side by side, at position 250."""
    lm = musicgen_parts("small", quantize).lm
    stepping = {n: Stepping(lm, n) for n in BATCHES}
    times = alternately({str(n): lambda n=n: stepping[n].steps(250) for n in BATCHES}, rounds)
    return {"x": list(BATCHES), "seconds": [times.median(str(n)) / STEPS for n in BATCHES],
            "times_one_row": [1 / times.ratio("1", str(n)) for n in BATCHES]}


@torch.inference_mode()
def by_width(quantize: str | None, rounds: int) -> dict[str, Any]:
    """Seconds per step of 24 layers of other widths, one row, at position 250; and bytes that it reads."""
    stepping = {}
    for width in WIDTHS:
        lm = LanguageModel(LanguageModelConfig(width, width // 64, 24, 4, 2048, cross_attention=True)).eval()
        lm.requires_grad_(False)
        if quantize:
            from soundforge.nn.quantised_model import quantise_language_model

            quantise_language_model(lm, quantize)
        stepping[width] = Stepping(lm, 1)
    times = alternately({str(w): lambda w=w: stepping[w].steps(250) for w in WIDTHS}, rounds)
    return {"x": list(WIDTHS), "seconds": [times.median(str(w)) / STEPS for w in WIDTHS],
            "bytes": [stepping[w].bytes_read(250) for w in WIDTHS]}


def memory(minutes: float, most_seconds: float) -> dict[str, Any]:
    """Resident memory of a process that streams the starter without end, by seconds of audio."""
    seconds, resident, began = [], [], time.monotonic()
    with sf.load("starter") as engine:
        stream = engine.stream_request(GenerateRequest(text="techno, 120 bpm", bpm=120.0, seed=1), endless=True)
        made = 0
        for chunk in stream:
            made += chunk.samples.shape[-1]
            if not seconds or made / engine.sample_rate > seconds[-1] + 5:
                seconds.append(made / engine.sample_rate)
                resident.append(resident_bytes())
            if made > minutes * 60 * engine.sample_rate or time.monotonic() - began > most_seconds:
                stream.stop()
    tenth = max(1, len(seconds) // 10)
    return {"x": seconds, "bytes": resident,
            "growth_bytes": median(resident[-tenth:]) - median(resident[tenth:2 * tenth]), "minutes": seconds[-1] / 60}


def resident_bytes() -> int:
    """What this process holds in memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("resident memory is read from /proc, which this system does not have; leave `memory` out")


def slope(x: list[int], y: list[float]) -> float:
    """Of the least-squares line."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def plot(results: dict[str, Any], bandwidth: float, folder: Path) -> None:
    """One small picture per figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = {"position": "position in the window", "batch": "rows side by side", "width": "width of the network",
              "memory": "minutes of audio streamed"}
    for name, result in results.items():
        figure, axes = pyplot.subplots(figsize=(4.6, 2.9), dpi=110)
        if name == "memory":
            axes.plot([s / 60 for s in result["x"]], [b / 2**20 for b in result["bytes"]], color="C0")
            axes.set_ylabel("resident memory, MiB")
        else:
            axes.plot(result["x"], [1000 * s for s in result["seconds"]], "o-", color="C0", label="measured")
            if "bytes" in result:
                axes.plot(result["x"], [1000 * b / bandwidth for b in result["bytes"]], "--", color="C1",
                          label=f"bytes read at {bandwidth / 1e9:.0f} GB/s")
            axes.legend(frameon=False, fontsize=8)
            axes.set_ylabel("ms per step")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(labels[name])
        axes.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(folder / f"performance-{name}.png")
        pyplot.close(figure)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("what", nargs="*", default=["position", "batch", "width", "memory"])
    parser.add_argument("--quantize", default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--most-seconds", type=float, default=3600.0, help="end the stream of `memory` by then")
    parser.add_argument("--plots", type=Path, default=None)
    options = parse(parser)
    run = {"position": lambda: by_position(options.quantize, options.rounds),
           "batch": lambda: by_batch(options.quantize, options.rounds),
           "width": lambda: by_width(options.quantize, options.rounds),
           "memory": lambda: memory(options.minutes, options.most_seconds)}
    results, bandwidths = {}, []
    for name in options.what:
        bandwidths.append(read_bandwidth())
        results[name] = run[name]()
    bandwidth = median(itertools.chain(bandwidths, [read_bandwidth()]))
    if options.plots is not None:
        plot(results, bandwidth, options.plots)
    for name, result in results.items():
        if name == "memory":
            result["x"], result["bytes"] = result["x"][::10], result["bytes"][::10]
    print_result("scaling", {"quantize": options.quantize, "read_bandwidth_bytes": bandwidth, **results})


if __name__ == "__main__":
    main()
