"""Classifier-free guidance over any number of condition sources.

With `a` the logits under all conditions, `n` under the null condition and `a_without_i` under all but source i:

    guided = n + cfg * ((a - n) + sum over i of (w_i - 1) * (a - a_without_i))

All weights 1 is ordinary guidance. `cfg_beta` is the weight of the text: for text over an audio condition this is
the double guidance `n + cfg * (s + beta * (ts - s) - n)` of MusicGen-Style. A row (one run of the network) that no
term needs is not computed: nothing conditioned or cfg 1 halves the work exactly, and equal rows are shared.
See `docs/guidance.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from soundforge.errors import ConditionError, RequestError
from soundforge.requests import SamplingParams

Sources = frozenset[str]


@dataclass(frozen=True)
class GuidancePlan:
    """Which rows are computed and how their logits merge.

    Args:
        rows: per row the sources that are switched on in it; row 0 has all of them.
        null_row: index of the null row, or None when guidance is off.
        cfg: weight of guidance.
        corrections: `(row without source i, w_i - 1)`.
        passes: rows that run through the network together; two passes or more for two-step guidance.
    """

    rows: tuple[Sources, ...]
    null_row: int | None
    cfg: float
    corrections: tuple[tuple[int, float], ...]
    passes: tuple[tuple[int, ...], ...]

    @property
    def layout(self) -> tuple[object, ...]:
        """What every row is for: which one is null, and what others lack. A source that comes or goes in rows of the
        same purpose needs no other rows."""
        lacking = tuple((row, self.rows[0] - self.rows[row]) for row, _ in self.corrections)
        return len(self.rows), self.null_row, lacking, self.passes

    def merge(self, logits: Tensor) -> Tensor:
        """Logits by row `[R, ...]` to guided logits `[...]`."""
        full = logits[0]
        if self.null_row is None and not self.corrections:
            return full
        base = full if self.null_row is None else logits[self.null_row]
        direction = full - base
        for row, weight in self.corrections:
            direction = direction + weight * (full - logits[row])
        return base + self.cfg * direction


def plan_guidance(active: Collection[str], sampling: SamplingParams, weights: Mapping[str, float],
                  known: Collection[str], unguided: Collection[str] = ()) -> GuidancePlan:
    """Decide the rows for one batch.

    Args:
        active: sources that at least one item of the batch has a value for.
        sampling: `cfg`, `cfg_beta`, `two_step_cfg` are used.
        weights: by source name; sources that are not active are ignored, and so is a weight of 1.
        known: names of the model's slots.
        unguided: slots that stay switched on in the null row, because the model was trained so.

    Raises:
        ConditionError: a weight for a source that the model has no slot for.
        RequestError: `cfg_beta` and a weight for the text at once.
    """
    for name, weight in weights.items():
        if name not in known and weight != 1.0:
            raise ConditionError(f"guidance came for {name!r}, expected one of the model's slots: "
                                 f"{', '.join(sorted(known)) or 'it has none'}")
    effective = {name: float(weight) for name, weight in weights.items() if name in active and weight != 1.0}
    if sampling.cfg_beta is not None:
        if "text" in effective and effective["text"] != sampling.cfg_beta:
            raise RequestError(f"cfg_beta came as {sampling.cfg_beta:g} and guidance for text as "
                               f"{effective['text']:g}; they mean the same, give one of them")
        if "text" in active and sampling.cfg_beta != 1.0:
            effective["text"] = float(sampling.cfg_beta)
    everything = frozenset(active)
    null = everything & frozenset(unguided)
    rows: list[Sources] = [everything]

    def row_of(sources: Sources) -> int:
        if sources not in rows:
            rows.append(sources)
        return rows.index(sources)

    corrections = tuple((row_of(everything - {name}), weight - 1.0) for name, weight in sorted(effective.items()))
    guided = sampling.cfg != 1.0 and null != everything
    null_row = row_of(null) if guided else None
    indices = tuple(range(len(rows)))
    # AudioCraft's double guidance takes precedence over the two-step option; so do corrections here.
    two_step = sampling.two_step_cfg and len(rows) == 2 and null_row is not None and not corrections
    passes = tuple((i,) for i in indices) if two_step else (indices,)
    return GuidancePlan(tuple(rows), null_row, float(sampling.cfg), corrections, passes)
