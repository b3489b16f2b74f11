"""One decode step of MusicGen-small's size on the CPU, beside others', and how near to the memory's limit it is.

    python benchmarks/lm_step.py [--threads 2] [--ours float32 int8 int4] [--theirs float32 bfloat16] [--rounds 3]
                                 [--positions 0 750 1496 | --whole] [--audiocraft OTHER_ENVIRONMENT/bin/python]

Random weights: 24 layers, width 1024, 16 heads, 4 codebooks of 2048, cross-attention to 16 vectors, batch 1 with
guidance (two rows). All caches stand at a position, then each thing makes a few steps there, in turns, with a pause
between them in which the threads of the one before go to sleep.

`--whole`: ours make all 1,500 steps of the window, a stretch of 300 at a time, in turns with the others, who make a few
steps in the middle of each stretch. Their cost grows on a straight line with the position, so 300 times a step in the
middle is what the stretch would take; all of theirs, 1,500 steps, would take longer than a benchmark can.

The limit is the time to read what a step must read (weights, and the filled keys and values) at the bandwidth measured
in the same run, before and after the steps. Last line: JSON.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

import torch
from common import arguments, parse, print_result
from step_models import AudioCraft, Ours, Steps, Transformers

from soundforge.machine import read_bandwidth

STEPS_AT_ONCE = 3
WINDOW, STRETCH = 1500, 300
PAUSE_SECONDS = 0.02
"""OpenMP's threads spin for some milliseconds after their work; whoever comes next would have to share the cores."""

KINDS = ("float32", "int8", "int4")
Seconds = dict[str, list[float]]


def turns(models: Mapping[str, Steps], rounds: int, warm_up: int = 1) -> Seconds:
    """Seconds per step, one figure a round, from where the models stand; `warm_up` rounds before are not counted."""
    taken: Seconds = {name: [] for name in models}
    for turn in range(-warm_up, rounds):
        for name in (list(models) if turn % 2 else reversed(list(models))):
            time.sleep(PAUSE_SECONDS)
            seconds = models[name].seconds(STEPS_AT_ONCE) / STEPS_AT_ONCE
            if turn >= 0:
                taken[name].append(seconds)
    return taken


def at_positions(ours: Mapping[str, Ours], theirs: Mapping[str, Steps], positions: Sequence[int],
                 rounds: int) -> Seconds:
    """Median seconds per step of each at each position."""
    found: Seconds = {name: [] for name in (*ours, *theirs)}
    for position in positions:
        for model in (*ours.values(), *theirs.values()):
            model.stand_at(position)
        for name, values in turns({**ours, **theirs}, rounds).items():
            found[name].append(median(values))
        print(f"position {position:5}: " + ", ".join(f"{name} {1e3 * values[-1]:.1f} ms"
                                                     for name, values in found.items()), flush=True)
    return found


def whole_window(ours: Mapping[str, Ours], theirs: Mapping[str, Steps]) -> Seconds:
    """Seconds per step in each stretch: of all steps of ours, of a few in the middle of theirs."""
    found: Seconds = {name: [] for name in (*ours, *theirs)}
    for model in ours.values():
        model.stand_at(0)
    for index, start in enumerate(range(0, WINDOW, STRETCH)):
        for other in theirs.values():
            other.stand_at(start + STRETCH // 2)
        for name, values in turns(theirs, rounds=1, warm_up=0).items():
            found[name].append(median(values))
        for name in (list(ours) if index % 2 else reversed(list(ours))):
            time.sleep(PAUSE_SECONDS)
            found[name].append(ours[name].seconds(STRETCH) / STRETCH)
        print(f"steps {start:4} to {start + STRETCH}: " + ", ".join(f"{name} {1e3 * values[-1]:.1f} ms"
                                                                     for name, values in found.items()), flush=True)
    return found


def figures(seconds: Seconds, positions: Sequence[int], ours: Mapping[str, Ours], bandwidth: float) -> dict[str, Any]:
    """All of a result; `positions` is where the entries of `seconds` stand."""
    over_all = {name: mean(values) for name, values in seconds.items()}
    best = min((value for name, value in over_all.items() if name.startswith("transformers")), default=None)
    found: dict[str, Any] = {
        "size": "musicgen-small, random weights, 2 rows, 16 cross-attended vectors", "positions": positions,
        "kernels": next((m.lm.compiled.isa for m in ours.values() if m.lm.compiled is not None), None),
        "read_gb_per_second": bandwidth / 1e9,
        "milliseconds": {name: [1e3 * v for v in values] for name, values in seconds.items()},
        "steps_per_second": {name: 1 / value for name, value in over_all.items()}}
    for name, model in ours.items():
        limit = [model.bytes_at(position) / bandwidth for position in positions]
        found[name] = {"share_of_limit": mean(limit) / over_all[name],
                       "share_of_limit_at": [least / taken for least, taken in zip(limit, seconds[name], strict=True)],
                       "gigabytes_last_step": model.bytes_at(positions[-1]) / 1e9,
                       "times_transformers": None if best is None else best / over_all[name],
                       "times_audiocraft": (over_all["audiocraft"] / over_all[name] if "audiocraft" in over_all
                                            else None),
                       "real_time_factor": 1 / over_all[name] / 50}
    return found


@torch.inference_mode()
def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[0, 250, 500, 750, 1000, 1250, 1496])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--theirs", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--audiocraft", metavar="PYTHON", help="of an environment that has AudioCraft")
    parser.add_argument("--whole", action="store_true", help="all 1,500 steps of ours, instead of positions")
    options = parse(parser)
    bandwidth = read_bandwidth()
    ours = {name: Ours(name) for name in options.ours}
    theirs: dict[str, Steps] = {f"transformers_{name}": Transformers(name) for name in options.theirs}
    audiocraft = AudioCraft(options.audiocraft, options.threads) if options.audiocraft else None
    if audiocraft is not None:
        theirs["audiocraft"] = audiocraft
    positions = list(range(STRETCH // 2, WINDOW, STRETCH)) if options.whole else options.positions
    seconds = whole_window(ours, theirs) if options.whole else at_positions(ours, theirs, positions, options.rounds)
    bandwidth = max(bandwidth, read_bandwidth())
    if audiocraft is not None:
        audiocraft.close()
    whole = {"window_seconds": {name: sum(values) * STRETCH for name, values in seconds.items()}}
    print_result("lm_step", figures(seconds, positions, ours, bandwidth) | (whole if options.whole else {}))


if __name__ == "__main__":
    main()
