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
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
