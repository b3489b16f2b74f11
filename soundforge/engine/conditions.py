"""From what a user passes as conditions to the fused inputs of a batch.

Two stages, as the contract of conditioners says: `prepare` checks values and does the slow work, once per item;
`encode` (see `PreparedConditions`) gives features for all rows of a batch, in which null rows (for guidance) are padded
jointly with the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from soundforge.audio import Waveform
from soundforge.blend import Blend
from soundforge.clip import Clip
from soundforge.engine.blending import PreparedBlend
from soundforge.engine.prepared_conditions import PreparedConditions
from soundforge.errors import ConditionError
from soundforge.interfaces import (
    BringsProjection,
    ConditionContext,
    Conditioner,
    Projection,
    Slot,
    describe_slot,
)
from soundforge.requests import GenerateRequest
from soundforge.take import Take

FindConditioner = Callable[[str], "tuple[Slot, Conditioner, bool] | None"]
"""By a condition's name: the slot it feeds, the conditioner, and whether that is automatic; None if unknown. A slot
that the checkpoint does not have is the conditioner's own, with a projection of its own."""

@dataclass(frozen=True)
class Choice:
    """What feeds a slot: the condition's name as the user said it, the slot, the conditioner, automatic or not."""

    name: str
    slot: Slot
    conditioner: Conditioner
    automatic: bool


