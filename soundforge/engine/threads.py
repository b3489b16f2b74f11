"""How many threads a step of a small model runs on: one.

A step of the starter is 40 products of microseconds each. Spread over threads, each product waits for the slowest of
them, and on a machine that also plays sound or serves a browser that one is often not even running: measured with both
cores of a machine busy, two threads took 87 ms per step where one took 10. A fixed number also keeps clips the same bit
for bit on a machine whatever else it does, where torch computes the step: there the number of threads decides the order
in which sums are rounded. The compiled kernels give the same bits on any number.
"""

from __future__ import annotations

from types import TracebackType

import torch

SMALL_BYTES = 64 << 20
"""Models up to this size step on one thread; larger ones have products that are worth sharing."""


class StepThreads:
    """Context in which torch uses at most `count` threads in this thread of the program; None = as it is set.

    Cheap (under a microsecond). A thread of the program that uses torch for the first time just then begins with this
    number; all others keep theirs.
    """

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        if self.count is not None and self._before > self.count:
            torch.set_num_threads(self.count)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.count is not None and self._before > self.count:
            torch.set_num_threads(self._before)


def threads_for(weights: int, device: torch.device) -> int | None:
    """Threads of a model with so many bytes of weights."""
    return 1 if device.type == "cpu" and weights <= SMALL_BYTES else None
