"""Conditioners are told which other conditions a request gives, and asked again when that changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import soundforge as sf
from soundforge.engine.conditions import ConditionBank
from soundforge.interfaces import Condition, ConditionContext, Slot

CONTEXT = ConditionContext(sample_rate=32_000, frame_rate_hz=50.0, n_frames=4)


class Remembering:
    """Prepares a value to what it was told with it."""

    def __init__(self, watches: frozenset[str]) -> None:
        self.watches = watches
        self.asked: list[Any] = []

    def prepare(self, value: Any, context: ConditionContext) -> Any:
        self.asked.append(value)
        return value, context.given

    def encode(self, prepared: Sequence[Any], context: ConditionContext) -> Condition:
        return Condition(torch.zeros(len(prepared), 1, 2), torch.zeros(len(prepared), 1, dtype=torch.bool))


def bank() -> tuple[ConditionBank, dict[str, Remembering]]:
    parts = {"text": Remembering(frozenset({"style"})), "style": Remembering(frozenset()),
             "melody": Remembering(frozenset())}
    slots = {name: Slot(name, name, 2, "cross") for name in parts}
    return ConditionBank("m", list(slots.values()), lambda name: (slots[name], parts[name], False)), parts


def test_each_item_of_a_batch_is_told_its_own() -> None:
    conditions, _ = bank()
    values = [{"text": "a"}, {"text": "b", "style": 1}]
    prepared = conditions.prepare(values, [CONTEXT] * 2, [{}] * 2)
    assert prepared.values["text"] == [("a", frozenset({"text"})), ("b", frozenset({"text", "style"}))]
    assert prepared.values["style"] == [None, (1, frozenset({"text", "style"}))]


def test_who_watches_a_slot_is_asked_again_when_it_is_given_or_taken_away() -> None:
    conditions, parts = bank()
    first = conditions.prepare([{"text": "a", "melody": 7}], [CONTEXT], [{}])
    with_style = conditions.prepare([{"text": "a", "melody": 7, "style": 1}], [CONTEXT], [{}], first, {"style"})
    assert with_style.values["text"][0][1] == {"text", "melody", "style"}
    same = conditions.prepare([{"text": "a", "melody": 7, "style": 2}], [CONTEXT], [{}], with_style, {"style"})
    assert len(parts["text"].asked) == 2  # another value in a slot that was given before changes nothing
    without = conditions.prepare([{"text": "a", "melody": 7}], [CONTEXT], [{}], same, {"style"})
    assert without.values["text"][0][1] == {"text", "melody"}
    assert len(parts["text"].asked) == 3
    assert len(parts["melody"].asked) == 1


def test_both_ends_of_a_blend_are_asked_again() -> None:
    conditions, parts = bank()
    morph = sf.Blend("a", "b", 0.5)
    first = conditions.prepare([{"text": morph}], [CONTEXT], [{}])
    again = conditions.prepare([{"text": morph, "style": 1}], [CONTEXT], [{}], first, {"style"})
    assert parts["text"].asked == ["a", "b", "a", "b"]
    assert again.values["text"][0].a == ("a", frozenset({"text", "style"}))
