"""Bounds on the shapes that a configuration may ask for.

A configuration comes from a file that anybody may have written. The bounds lie far beyond every published codec;
they keep a file from asking for a million layers, which would be built before any tensor is found missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

WIDTH = (1, 1 << 16)
KERNEL = (1, 1 << 10)
LAYERS = (0, 64)
CODEBOOKS = (1, 1 << 10)
ENTRIES = (2, 1 << 24)
SAMPLE_RATE = (1, 768_000)
CHANNELS = (1, 64)
MAX_RATIOS = 16
MAX_HOP = 1 << 20


def check_integers(config: Any, bounds: Mapping[str, tuple[int, int]]) -> None:
    """Raises ValueError unless each named entry of `config` is a whole number within its bounds."""
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} is {str(value)[:40]!r}, expected a whole number from {low} to {high}")


def check_flags(config: Any, names: tuple[str, ...]) -> None:
    """Raises ValueError unless each named entry of `config` is true or false."""
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ValueError(f"{name} is {str(getattr(config, name))[:40]!r}, expected true or false")


def check_fraction(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {str(value)[:40]!r}, expected a number from 0 to 1")


def checked_ratios(value: Any) -> tuple[int, ...]:
    """Strides as a tuple; raises ValueError unless there are a few, each at least 1, with a sensible product."""
    ratios = tuple(value) if isinstance(value, (list, tuple)) else ()
    whole = all(isinstance(ratio, int) and not isinstance(ratio, bool) and ratio >= 1 for ratio in ratios)
    if not 1 <= len(ratios) <= MAX_RATIOS or not whole or math.prod(ratios) > MAX_HOP:
        raise ValueError(f"strides are {str(value)[:60]!r}, expected 1 to {MAX_RATIOS} whole numbers")
    return ratios
