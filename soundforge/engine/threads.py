"""How many threads a step runs on: one for a small model, and one for what stands between the products of any model.

A step of the starter is 40 products of microseconds each. Spread over threads, each product waits for the slowest of
them, and on a machine that also plays sound or serves a browser that one is often not even running: measured with both
cores of a machine busy, two threads took 87 ms per step where one took 10. A fixed number also keeps clips the same bit
for bit on a machine whatever else it does, where torch computes the step: there the number of threads decides the order
in which sums are rounded. The compiled kernels give the same bits on any number.

What stands between two steps (guidance, sampling) is small, but where torch shares it, OpenMP's threads spin for some
milliseconds after it and take the cores from the kernels' own: with MusicGen-small's size in 4 bits on two cores a step
took 18 ms instead of 9. So that part never runs on more than one.
"""

from __future__ import annotations

import threading
from types import TracebackType

import torch

SMALL_BYTES = 64 << 20
"""Models up to this size step on one thread; larger ones have products that are worth sharing."""


_set = threading.local()
"""`count`: the threads that are set, while `OneThread` holds torch to one."""


class OneThread:
    """Context in which torch uses one thread, but for what stands in a `StepThreads` inside of it."""

    def __enter__(self) -> None:
        self._before, self._outer = torch.get_num_threads(), getattr(_set, "count", 0)
        _set.count = self._outer or self._before
        if self._before > 1:
            torch.set_num_threads(1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        _set.count = self._outer
        if self._before > 1:
            torch.set_num_threads(self._before)


class StepThreads:
    """Context in which torch uses at most `count` threads in this thread of the program; None = as it is set.

    Cheap (under a microsecond). A thread of the program that uses torch for the first time just then begins with this
    number; all others keep theirs.
    """

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        there = getattr(_set, "count", 0) or self._before
        self._now = there if self.count is None else min(self.count, there)
        if self._now != self._before:
            torch.set_num_threads(self._now)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._now != self._before:
            torch.set_num_threads(self._before)


def threads_for(weights: int, device: torch.device) -> int | None:
    """Threads of a model with so many bytes of weights."""
    return 1 if device.type == "cpu" and weights <= SMALL_BYTES else None
