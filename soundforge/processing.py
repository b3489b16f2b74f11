"""Clip processors as a request names them: `"loudness:lufs=-14 peak_safe"`, names, or names with options.

What is understood, by `processor_calls`:

    "loudness:lufs=-14,peak=1 peak_safe"         text, as OSC and the command line give it
    ["fade", ("loudness", {"lufs": -14})]        names, and pairs of name and options

Processors run in this order, on the finished clip, before it is written. Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from soundforge.errors import RequestError

ProcessorCall = tuple[str, Mapping[str, Any]]
"""A registered clip processor's name and its options."""

MOST_CALLS = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,63}")
_EXPECTED = "expected names of clip processors with options, such as 'loudness:lufs=-14 peak_safe'"


def processor_calls(value: Any) -> tuple[ProcessorCall, ...]:
    """What a user gave as pairs of name and options.

    Raises:
        RequestError: not of the forms above.
    """
    if value is None or value == "":
        return ()
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, Sequence) or len(items) > MOST_CALLS:
        raise RequestError(f"processors came as {str(value)[:60]!r}, {_EXPECTED}, at most {MOST_CALLS}")
    return tuple(_call(item) for item in items)


def decoder_call(text: str | None) -> tuple[str | None, dict[str, Any] | None]:
    """A decoder's name and options from text such as `"mbd:steps=10"`; two None for None and "".

    Raises:
        RequestError: several names, or not of this form.
    """
    calls = processor_calls(text)
    if len(calls) > 1:
        raise RequestError(f"decoder came as {str(text)[:60]!r}, expected one name, with options as in mbd:steps=10")
    return (calls[0][0], dict(calls[0][1])) if calls else (None, None)


def model_options(text: str) -> dict[str, Any]:
    """A model's own options from text such as `"solver=euler,steps=20"`; numbers with slashes are lists of them.

        model_options("decoding_steps=10/5/5/5")   # {"decoding_steps": (10, 5, 5, 5)}

    Raises:
        RequestError: not of this form.
    """
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.strip().partition("=")
        if not name or not equals or not value:
            raise RequestError(f"options came as {text[:60]!r}, expected key=value, several of them separated by "
                               "commas, such as solver=euler,steps=20")
        found[name] = _number_or_text(value) if "/" not in value else tuple(map(_number_or_text, value.split("/")))
    return found


def _call(item: Any) -> ProcessorCall:
    if isinstance(item, str):
        name, colon, rest = item.partition(":")
        options = dict(_option(part, item) for part in rest.split(",")) if colon else {}
    elif isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[1], Mapping):
        name, options = item[0], dict(item[1])
    else:
        raise RequestError(f"a processor came as {str(item)[:60]!r}, {_EXPECTED}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(f"a processor came as {str(item)[:60]!r}, {_EXPECTED}")
    return name, options


def _option(text: str, whole: str) -> tuple[str, float | int | str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise RequestError(f"processor {whole[:60]!r} has an option {text!r}, expected key=value, several of them "
                           "separated by commas")
    return name, _number_or_text(value)


def _number_or_text(value: str) -> float | int | str | bool:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
