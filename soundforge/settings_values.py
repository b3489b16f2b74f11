"""How one setting's value is converted and checked, whether it came from a file, a variable or a flag."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soundforge.errors import SettingsError

Kind = Literal["text", "integer", "number", "flag", "path", "texts"]
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting takes: its kind, its range (inclusive) or choices, and whether it may be unset."""

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False


def text(*, optional: bool = False, choices: tuple[str, ...] = ()) -> Rule:
    return Rule("text", choices=choices, optional=optional)


def integer(low: int, high: int, *, optional: bool = False) -> Rule:
    return Rule("integer", low, high, optional=optional)


def number(low: float, high: float, *, optional: bool = False) -> Rule:
    return Rule("number", low, high, optional=optional)


def flag() -> Rule:
    return Rule("flag")


def path(*, optional: bool = False) -> Rule:
    return Rule("path", optional=optional)


def texts() -> Rule:
    return Rule("texts")


def convert(name: str, value: Any, rule: Rule) -> Any:
    """The value in the type of its rule.

    Raises:
        SettingsError: says what came and what was expected.
    """
    if rule.optional and (value is None or value == ""):
        return None
    if rule.kind in ("integer", "number"):
        return _number(name, value, rule)
    if rule.kind == "flag":
        return _flag(name, value)
    if rule.kind == "texts":
        return _texts(name, value)
    if isinstance(value, (str, os.PathLike)) and str(value) and "\0" not in str(value):
        if rule.kind == "path":
            return Path(value).expanduser()
        if not rule.choices or value in rule.choices:
            return str(value)
    raise _wrong(name, value, f"one of {', '.join(rule.choices)}" if rule.choices
                 else "a path" if rule.kind == "path" else "a text that is not empty")


def _number(name: str, value: Any, rule: Rule) -> int | float:
    whole = rule.kind == "integer"
    try:
        if isinstance(value, bool):
            raise ValueError
        # Through int first: a large integer in text would lose digits as a float.
        result: int | float = int(value) if whole and isinstance(value, str) else float(value)
        if whole and int(result) != result:
            raise ValueError
        result = int(result) if whole else result
        if not rule.low <= result <= rule.high:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise _wrong(name, value, f"a {'whole ' if whole else ''}number from "
                                  f"{_short(rule.low)} to {_short(rule.high)}") from None
    return result


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise _wrong(name, value, "true or false")


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, value, "a list of texts")
    return tuple(item.strip() for item in value if item.strip())


def _wrong(name: str, value: Any, expected: str) -> SettingsError:
    return SettingsError(f"{name} came as {value!r}, expected {expected}")


def _short(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)
