"""What users say to conditions that otherwise find their value themselves: a number, or "off"."""

from __future__ import annotations

from typing import Any

from soundforge.errors import ConditionError


def is_off(value: Any) -> bool:
    """Whether the condition is switched off."""
    return isinstance(value, str) and value.strip().lower() in ("off", "none")


def stated_number(value: Any, name: str, expected: str) -> float | None:
    """The number that a user stated; None = to be found.

    Args:
        name: of the condition, for the message.
        expected: what the number is.

    Raises:
        ConditionError: no number.
    """
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ConditionError(f"condition {name!r} came as {value!r}, expected {expected} or 'off'") from None
