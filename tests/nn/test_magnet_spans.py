"""MAGNeT's schedule and spans: numbers are the reference's, masks have the shape they claim."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.nn.magnet_decoding import MagnetParams, generate
from soundforge.nn.magnet_spans import FIXED_SCORE, arrangement, masked_shares, n_masked


def test_the_schedule_is_computed_in_float32() -> None:
    # Four steps, an even number of units: at t = 2/3 float64 would give one span less.
    shares = masked_shares(4)
    assert [n_masked(share, 32) for share in shares] == [32, 27, 16, 1]
    assert masked_shares(1) == [1.0]


@given(units=st.integers(1, 400), steps=st.integers(1, 40))
def test_the_masked_number_falls_and_never_reaches_zero(units: int, steps: int) -> None:
    counts = [n_masked(share, units) for share in masked_shares(steps)]
    assert counts[0] == units and counts == sorted(counts, reverse=True) and counts[-1] >= 1


@given(spans=st.integers(1, 60), span=st.integers(2, 5), data=st.data())
def test_separate_spans_are_whole_and_the_worst(spans: int, span: int, data: st.DataObject) -> None:
    kind = arrangement("nonoverlap", spans * span, span)
    scores = torch.rand(2, spans, generator=torch.Generator().manual_seed(spans))
    count = data.draw(st.integers(1, spans))
    mask = kind.mask(scores, count).view(2, spans, span)
    assert (mask.all(-1) == mask.any(-1)).all() and (mask.all(-1).sum(-1) == count).all()
    chosen = torch.where(mask[..., 0], scores, torch.inf).amin(-1)
    others = torch.where(mask[..., 0], -torch.inf, scores).amax(-1)
    assert (chosen >= others).all()


@given(frames=st.integers(6, 120), span=st.integers(2, 5), data=st.data())
def test_overlapping_spans_come_close_to_the_wanted_number(frames: int, span: int, data: st.DataObject) -> None:
    kind = arrangement("stride1", frames, span)
    count = data.draw(st.integers(1, frames))
    scores = torch.rand(1, frames, generator=torch.Generator().manual_seed(frames))
    mask = kind.mask(scores, count)[0]
    runs = "".join("x" if m else " " for m in mask.tolist()).split()
    assert runs and all(len(run) >= span for run in runs)
    assert abs(int(mask.sum()) - max(count, span)) <= 2 * span


def test_a_prompt_is_never_masked_again() -> None:
    def logits(codes: torch.Tensor, stage: int, frames: torch.Tensor) -> torch.Tensor:
        assert (codes[:, :, :7] == 3).all(), "the network was shown a masked prompt"
        return torch.randn(*frames.shape, 9, generator=torch.Generator().manual_seed(stage))

    prompt = torch.full((2, 2, 7), 3)
    for name in ("nonoverlap", "stride1"):
        params = MagnetParams((5, 3), span_arrangement=name, temperature=1.0)
        codes = generate(logits, prompt, 20, params, mask_token=9, span=3, seeds=[1, 2], guided=False)
        assert codes.shape[-1] == (18 if name == "nonoverlap" else 20)
        assert (codes[..., :7] == 3).all() and (codes < 9).all()


@pytest.mark.parametrize("name", ["nonoverlap", "stride1"])
@pytest.mark.parametrize("span", [1, 3])
def test_what_was_not_masked_stays(name: str, span: int) -> None:
    seen: list[torch.Tensor] = []

    def logits(codes: torch.Tensor, stage: int, frames: torch.Tensor) -> torch.Tensor:
        seen.append(codes.clone())
        return torch.randn(*frames.shape, 5, generator=torch.Generator().manual_seed(len(seen)))

    params = MagnetParams((8,), span_arrangement=name, temperature=1.0)
    generate(logits, torch.zeros(1, 1, 0, dtype=torch.long), 30, params, mask_token=5, span=span, seeds=[1],
             guided=False)
    assert (seen[0] == 5).all()
    for before, after in itertools.pairwise(seen):
        kept = before[0, 0] != 5
        assert int((after == 5).sum()) <= int((before == 5).sum())
        # Overlapping spans may take a settled frame along at their edge; separate ones and single frames never do.
        if name == "nonoverlap" or span == 1:
            assert torch.equal(before[0, 0][kept], after[0, 0][kept])


def test_fixed_scores_are_below_every_token_s() -> None:
    kind = arrangement("stride1", 6, 3)
    probabilities = torch.full((1, 6), 1e-30)
    scores = kind.score(probabilities, torch.tensor([[True, True, True, False, False, False]]))
    assert scores[0, 0] > 0 and scores[0, 3] == FIXED_SCORE


def test_another_arrangement_is_named() -> None:
    with pytest.raises(ValueError, match="expected nonoverlap or stride1"):
        arrangement("stride2", 9, 3)
