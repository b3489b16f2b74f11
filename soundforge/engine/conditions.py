"""From what a user passes as conditions to the fused inputs of a batch.

Two stages, as the contract of conditioners says: `prepare` checks values and does the slow work, once per item;
`encode` gives features for all rows of a batch, in which null rows (for guidance) are padded jointly with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.engine.guidance import Sources
from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext, Conditioner, Slot
from soundforge.requests import GenerateRequest
from soundforge.take import Take

FindConditioner = Callable[[str], "tuple[Slot, Conditioner, bool] | None"]
"""By a condition's name: the slot it feeds, the conditioner, and whether that is automatic; None if unknown."""


@dataclass
class PreparedConditions:
    """Conditions of one batch, checked and ready to be encoded for any set of rows.

    Args:
        slots: in the checkpoint's order.
        conditioners: by slot name.
        values: by slot name, one prepared value per item; None = the null condition.
        contexts: by slot name, of the batch's first item.
        tail_frames: the largest delay.
        fixed: names of slots whose features change neither with time nor with the window.
        encoded: features of `fixed` slots that were encoded already, by slot name and rows.
    """

    slots: Sequence[Slot]
    conditioners: Mapping[str, Conditioner]
    values: Mapping[str, Sequence[Any]]
    contexts: Mapping[str, ConditionContext]
    tail_frames: int = 0
    fixed: Sources = frozenset()
    encoded: dict[tuple[str, tuple[Sources, ...]], Condition] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return max((len(v) for v in self.values.values()), default=1)

    @property
    def active(self) -> Sources:
        """Slots that at least one item has a value for."""
        return frozenset(name for name, values in self.values.items() if any(v is not None for v in values))

    @property
    def unguided(self) -> Sources:
        """Slots that stay on in the null row: their option `guided` is False."""
        return frozenset(slot.name for slot in self.slots if not slot.options.get("guided", True))

    def encode(self, rows: Sequence[Sources]) -> dict[str, Condition]:
        """Features by slot name, each with `len(rows) * batch_size` rows: all items of row 0, then of row 1, ..."""
        out: dict[str, Condition] = {}
        for slot in self.slots:
            key = (slot.name, tuple(rows))
            if key not in self.encoded:
                prepared = [value if slot.name in row else None for row in rows for value in self.values[slot.name]]
                context = self.contexts[slot.name]
                if slot.fuse == "sum":
                    # Late codebooks draw the last frames at positions beyond them; their features are real ones, so
                    # that a longer request begins with what a shorter one gives.
                    context = replace(context, n_frames=context.n_frames + self.tail_frames)
                features = self.conditioners[slot.name].encode(prepared, context)
                if slot.name not in self.fixed:
                    out[slot.name] = features
                    continue
                self.encoded[key] = features
            out[slot.name] = self.encoded[key]
        return out


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
                previous: PreparedConditions | None = None) -> PreparedConditions:
        """Check and prepare the values of a batch, one mapping (see `collect`) per item.

        Args:
            values: by condition name.
            contexts: of the window.
            options: `condition_options`.
            previous: the same values prepared for an earlier window: only what is made from the context is anew.

        Raises:
            ConditionError: a condition that the model has no slot for, two for one slot, or a bad value.
        """
        chosen = self._choose(name for item in values for name in item)
        self._check_options(options)
        prepared: dict[str, list[Any]] = {}
        conditioners: dict[str, Conditioner] = {}
        timeless: set[str] = set()
        own_contexts: dict[str, ConditionContext] = {}
        for slot in self.slots:
            name, conditioner, automatic = chosen[slot.name]
            conditioners[slot.name] = conditioner
            row: list[Any] = []
            if previous is not None and not automatic:
                prepared[slot.name] = list(previous.values[slot.name])
                own_contexts[slot.name] = replace(contexts[0], options=previous.contexts[slot.name].options)
                if slot.name in previous.fixed:
                    timeless.add(slot.name)
                continue
            for item, context, option in zip(values, contexts, options, strict=True):
                own = replace(context, options=option.get(name, option.get(slot.name, {})))
                own_contexts.setdefault(slot.name, own)
                if name in item or automatic:
                    row.append(conditioner.prepare(_as_audio(item.get(name)), own))
                else:
                    row.append(None)
            prepared[slot.name] = row
            if not (automatic or slot.fuse == "sum" or slot.frame_rate_hz
                    or any(isinstance(_as_audio(item.get(name)), Waveform) for item in values)):
                timeless.add(slot.name)
        encoded = dict(previous.encoded) if previous is not None else {}
        return PreparedConditions(self.slots, conditioners, prepared, own_contexts, self._tail_frames,
                                  frozenset(timeless), encoded)

    def _choose(self, names: Iterable[str]) -> dict[str, tuple[str, Conditioner, bool]]:
        """Per slot: the condition name that feeds it, the conditioner, automatic or not."""
        chosen: dict[str, tuple[str, Conditioner, bool]] = {}
        for name in dict.fromkeys(names):
            found = self._find(name)
            if found is None:
                raise ConditionError(f"condition {name!r} came, but model {self.model!r} has no slot for it; "
                                     f"its slots: {self._describe_slots()}")
            slot, conditioner, automatic = found
            if slot.name in chosen:
                raise ConditionError(f"conditions {chosen[slot.name][0]!r} and {name!r} both feed the slot "
                                     f"{slot.name!r} of model {self.model!r}; give one of them")
            chosen[slot.name] = (name, conditioner, automatic)
        for slot in self.slots:
            if slot.name not in chosen:
                found = self._find(slot.name)
                if found is None:
                    raise ConditionError(f"slot {slot.name!r} of model {self.model!r} has no conditioner; expected "
                                         f"the registered conditioner {slot.conditioner!r}")
                chosen[slot.name] = (slot.name, found[1], found[2])
        return chosen

    def _check_options(self, options: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
        for name in {name for item in options for name in item}:
            if name not in self.names and self._find(name) is None:
                raise ConditionError(f"options came for condition {name!r}, but model {self.model!r} has no slot for "
                                     f"it; its slots: {self._describe_slots()}")

    def _describe_slots(self) -> str:
        return ", ".join(f"{s.name} ({s.fuse}, width {s.width})" for s in self.slots) or "it takes no conditions"


def _as_audio(value: Any) -> Any:
    """Clips and takes as waveforms, all else as it is."""
    if isinstance(value, Take):
        return value.waveform
    return value.as_waveform() if isinstance(value, Clip) else value


def _is_nothing(value: Any) -> bool:
    """None and the empty text; a text of blanks is a description."""
    return value is None or (isinstance(value, str) and value == "")
