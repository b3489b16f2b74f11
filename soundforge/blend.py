"""A value between two values of a condition, for morphing from one to the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from soundforge.errors import ConditionError


@dataclass(frozen=True)
class Blend:
    """`conditions={"text": sf.Blend("warm strings", "harsh techno", 0.3)}`.

    The features of the two values are mixed frame by frame (see `soundforge.engine.blending`). At 0 and at 1 the
    result is exactly that of `a` or `b` alone.

    Args:
        a, b: values of the condition; None or "" is the null condition.
        amount: 0 = `a`, 1 = `b`.

    Raises:
        ConditionError: another amount.
    """

    a: Any
    b: Any
    amount: float = 0.5

    def __post_init__(self) -> None:
        amount = self.amount
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not math.isfinite(amount) or \
                not 0.0 <= amount <= 1.0:
            raise ConditionError(f"the amount of a blend came as {amount!r}, expected a number from 0 to 1")
        if isinstance(self.a, Blend) or isinstance(self.b, Blend):
            raise ConditionError("a blend came inside a blend, expected two values of the condition")
