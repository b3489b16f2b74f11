"""The table of `param/NAME`: type, default, range, meaning. Bridges, documentation and validation derive from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from soundforge.errors import RequestError

Kind = Literal["text", "number", "integer", "switch"]
Value = str | float | int | bool
MAX_TEXT = 2000
MAX_WEIGHTS = 64
GUIDANCE = "guidance/"


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter.

    Args:
        name: as in `/soundforge/param/NAME`.
        kind: text, number, integer or switch (0 / 1).
        default: at the start.
        low, high: inclusive range of numbers.
        summary: one line for users, with the unit.
        live: acts on running jobs too, or on the sound at once.
    """

    name: str
    kind: Kind
    default: Value
    low: float
    high: float
    summary: str
    live: bool = False

    def check(self, value: Any) -> Value:
        """The value in this parameter's type; numbers come as int or float alike, switches as 0/1 or bool.

        Raises:
            RequestError: wrong type or range, NaN.
        """
        if self.kind == "text":
            if not isinstance(value, str):
                raise RequestError(f"{self.name} came as {value!r}, expected text")
            if len(value) > MAX_TEXT:
                raise RequestError(f"{self.name} came with {len(value)} characters, expected at most {MAX_TEXT}")
            return value
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise RequestError(f"{self.name} came as {value!r}, expected a number from {self.low:g} to {self.high:g}")
        if not self.low <= value <= self.high:
            raise RequestError(f"{self.name} came as {value:g}, expected {self.low:g} to {self.high:g}")
        if self.kind == "switch":
            return bool(value)
        if self.kind == "integer":
            if value != int(value):
                raise RequestError(f"{self.name} came as {value:g}, expected a whole number")
            return int(value)
        return float(value)


_ALL = (
    Param("text", "text", "", 0, 0, "what the music should be; empty = unconditional", live=True),
    Param("text_b", "text", "", 0, 0, "what the music is morphed to; empty = nothing", live=True),
    Param("morph", "number", 0.0, 0.0, 1.0, "from text (0) to text_b (1)", live=True),
    Param("seconds", "number", 8.0, 0.1, 3600.0, "length of new audio in seconds"),
    Param("bars", "number", 0.0, 0.0, 1000.0, "length of new audio in bars; 0 = use seconds"),
    Param("temperature", "number", 1.0, 0.0, 100.0, "divides the logits; 0 = always the likeliest", live=True),
    Param("top_k", "integer", 250, 0, 1_000_000, "draw from the k likeliest; 0 = all", live=True),
    Param("top_p", "number", 0.0, 0.0, 1.0, "draw from the smallest set with this probability; 0 = off", live=True),
    Param("cfg", "number", 3.0, -100.0, 100.0, "guidance weight; 1 = none", live=True),
    Param("seed", "integer", -1, -1, 2**53, "seed of the next job; -1 = a new one each time"),
    Param("gain", "number", 1.0, 0.0, 4.0, "output gain, linear", live=True),
    Param("quantum", "number", 4.0, 0.0, 256.0, "launch grid in beats; 0 = at once"),
    Param("crossfade_ms", "number", 10.0, 0.0, 500.0, "crossfade at a splice, milliseconds"),
    Param("processors", "text", "", 0, 0, "clip processors for the clips that are written, in their order, such as "
          "loudness:lufs=-14 peak_safe"),
    Param("decoder", "text", "", 0, 0, "decoder of what is generated from nothing, such as mbd or mbd:steps=10; "
          "empty = the codec's own"),
    Param("options", "text", "", 0, 0, "the model's own options, such as solver=euler,steps=20 (JASCO) or "
          "decoding_steps=10/5/5/5 (MAGNeT); language models take none"),
    Param("monitor", "switch", False, 0, 1, "the input is heard at the output", live=True),
    Param("autoplay", "switch", True, 0, 1, "what is generated is played"),
)
PARAMS: Mapping[str, Param] = {param.name: param for param in _ALL}


def find_param(name: str) -> Param:
    """The parameter of a name; `guidance/NAME` exists for every condition name.

    Raises:
        RequestError: no such parameter.
    """
    if name in PARAMS:
        return PARAMS[name]
    condition = name.removeprefix(GUIDANCE)
    if condition != name and condition.replace("_", "").isalnum() and len(condition) <= 64:
        return Param(name, "number", 1.0, -100.0, 100.0, f"weight of {condition} relative to 1; "
                     "until it is set the model's own (the starter: text 3, chroma 2)", live=True)
    raise RequestError(f"param came as {name[:80]!r}, expected one of {', '.join(PARAMS)}, {GUIDANCE}NAME")


class ParamValues:
    """The current values. Not thread-safe: it belongs to the event loop."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {param.name: param.default for param in _ALL}
        self._chosen: set[str] = set()

    def get(self, name: str) -> Value:
        """Raises RequestError for an unknown name."""
        return self._values.get(name, find_param(name).default)

    def set(self, name: str, value: Any) -> Value:
        """Check and keep a value; gives it in its type. Raises RequestError, also for the 65th weight of guidance."""
        checked = find_param(name).check(value)
        if name not in self._values and len(self._values) >= len(_ALL) + MAX_WEIGHTS:
            raise RequestError(f"{name} came, and {MAX_WEIGHTS} weights are set already; use the names of the model's "
                               "conditions")
        self._values[name] = checked
        self._chosen.add(name)
        return checked

    def apply_defaults(self, defaults: Mapping[str, Any]) -> list[str]:
        """A model's own defaults, for what the user has not chosen; gives what has another value now. What is no
        parameter is left out."""
        before = dict(self._values)
        for param in _ALL:
            if param.name not in self._chosen:
                self._values[param.name] = param.check(defaults.get(param.name, param.default))
        return [name for name, value in self._values.items() if before.get(name) != value]

    def forget_guidance(self, known: Collection[str]) -> list[str]:
        """Drop the weights of conditions that are not known; gives the parameters that have their default again."""
        gone = [name for name in self._values
                if name.startswith(GUIDANCE) and name.removeprefix(GUIDANCE) not in known]
        for name in gone:
            del self._values[name]
            self._chosen.discard(name)
        return gone

    def number(self, name: str) -> float:
        value = self.get(name)
        assert not isinstance(value, str), f"{name} is text"
        return float(value)

    def text(self, name: str) -> str:
        return str(self.get(name))

    def guidance(self) -> dict[str, float]:
        """Weights that were set, by condition name."""
        return {name.removeprefix(GUIDANCE): float(value) for name, value in self._values.items()
                if name.startswith(GUIDANCE) and not isinstance(value, str)}
