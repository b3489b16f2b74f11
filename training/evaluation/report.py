"""Figures with bootstrap intervals, and tables of them in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics import auc, bootstrap


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval and the number of items behind it."""

    value: float
    low: float
    high: float
    items: int

    def __str__(self) -> str:
        digits = 2 if abs(self.value) < 10 else 1
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def mean(values: Sequence[float] | NDArray[np.float64]) -> Figure:
    """Mean of the values that are numbers (NaN: nothing to measure in that item)."""
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if not len(array):
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    return of(len(array), lambda i: float(array[i].mean()))


def of(items: int, statistic: Callable[[NDArray[np.int64]], float]) -> Figure:
    """``statistic(indices)`` over all items, with its interval."""
    return Figure(statistic(np.arange(items)), *bootstrap(items, statistic), items)


def pair_auc(similarity: NDArray[np.float64]) -> Figure:
    """AUC of true pairs (diagonal) against shuffled ones; an item drawn twice is not its own false partner."""

    def statistic(rows: NDArray[np.int64]) -> float:
        part = similarity[np.ix_(rows, rows)]
        return auc(np.diag(part), part[rows[:, None] != rows[None]])

    return of(len(similarity), statistic)


def two_auc(high: Sequence[float], low: Sequence[float]) -> Figure:
    """AUC of two groups of clips; both are resampled."""
    a, b = np.asarray(high, dtype=np.float64), np.asarray(low, dtype=np.float64)
    n = min(len(a), len(b))
    rng = np.random.default_rng(0)
    draws = [auc(a[rng.integers(0, len(a), len(a))], b[rng.integers(0, len(b), len(b))]) for _ in range(500)]
    return Figure(auc(a, b), float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975)), 2 * n)


def table(rows: Mapping[str, Mapping[str, Figure | str]], corner: str) -> str:
    """Markdown; columns in the order in which they first come up."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| " + " | ".join([corner, *columns]) + " |", "|" + "---|" * (len(columns) + 1)]
    for name, row in rows.items():
        lines.append("| " + " | ".join([name, *(str(row.get(column, "")) for column in columns)]) + " |")
    return "\n".join(lines)
