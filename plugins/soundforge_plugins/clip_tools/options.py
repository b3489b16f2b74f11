"""Options of clip processors: known names, others refused in one line."""

from __future__ import annotations

import difflib
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
