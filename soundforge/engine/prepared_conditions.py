"""Conditions of one batch, checked and ready to be encoded for any set of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from soundforge.engine.blending import PreparedBlend, blend
from soundforge.engine.guidance import Sources
from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext, Conditioner, Projection, Slot
from soundforge.requests import SamplingParams

_REST = ".unweighted"
"""Marks a source: what values of the slot say besides what a weight of the slot is about."""

Part = tuple[str, tuple[Sources, ...], str]
"""A slot's name, rows, and "" or which end of a blend ("a", "b")."""


@dataclass
class PreparedConditions:
    """Conditions of one batch, checked and ready to be encoded for any set of rows.

    Args:
        slots: in the checkpoint's order, then those that conditioners brought along.
        conditioners: by slot name.
        values: by slot name, one prepared value per item; None = the null condition.
        contexts: by slot name, of the batch's first item.
        tail_frames: the largest delay.
        fixed: names of slots whose features change neither with time nor with the window.
        encoded: features that were encoded already.
        said: by slot name, the condition's name as the user said it.
        projections: by slot name, trained weights that a conditioner brought along.
        knows: whether a name is that of a condition which this model can take.
        automatic: names of slots whose conditioner needs no value.
        given: per item, names of the slots that a user gave a value for.
    """

    slots: Sequence[Slot]
    conditioners: Mapping[str, Conditioner]
    values: Mapping[str, Sequence[Any]]
    contexts: Mapping[str, ConditionContext]
    tail_frames: int = 0
    fixed: Sources = frozenset()
    encoded: dict[Part, Condition] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    projections: Mapping[str, Projection] = field(default_factory=dict)
    knows: Callable[[str], bool] = lambda name: False
    automatic: Sources = frozenset()
    given: Sequence[Sources] = ()

    @property
    def batch_size(self) -> int:
        return max((len(v) for v in self.values.values()), default=1)

    @property
    def active(self) -> Sources:
        """Slots that at least one item has a value for; where a value says more than a weight is about, that too."""
        slots = {name for name, values in self.values.items() if any(v is not None for v in values)}
        rests = {name + _REST for name in slots if any(_unweighted(value) is not None for value in self.values[name])}
        return frozenset(slots | rests)

    @property
    def laid_out_in_time(self) -> bool:
        """Whether a condition that a user gave has a place in time (a melody, a curve, chords)."""
        timed = (slot for slot in self.slots if slot.fuse == "sum" and slot.name in self.active)
        return any(slot.name not in self.automatic for slot in timed)

    @property
    def follows_the_beat(self) -> Sources:
        """Slots whose features a tempo may move: those with features per frame, and those that need no value."""
        return self.automatic | {slot.name for slot in self.slots if slot.frame_rate_hz and slot.name in self.active}

    @property
    def unguided(self) -> Sources:
        """Slots that stay on in the null row: their option `guided` is False."""
        return frozenset(slot.name for slot in self.slots if not slot.options.get("guided", True))

    def usual_weights(self, sampling: SamplingParams) -> dict[str, float]:
        """Guidance weights that the model brings for its slots (their option `weight`), for what a request leaves open.

        None where guidance is off, which shall cost no row, and none for the text beside a stated `cfg_beta`.
        """
        if sampling.cfg == 1.0:
            return {}
        weights = {slot.name: float(slot.options["weight"]) for slot in self.slots if "weight" in slot.options}
        if sampling.cfg_beta is not None:
            weights.pop("text", None)
        return weights

    def encode(self, rows: Sequence[Sources]) -> dict[str, Condition]:
        """Features by slot name, each with `len(rows) * batch_size` rows: all items of row 0, then of row 1, ..."""
        out: dict[str, Condition] = {}
        for slot in self.slots:
            prepared = [_in_row(value, slot.name, row) for row in rows for value in self.values[slot.name]]
            amounts = torch.tensor([value.amount if isinstance(value, PreparedBlend) else 0.0 for value in prepared])
            if not bool((amounts > 0).any()):
                out[slot.name] = self._end(slot, rows, prepared, "a")
            elif not bool((amounts < 1).any()):
                out[slot.name] = self._end(slot, rows, prepared, "b")
            else:
                held = slot.fuse == "sum" or bool(slot.frame_rate_hz)
                out[slot.name] = blend(self._end(slot, rows, prepared, "a"), self._end(slot, rows, prepared, "b"),
                                       amounts, held=held)
        return out

    def _end(self, slot: Slot, rows: Sequence[Sources], prepared: Sequence[Any], end: str) -> Condition:
        """Features of one end of the blends (what is no blend is the same at both), encoded once."""
        blended = any(isinstance(value, PreparedBlend) for value in prepared)
        key = (slot.name, tuple(rows), end if blended else "")
        if key not in self.encoded:
            own = [getattr(value, end) if isinstance(value, PreparedBlend) else value for value in prepared]
            context = self.contexts[slot.name]
            if slot.fuse == "sum":
                # Late codebooks draw the last frames at positions beyond them; their features are real ones, so
                # that a longer request begins with what a shorter one gives.
                context = replace(context, n_frames=context.n_frames + self.tail_frames)
            self.encoded[key] = self.conditioners[slot.name].encode(own, context)
        return self.encoded[key]

    def by_slot(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Guidance weights by slot name. A weight may be named by the slot or by the condition that feeds it; one for
        a condition that is not given now is left out.

        Raises:
            ConditionError: the model takes no condition of that name.
        """
        slots = {name: slot for slot, name in self.said.items()} | {slot.name: slot.name for slot in self.slots}
        for name, weight in weights.items():
            if name not in slots and weight != 1.0 and not self.knows(name):
                raise ConditionError(f"guidance came for {name!r}, expected one of the model's slots: "
                                     f"{', '.join(sorted(slots)) or 'it has none'}")
        return {slots[name]: weight for name, weight in weights.items() if name in slots}


def _unweighted(value: Any) -> Any:
    """What a prepared value says besides its own: the beat of a text. It stays in rows that the value's slot leaves."""
    return getattr(value, "unweighted", None)


def _in_row(value: Any, slot: str, row: Sources) -> Any:
    """The value of a slot in a row of guidance: whole, without its own part, or none."""
    if slot in row:
        return value
    return _unweighted(value) if slot + _REST in row else None
