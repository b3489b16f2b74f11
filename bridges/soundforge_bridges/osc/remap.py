"""Other programs' addresses in terms of ours, and back: what a map of addresses says. `remap_file` reads it from TOML.

Pure values: a `Target` makes our arguments of theirs, an `Echo` makes theirs of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from soundforge_bridges.osc.reader import Value


@dataclass(frozen=True, slots=True)
class Scaling:
    """From `in_low`..`in_high` to `low`..`high`, evenly or by equal ratios (log); None = values stay as they are."""

    low: float
    high: float
    in_low: float = 0.0
    in_high: float = 1.0
    curve: Literal["linear", "log"] = "linear"

    def value(self, came: float) -> float:
        """Ours for theirs; beyond the ends is the end."""
        at = min(1.0, max(0.0, (came - self.in_low) / (self.in_high - self.in_low)))
        if at in (0.0, 1.0):
            return self.high if at else self.low
        if self.curve == "log":
            return float(self.low * (self.high / self.low) ** at)
        return self.low + (self.high - self.low) * at

    def back(self, ours: float) -> float:
        """Theirs for ours."""
        if self.curve == "log":
            at = math.log(max(ours, 1e-30) / self.low) / math.log(self.high / self.low)
        else:
            at = (ours - self.low) / (self.high - self.low)
        return self.in_low + min(1.0, max(0.0, at)) * (self.in_high - self.in_low)


@dataclass(frozen=True, slots=True)
class Target:
    """What one of their addresses means. `argument`: which of its values (from 1); `arguments`: what is sent on;
    `whole`: what is scaled is rounded, for parameters that take whole numbers."""

    to: str
    scaling: Scaling | None = None
    argument: int = 1
    arguments: tuple[Any, ...] = ()
    press: bool = False
    whole: bool = False

    def values(self, came: Sequence[Value]) -> list[Value] | None:
        """The arguments of our message; None when a button was let go.

        Raises:
            IndexError: the value that is named did not come.
        """
        if self.press and came:
            pressed = came[self.argument - 1]
            middle = 0.5 if self.scaling is None else (self.scaling.in_low + self.scaling.in_high) / 2
            if isinstance(pressed, (int, float)) and not pressed > middle:
                return None
        return [self._one(came, int(item[1:])) if _is_place(item) else item for item in self.arguments]

    def _one(self, came: Sequence[Value], number: int) -> Value:
        value = came[number - 1]
        if self.scaling is not None and isinstance(value, (int, float)):
            scaled = self.scaling.value(float(value))
            return round(scaled) if self.whole else scaled
        return value


@dataclass(frozen=True, slots=True)
class Echo:
    """One of our outgoing addresses as theirs. `fader`: the address also sends us this parameter, scaled so."""

    address: str
    argument: int = 1
    scaling: Scaling | None = None
    fader: Target | None = None

    def value(self, values: Sequence[Any]) -> Any:
        """What is sent; None when ours holds no such value."""
        if len(values) < self.argument:
            return None
        value = values[self.argument - 1]
        if isinstance(value, str):
            return value
        if self.fader is not None:
            return value if self.fader.scaling is None else self.fader.scaling.back(float(value))
        return value if self.scaling is None else self.scaling.value(float(value))

    def stands(self, theirs: Value, values: Sequence[Any]) -> bool:
        """What stands at their address means our value already: many places of a fader may be one whole number."""
        if self.fader is None or len(values) < self.argument:
            return False
        meant, ours = self.fader.values([theirs]), values[self.argument - 1]
        if meant is None or len(meant) != 1:
            return False
        first = meant[0]
        if isinstance(first, (int, float)) and isinstance(ours, (int, float)):
            return math.isclose(first, ours, rel_tol=1e-5, abs_tol=1e-9)
        return bool(first == ours)


@dataclass(frozen=True)
class AddressMap:
    """A whole file: `incoming` by their address, `outgoing` by ours."""

    incoming: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    outgoing: Mapping[str, tuple[Echo, ...]] = field(default_factory=dict)
    feedback_port: int | None = None


def _is_place(item: Any) -> bool:
    return isinstance(item, str) and item[:1] == "$" and item[1:].isdigit() and int(item[1:]) > 0
