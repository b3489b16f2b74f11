"""From OSC values to the arguments of a command: types, ranges and defaults, with errors that name all three.

Numbers are taken as int or float alike (Pure Data sends nothing but floats); a number where a name is meant is written
with `%g`; nil, "" and a missing trailing argument mean the default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from soundforge import RequestError
from soundforge_bridges.osc.reader import Value

Kind = Literal["text", "name", "whole", "number", "value"]
LETTER = {"text": "s", "name": "s", "whole": "i", "number": "f", "value": ""}


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an address.

    Args:
        name: for users.
        kind: `text`; `name` (a text, or a number written with %g); `whole`; `number`; `value` (text or number).
        default: what a missing one means; `REQUIRED` = there is no default.
        low, high: range of numbers, inclusive.
        absent: in words, what a missing one means where the default does not say it.
    """

    name: str
    kind: Kind
    default: Any = REQUIRED
    low: float = -math.inf
    high: float = math.inf
    absent: str = ""

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        if self.kind in ("text", "name"):
            return "a text"
        what = {"whole": "a whole number", "number": "a number", "value": "a text or a number"}[self.kind]
        return what if math.isinf(self.low) else f"{what} from {self.low:g} to {self.high:g}"

    def __str__(self) -> str:
        letter = LETTER[self.kind]
        return f"{letter}:{self.name}" if letter else self.name


def bind(arguments: Sequence[Argument], values: Sequence[Value]) -> list[Any]:
    """The values in their arguments' types, defaults filled in.

    Raises:
        RequestError: too many, missing, wrong type, not finite, or out of range.
    """
    if len(values) > len(arguments):
        takes = " ".join(str(argument) for argument in arguments) or "no arguments"
        raise RequestError(f"{len(values)} arguments came, expected {takes}")
    padded = [*values, *[None] * (len(arguments) - len(values))]
    return [convert(argument, value) for argument, value in zip(arguments, padded, strict=True)]


def convert(argument: Argument, value: Value) -> Any:
    """One value in its argument's type; raises RequestError."""
    if value is None or (value == "" and argument.kind != "value"):
        if argument.required:
            raise RequestError(f"{argument.name} is missing, expected {argument.expected}")
        return argument.default
    if isinstance(value, str):
        if argument.kind in ("text", "name", "value"):
            return value
        raise _wrong(argument, repr(value[:60]))
    if isinstance(value, (bytes, tuple)):
        raise _wrong(argument, "a blob" if isinstance(value, bytes) else "an array")
    if argument.kind == "value":
        return int(value) if isinstance(value, bool) else value  # its range, NaN included, is the parameter's to check
    if not math.isfinite(value):
        raise _wrong(argument, f"{value}")
    if argument.kind == "name":
        return f"{value:g}"
    if argument.kind == "text":
        raise _wrong(argument, f"the number {value:g}")
    if argument.kind == "whole" and value != int(value):
        raise _wrong(argument, f"{value:g}")
    if not argument.low <= value <= argument.high:
        raise _wrong(argument, f"{value:g}")
    return int(value) if argument.kind == "whole" else float(value)


def _wrong(argument: Argument, came: str) -> RequestError:
    return RequestError(f"{argument.name} came as {came}, expected {argument.expected}")
