"""A model may rest as long as its checkpoint says, or as its prompt does, and no longer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import soundforge as sf
from soundforge.engine.rests import ENDLESS, Rests
from soundforge.interfaces import RestLimits
from soundforge.testing.tiny_model import CARD, tiny_engine, tiny_parts

LIMITS = RestLimits(codes=(0, 3), first_frames=2, frames=4)
SILENT = [0, 3]


def rests(card: int = 8) -> Rests:
    return Rests(LIMITS, card, 4.0, torch.device("cpu"))  # two seconds are 8 frames


def longest(codes: list[int]) -> int:
    best = run = 0
    for code in codes:
        run = run + 1 if code in SILENT else 0
        best = max(best, run)
    return best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=12, max_size=12), min_size=1, max_size=3))
def test_what_a_prompt_allows(prompts: list[list[int]]) -> None:
    allowed = rests().allowed(torch.tensor(prompts)).tolist()
    for codes, frames in zip(prompts, allowed, strict=True):
        run = longest(codes)
        assert frames == (ENDLESS if run >= 8 else max(4, run + run // 2))


@settings(max_examples=60, deadline=None)
@given(past=st.lists(st.integers(0, 5), max_size=12), begins=st.booleans())
def test_silence_is_ruled_out_when_it_has_lasted(past: list[int], begins: bool) -> None:
    logits = torch.zeros(1, 2, 8)
    bounded = rests().bound(logits, torch.tensor([past], dtype=torch.long).view(1, -1), begins, torch.tensor([4]))
    run = 0
    while run < len(past) and past[-1 - run] in SILENT:
        run += 1
    over = run >= 4 or (begins and 2 <= run == len(past))
    ruled_out = torch.isinf(bounded[0, 0]).nonzero().flatten().tolist()
    assert ruled_out == (SILENT if over else []) and not torch.isinf(bounded[0, 1]).any()
    assert not torch.isinf(logits).any(), "what came in is left as it was"


def test_rows_are_bound_each_for_itself() -> None:
    past = torch.tensor([[1, 0, 0, 0, 0], [1, 0, 1, 0, 3], [0, 0, 3, 0, 0]])
    bounded = rests().bound(torch.zeros(3, 1, 8), past, False, torch.tensor([4, 4, ENDLESS]))
    assert torch.isinf(bounded[:, 0]).any(-1).tolist() == [True, False, False]


def test_a_model_that_likes_silence_too_much() -> None:
    """Nearly all entries are silent here; alone, in a batch, as a stream and behind a prompt the limits hold."""
    silent = tuple(range(CARD - 2))
    limits = RestLimits(codes=silent, first_frames=3, frames=6)
    engine = tiny_engine(replace(tiny_parts(), rests=limits))
    free = tiny_engine(tiny_parts())

    def runs(clip: sf.Clip) -> int:
        assert clip.codes is not None
        best = run = 0
        for code in clip.codes[0]:
            run = run + 1 if code in silent else 0
            best = max(best, run)
        return best

    alone = engine.generate("a", seconds=2.0, seed=5)
    assert alone.codes is not None and np.flatnonzero(~np.isin(alone.codes[0], silent))[0] <= 3
    assert runs(alone) <= 6 < runs(free.generate("a", seconds=2.0, seed=5))
    pair = engine.generate(["a", "b"], seconds=2.0, seed=5)
    assert np.array_equal(pair[0].codes, alone.codes) and runs(pair[1]) <= 6
    streamed = np.concatenate([chunk.samples for chunk in engine.stream("a", seconds=2.0, seed=5)], axis=-1)
    np.testing.assert_allclose(streamed, alone.waveform, atol=2e-5)


def test_silent_codes_that_cannot_be() -> None:
    for codes in ((CARD,), tuple(range(CARD))):
        with pytest.raises(sf.CheckpointError, match="silent codes beyond its"):
            tiny_engine(replace(tiny_parts(), rests=RestLimits(codes, 3, 6)))
