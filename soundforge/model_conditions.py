"""Conditions for models that run themselves: values by slot, checked against what the model takes.

For authors of `GenerativeModel`s; decoder language models get their conditions from the engine. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from soundforge.blend import Blend
from soundforge.clip import Clip
from soundforge.errors import ConditionError
from soundforge.interfaces import ConditionContext, Conditioner, Slot
from soundforge.requests import GenerateRequest


def slot_values(request: GenerateRequest, slots: Sequence[Slot], model: str) -> dict[str, Any]:
    """What the user gave, by slot name; a slot without a value is left out, so are None and the empty text.

    Raises:
        ConditionError: a condition or options for a slot that the model does not have; the text twice.
    """
    names = [slot.name for slot in slots]
    for what, given in (("condition", request.conditions), ("options for condition", request.condition_options),
                        ("guidance for condition", request.guidance)):
        for name in given:
            if name not in names and not (what.startswith("guidance") and name == "all"):
                raise ConditionError(f"{what} {name!r} came, but model {model!r} has no slot for it; its slots: "
                                     f"{', '.join(names)}")
    values = {name: value for name, value in request.conditions.items() if value is not None
              and not (isinstance(value, str) and not value)}
    for name, value in values.items():
        if isinstance(value, Blend):
            raise ConditionError(f"condition {name!r} came as a blend of two values, but model {model!r} makes a clip "
                                 "as a whole and takes one; give one of them (over OSC: set morph to 0)")
    if request.text:
        if "text" not in names:
            raise ConditionError(f"text came, but model {model!r} has no slot for it; its slots: {', '.join(names)}")
        if values.get("text", request.text) != request.text:
            raise ConditionError("text came both as text=... and as conditions={'text': ...}; give it once")
        values["text"] = request.text
    return values


def prepare_values(values: Mapping[str, Any], conditioners: Mapping[str, Conditioner],
                   contexts: Mapping[str, ConditionContext]) -> dict[str, Any]:
    """Every slot's value behind its conditioner's `prepare`; None where there is no value.

    Raises:
        ConditionError: from the conditioners.
    """
    out: dict[str, Any] = {}
    given = frozenset(values)
    for name, conditioner in conditioners.items():
        value = values.get(name)
        if isinstance(value, Clip):
            value = value.as_waveform()
        out[name] = None if value is None else conditioner.prepare(value, replace(contexts[name], given=given))
    return out
