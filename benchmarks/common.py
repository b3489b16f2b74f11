"""What all benchmarks share: timing two things in turns, the record of the machine, and the last line of JSON.

    times = alternately({"ours": ours, "theirs": theirs}, rounds=7)
    print_result("codec", {"ratio": times.ratio("theirs", "ours"), **times.figures()})

A ratio is made from runs that stand next to each other, because a shared machine is now faster, now slower: in each
round every thing runs once, in an order that turns around from round to round, and the ratio is the median over
rounds of the two times of a round.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from soundforge.machine import describe_machine


@dataclass(frozen=True)
class Times:
    """Args:
    seconds: by name, one time per round; entry i of all names belongs to the same round.
    """

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def ratio(self, above: str, below: str) -> float:
        """How many times as long `above` takes as `below`: the median over rounds."""
        return median(a / b for a, b in zip(self.seconds[above], self.seconds[below], strict=True))

    def figures(self, suffix: str = "_seconds") -> dict[str, float]:
        """Medians by name, for the result."""
        return {name + suffix: self.median(name) for name in self.seconds}


def alternately(runs: Mapping[str, Callable[[], object]], rounds: int = 5, warm_up: int = 1) -> Times:
    """Time several things in turns.

    Args:
        runs: by name; each call is one timed run.
        rounds: counted runs of each.
        warm_up: runs of each before, which are not counted: they pay for caches and lazily made tables.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(-warm_up, rounds):
        names = list(runs) if index % 2 else list(reversed(list(runs)))
        for name in names:
            taken = timed(runs[name])
            if index >= 0:
                seconds[name].append(taken)
    return Times({name: tuple(values) for name, values in seconds.items()})


def timed(run: Callable[[], object]) -> float:
    """Seconds that `run` takes, work that a GPU still has to do included."""
    synchronise()
    began = time.perf_counter()
    run()
    synchronise()
    return time.perf_counter() - began


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def percentile(values: tuple[float, ...] | list[float], share: float) -> float:
    """The value that `share` of all lie at or below (0.95: the 95th percentile)."""
    return sorted(values)[min(len(values) - 1, round(share * len(values)))]


def arguments(text: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: `--threads`; use `parse` on it."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (as it is set)")
    return parser


def parse(parser: argparse.ArgumentParser, values: list[str] | None = None) -> argparse.Namespace:
    """Parsed options; torch has the threads and a fixed seed then."""
    options = parser.parse_args(values)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return options


def print_result(name: str, figures: Mapping[str, Any]) -> None:
    """The last line: benchmark, machine, threads, commit and figures as JSON."""
    print(json.dumps(rounded({"benchmark": name, **describe_machine(), **figures})), flush=True)


def rounded(value: Any) -> Any:
    """Floats with five significant digits, in nested containers too."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value