class ConditionBank:
    """The conditioners of one model by slot.

    Not thread-safe: conditioners are never called for two requests at once; the caller holds the engine's lock.

    Args:
        model: its name, for error messages.
        slots: in the checkpoint's order.
        find: see `FindConditioner`; called with slot names and with names of other conditioners.
        tail_frames: the largest delay.
    """

    def __init__(self, model: str, slots: Sequence[Slot], find: FindConditioner, tail_frames: int = 0) -> None:
        self.model = model
        self.slots = tuple(slots)
        self._find = find
        self._tail_frames = tail_frames
        self._projections: dict[tuple[str, Conditioner], Projection | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(slot.name for slot in self.slots)

    @property
    def listens(self) -> bool:
        """Whether a conditioner makes features without a user's value (from the tempo, or from what it hears)."""
        found = [self._find(slot.name) for slot in self.slots]
        return any(item is not None and item[2] for item in found)

    def collect(self, request: GenerateRequest) -> dict[str, Any]:
        """Values by condition name: `text` and `conditions` together, without those that mean "nothing".

        Raises:
            ConditionError: the text came twice.
        """
        values = {name: value for name, value in request.conditions.items() if not _is_nothing(value)}
        if request.text:
            if "text" in values and values["text"] != request.text:
                raise ConditionError("text came both as text=... and as conditions={'text': ...}; give it once")
            values["text"] = request.text
        return values

    def prepare(self, values: Sequence[Mapping[str, Any]], contexts: Sequence[ConditionContext],
                options: Sequence[Mapping[str, Mapping[str, Any]]],
                previous: PreparedConditions | None = None,
                changed: Collection[str] | None = None) -> PreparedConditions:
        """Check and prepare the values of a batch, one mapping (see `collect`) per item.

        Args:
            values: by condition name.
            contexts: of the window.
            options: `condition_options`.
            previous: the same values prepared for an earlier window: only what is made from the context is anew.
            changed: `previous` is of this very window, and the conditions of these names have other values than there:
                only those are anew.

        Raises:
            ConditionError: a condition that the model has no slot for, two for one slot, or a bad value.
        """
        chosen = self._choose(name for item in values for name in item)
        self._check_options(options)
        given = tuple(frozenset(slot for slot, choice in chosen.items() if choice.name in item) for item in values)
        contexts = [replace(context, given=names) for context, names in zip(contexts, given, strict=True)]
        prepared: dict[str, list[Any]] = {}
        conditioners: dict[str, Conditioner] = {}
        timeless: set[str] = set()
        kept: set[str] = set()
        ends_kept: set[str] = set()
        own_contexts: dict[str, ConditionContext] = {}
        projections: dict[str, Projection] = {}
        slots = [choice.slot for choice in chosen.values()]
        for slot_name, choice in chosen.items():
            conditioners[slot_name] = choice.conditioner
            projection = self._projection(choice)
            if projection is not None:
                projections[slot_name] = projection
            old = None if previous is None or slot_name not in previous.values else previous
            if old is not None and _seen(choice.conditioner, given) != _seen(choice.conditioner, old.given):
                old = None  # what it prepared rests on what else was given
            if old is not None and changed is not None:
                anew = bool({slot_name, choice.name, old.said[slot_name]} & set(changed))
            else:
                anew = old is None or choice.automatic
            if old is not None and not anew:
                prepared[slot_name] = list(old.values[slot_name])
                options_now = old.contexts[slot_name].options
                own_contexts[slot_name] = replace(contexts[0], options=options_now)
                if slot_name in old.fixed:
                    timeless.add(slot_name)
                if slot_name in old.fixed or changed is not None:
                    kept.add(slot_name)
                continue
            prepared[slot_name], own_contexts[slot_name] = _prepare_row(choice, values, contexts, options, old)
            if old is not None and changed is not None and _same_ends(prepared[slot_name], old.values[slot_name]):
                ends_kept.add(slot_name)
            if not (choice.automatic or choice.slot.fuse == "sum" or choice.slot.frame_rate_hz
                    or any(_is_audio(item.get(choice.name)) for item in values)):
                timeless.add(slot_name)
        encoded = {} if previous is None else {
            key: features for key, features in previous.encoded.items()
            if key[0] in kept or (key[0] in ends_kept and key[2])}
        return PreparedConditions(slots, conditioners, prepared, own_contexts, self._tail_frames,
                                  frozenset(timeless), encoded, {slot: choice.name for slot, choice in chosen.items()},
                                  projections, self._knows,
                                  frozenset(slot for slot, choice in chosen.items() if choice.automatic), given)

    def _knows(self, name: str) -> bool:
        try:
            return self._find(name) is not None
        except ConditionError:
            return True  # a registered conditioner that does not fit this model: its weight has nothing to act on

    def _projection(self, choice: Choice) -> Projection | None:
        """The weights that a conditioner brings along, asked for once; the finder has checked them."""
        key = (choice.slot.name, choice.conditioner)
        if key not in self._projections:
            brings = isinstance(choice.conditioner, BringsProjection)
            self._projections[key] = choice.conditioner.projection() if brings else None  # type: ignore[attr-defined]
        return self._projections[key]

    def _choose(self, names: Iterable[str]) -> dict[str, Choice]:
        """Per slot, in order, what feeds it."""
        chosen: dict[str, Choice] = {}
        for name in dict.fromkeys(names):
            found = self._find(name)
            if found is None:
                near = difflib.get_close_matches(name, self.names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "and no loaded plugin has a conditioner of that name"
                raise ConditionError(f"condition {name!r} came, but model {self.model!r} has no slot for it "
                                     f"({hint}); its slots: {self._describe_slots()}")
            slot, conditioner, automatic = found
            if slot.name in chosen:
                raise ConditionError(f"conditions {chosen[slot.name].name!r} and {name!r} both feed the slot "
                                     f"{slot.name!r} of model {self.model!r}; give one of them")
            chosen[slot.name] = Choice(name, slot, conditioner, automatic)
        for slot in self.slots:
            if slot.name not in chosen:
                found = self._find(slot.name)
                if found is None:
                    raise ConditionError(f"slot {slot.name!r} of model {self.model!r} has no conditioner; expected "
                                         f"the registered conditioner {slot.conditioner!r}")
                chosen[slot.name] = Choice(slot.name, slot, found[1], found[2])
        return {name: chosen[name] for name in dict.fromkeys([*self.names, *chosen])}

    def _check_options(self, options: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
        for name in {name for item in options for name in item}:
            if name not in self.names and self._find(name) is None:
                raise ConditionError(f"options came for condition {name!r}, but model {self.model!r} has no slot for "
                                     f"it; its slots: {self._describe_slots()}")

    def _describe_slots(self) -> str:
        return ", ".join(describe_slot(slot) for slot in self.slots) or "it takes no conditions"


def _seen(conditioner: Conditioner, given: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Of the slots that have values, per item, those that the conditioner watches."""
    watched: frozenset[str] = getattr(conditioner, "watches", frozenset())
    return [names & watched for names in given]


def _prepare_row(choice: Choice, values: Sequence[Mapping[str, Any]], contexts: Sequence[ConditionContext],
                 options: Sequence[Mapping[str, Mapping[str, Any]]],
                 old: PreparedConditions | None) -> tuple[list[Any], ConditionContext]:
    """One prepared value per item, and the context of the first."""
    name, slot = choice.name, choice.slot.name
    row: list[Any] = []
    first: ConditionContext | None = None
    for index, (item, context, option) in enumerate(zip(values, contexts, options, strict=True)):
        own = replace(context, options=option.get(name, option.get(slot, {})))
        first = first or own
        row.append(_prepare_one(choice, item, own, None if old is None else old.values[slot][index]))
    assert first is not None
    return row, first


def _prepare_one(choice: Choice, item: Mapping[str, Any], context: ConditionContext, old: Any) -> Any:
    """One item's value, prepared; of a blend whose ends were prepared before only the amount is taken."""
    value, prepare = item.get(choice.name), choice.conditioner.prepare
    if isinstance(value, Blend):
        if isinstance(old, PreparedBlend) and _same(old.source.a, value.a) and _same(old.source.b, value.b):
            return replace(old, amount=value.amount, source=value)
        a, b = (None if _is_nothing(end) and not choice.automatic else prepare(_as_audio(end), context)
                for end in (value.a, value.b))
        return PreparedBlend(a, b, value.amount, value)
    return prepare(_as_audio(value), context) if choice.name in item or choice.automatic else None


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, str) and isinstance(other, str) and one == other)


def _same_ends(new: Sequence[Any], old: Sequence[Any]) -> bool:
    """Whether two rows of prepared values differ in amounts only."""
    return len(new) == len(old) and all(
        (isinstance(one, PreparedBlend) and isinstance(other, PreparedBlend) and one.a is other.a and one.b is other.b)
        or (one is None and other is None) for one, other in zip(new, old, strict=True))


def _is_audio(value: Any) -> bool:
    ends = (value.a, value.b) if isinstance(value, Blend) else (value,)
    return any(isinstance(_as_audio(end), Waveform) for end in ends)


def _as_audio(value: Any) -> Any:
    """Clips and takes as waveforms, all else as it is."""
    if isinstance(value, Take):
        return value.waveform
    return value.as_waveform() if isinstance(value, Clip) else value


def _is_nothing(value: Any) -> bool:
    """None and the empty text; a text of blanks is a description."""
    return value is None or (isinstance(value, str) and value == "")
