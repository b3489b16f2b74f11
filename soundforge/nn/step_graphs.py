"""The static step as a CUDA graph: captured once per size, replayed for every step.

A step of a language model at batch 1 is hundreds of small kernels, and launching them one by one takes longer than
they run. A captured graph launches them as one. Everywhere else the very same function is simply called: what is tested
on a CPU is what a graph records. It was not run on a GPU by the authors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from soundforge.nn.static_step import StaticStep

SPAN_BUCKET = 256
"""Positions are looked at in whole buckets: so many graphs per window, and at most so much is read in vain."""

WARM_UP = 3
"""Runs before a capture, as PyTorch asks for: they choose kernels and allocate what they keep."""


class StepGraphs:
    """Runs a `StaticStep`. Not thread-safe, as the step is not.

    Args:
        step: what is run.
        capture: None = where the step is on CUDA.
    """

    def __init__(self, step: StaticStep, capture: bool | None = None) -> None:
        self.step = step
        self._capture = step.device.type == "cuda" if capture is None else capture
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None

    def run(self, rows: int, longest: int) -> Tensor:
        """One step of the first `rows` rows, of whose positions the largest is `longest - 1`.

        Returns:
            logits float32 `[rows, K, card]`, a buffer that the next step writes again.
        """
        span = min(self.step.capacity, -(-longest // SPAN_BUCKET) * SPAN_BUCKET)
        if not self._capture:
            return self.step(rows, span)
        key = (rows, span)
        if key not in self._graphs:
            self._graphs[key] = self._captured(rows, span)
        self._graphs[key].replay()
        return self.step.logits[:rows]

    def forget(self) -> None:
        """Drop what was captured: the step has other buffers now."""
        self._graphs.clear()

    def _captured(self, rows: int, span: int) -> torch.cuda.CUDAGraph:
        # Warm-up writes this step's keys and values where the replay will write them again: nothing is spoilt.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.step(rows, span)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self.step(rows, span)
        self._pool = self._pool or graph.pool()
        return graph
