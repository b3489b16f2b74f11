"""Guidance: which rows are computed, and how their logits merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from soundforge.engine.guidance import plan_guidance
from soundforge.engine.prepared_conditions import PreparedConditions
from soundforge.errors import ConditionError, RequestError
from soundforge.interfaces import Condition, ConditionContext, Slot
from soundforge.requests import SamplingParams

KNOWN = ("text", "style", "pulse")


def logits_of(sources: frozenset[str]) -> torch.Tensor:
    """Made-up logits that add up by source, so that merged ones can be said in closed form."""
    base = torch.tensor([1.0, -2.0, 0.5])
    parts = {"text": torch.tensor([0.3, 0.7, -1.0]), "style": torch.tensor([-0.2, 0.4, 0.9]),
             "pulse": torch.tensor([0.05, 0.0, -0.3])}
    return base + sum((parts[s] for s in sources), torch.zeros(3))


def merged(active: set[str], weights: dict[str, float] | None = None, **sampling: float) -> tuple[int, torch.Tensor]:
    plan = plan_guidance(active, SamplingParams(**sampling), weights or {}, KNOWN)  # type: ignore[arg-type]
    return len(plan.rows), plan.merge(torch.stack([logits_of(row) for row in plan.rows]))


def test_ordinary_guidance_is_two_rows() -> None:
    rows, logits = merged({"text"}, cfg=3.0)
    null, full = logits_of(frozenset()), logits_of(frozenset({"text"}))
    assert rows == 2
    torch.testing.assert_close(logits, null + 3.0 * (full - null))


@pytest.mark.parametrize(("active", "cfg"), [(set(), 3.0), ({"text"}, 1.0), (set(), 1.0)])
def test_guidance_is_skipped_exactly_when_it_does_nothing(active: set[str], cfg: float) -> None:
    rows, logits = merged(active, cfg=cfg)
    assert rows == 1
    assert torch.equal(logits, logits_of(frozenset(active)))


def test_cfg_zero_is_the_null_condition() -> None:
    torch.testing.assert_close(merged({"text"}, cfg=0.0)[1], logits_of(frozenset()))


def test_double_guidance_is_musicgen_styles_formula() -> None:
    rows, logits = merged({"text", "style"}, cfg=3.0, cfg_beta=5.0)
    u, s, ts = (logits_of(frozenset(x)) for x in ((), ("style",), ("text", "style")))
    assert rows == 3
    torch.testing.assert_close(logits, u + 3.0 * (s + 5.0 * (ts - s) - u))


def test_a_weight_for_the_text_and_cfg_beta_are_the_same() -> None:
    torch.testing.assert_close(merged({"text", "style"}, {"text": 5.0}, cfg=3.0)[1],
                               merged({"text", "style"}, cfg=3.0, cfg_beta=5.0)[1])
    with pytest.raises(RequestError, match="cfg_beta"):
        merged({"text"}, {"text": 2.0}, cfg_beta=3.0)


def test_weights_scale_each_sources_own_share() -> None:
    rows, logits = merged({"text", "style", "pulse"}, {"style": 0.0, "pulse": 2.5}, cfg=2.0)
    u, full = logits_of(frozenset()), logits_of(frozenset(("text", "style", "pulse")))
    style = logits_of(frozenset({"style"})) - u
    pulse = logits_of(frozenset({"pulse"})) - u
    assert rows == 4
    torch.testing.assert_close(logits, u + 2.0 * (full - u - style + 1.5 * pulse))


def test_equal_rows_are_computed_once() -> None:
    # Without the text nothing is left: that is the null row.
    assert merged({"text"}, {"text": 2.0}, cfg=3.0)[0] == 2
    assert merged({"text"}, {"style": 7.0}, cfg=3.0)[0] == 2, "a weight for a source that is off costs nothing"
    assert merged({"text"}, {"text": 2.0}, cfg=1.0)[0] == 2


def test_two_step_guidance_runs_two_passes_and_double_guidance_wins_over_it() -> None:
    plan = plan_guidance({"text"}, SamplingParams(two_step_cfg=True), {}, KNOWN)
    assert plan.passes == ((0,), (1,))
    plan = plan_guidance({"text", "style"}, SamplingParams(two_step_cfg=True, cfg_beta=2.0), {}, KNOWN)
    assert plan.passes == ((0, 1, 2),)
    assert plan_guidance(set(), SamplingParams(two_step_cfg=True), {}, KNOWN).passes == ((0,),)


def test_unguided_slots_stay_on_in_the_null_row() -> None:
    plan = plan_guidance({"text", "pulse"}, SamplingParams(), {}, KNOWN, unguided={"pulse"})
    assert plan.rows == (frozenset({"text", "pulse"}), frozenset({"pulse"}))
    assert len(plan_guidance({"pulse"}, SamplingParams(), {}, KNOWN, unguided={"pulse"}).rows) == 1


def test_a_model_may_bring_weights_for_what_a_request_leaves_open() -> None:
    slots = (Slot("text", "any", 4, "sum", options={"weight": 2.5}), Slot("pulse", "any", 4, "sum"))
    prepared = PreparedConditions(slots=slots, conditioners={}, values={}, contexts={})
    assert prepared.usual_weights(SamplingParams()) == {"text": 2.5}
    assert prepared.usual_weights(SamplingParams(cfg=1.0)) == {}, "guidance that is off costs no row"
    assert prepared.usual_weights(SamplingParams(cfg_beta=4.0)) == {}, "the two mean the same"


@dataclass(frozen=True)
class Sentence:
    """A prepared value that says more than its weight is about."""

    words: str
    unweighted: str


class Remembers:
    """A conditioner that keeps what it was to encode."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def encode(self, prepared: Sequence[object], context: ConditionContext) -> Condition:
        self.seen = list(prepared)
        return Condition(torch.zeros(len(prepared), 1, 4), torch.ones(len(prepared), 1, dtype=torch.bool))


def test_the_row_without_a_text_keeps_what_its_weight_is_not_about() -> None:
    conditioner, value = Remembers(), Sentence("techno", "120 bpm")
    context = ConditionContext(sample_rate=32_000, frame_rate_hz=50.0, n_frames=4)
    prepared = PreparedConditions(slots=(Slot("text", "any", 4, "cross", options={"weight": 3.0}),),
                                  conditioners={"text": conditioner},  # type: ignore[dict-item]
                                  values={"text": [value]}, contexts={"text": context})
    sampling = SamplingParams()
    plan = plan_guidance(prepared.active, sampling, prepared.usual_weights(sampling), ["text"])
    prepared.encode(plan.rows)
    assert conditioner.seen[0] is value
    assert conditioner.seen[plan.corrections[0][0]] == "120 bpm"
    assert plan.null_row is not None and conditioner.seen[plan.null_row] is None


def test_a_weight_for_an_unknown_slot_lists_the_choices() -> None:
    with pytest.raises(ConditionError, match=r"'colour'.*pulse, style, text"):
        merged({"text"}, {"colour": 2.0})
    assert merged({"text"}, {"colour": 1.0})[0] == 2, "a weight of 1 asks for nothing"
