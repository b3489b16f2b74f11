"""Options of clip processors: known names and numbers in range, refused in one line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from soundforge import RequestError

P = TypeVar("P")


def made_from(name: str, kind: Callable[..., P], options: Mapping[str, Any]) -> P:
    """The processor with these options.

    Raises:
        RequestError: an option that it does not have.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RequestError(f"clip processor {name!r} got option {option!r}, expected {', '.join(known)}{hint}")
    return kind(**options)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise RequestError unless `value` is a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RequestError(f"{name} came as {value!r}, expected a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise RequestError(f"{name} came as {value:g}, expected {low:g} to {high:g}")
