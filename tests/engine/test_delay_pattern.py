"""Delay pattern: against a slow, literal description of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.engine.delay_pattern import UNKNOWN, DelayPattern

DELAYS = st.lists(st.integers(0, 5), min_size=1, max_size=8).map(sorted)


@given(DELAYS, st.integers(1, 12), st.data())
def test_frame_t_of_book_k_stands_at_t_plus_delay_plus_one(delays: list[int], n_frames: int,
                                                            data: st.DataObject) -> None:
    given_frames = data.draw(st.integers(0, n_frames))
    pattern = DelayPattern(delays, special_token=99)
    codes = torch.arange(2 * len(delays) * given_frames).view(2, len(delays), given_frames)
    sequence = pattern.delay(codes, n_frames)
    assert sequence.shape == (2, len(delays), n_frames + max(delays) + 1)
    for book, delay in enumerate(delays):
        for s in range(sequence.shape[-1]):
            t = s - 1 - delay
            token = sequence[:, book, s].tolist()
            if 0 <= t < given_frames:
                assert token == codes[:, book, t].tolist()
            else:
                assert token == [UNKNOWN if given_frames <= t < n_frames else 99] * 2
    assert torch.equal(pattern.undelay(sequence, 0, given_frames), codes)


@given(DELAYS, st.integers(1, 12), st.data())
def test_known_positions_and_complete_frames(delays: list[int], n_frames: int, data: st.DataObject) -> None:
    given_frames = data.draw(st.integers(0, n_frames))
    pattern = DelayPattern(delays, special_token=99)
    sequence = pattern.delay(torch.zeros(1, len(delays), given_frames, dtype=torch.long), n_frames)
    unknown = (sequence == UNKNOWN).any(dim=1)[0].tolist()
    known = unknown.index(True) if True in unknown else len(unknown)
    if given_frames < n_frames:
        assert pattern.known_positions(given_frames) == known
    else:
        assert pattern.known_positions(given_frames) <= known
    # A frame is complete when its most delayed book is.
    for positions in range(sequence.shape[-1] + 1):
        complete = pattern.complete_frames(positions)
        assert all(t + max(delays) + 1 < positions for t in range(complete))
        assert complete + max(delays) + 1 >= positions


def test_an_open_tail_leaves_the_places_after_the_end_unknown() -> None:
    pattern = DelayPattern((0, 2), special_token=9)
    codes = torch.zeros(1, 2, 0, dtype=torch.long)
    assert pattern.delay(codes, 2).tolist() == [[[9, -1, -1, 9, 9], [9, 9, 9, -1, -1]]]
    assert pattern.delay(codes, 2, open_tail=True).tolist() == [[[9, -1, -1, -1, -1], [9, 9, 9, -1, -1]]]


def test_defined_marks_what_teacher_forcing_keeps() -> None:
    assert DelayPattern((0, 1, 3), 9).defined(4).tolist() == [
        [True, True, True, True], [True, True, True, False], [True, False, False, False]]


@pytest.mark.parametrize("delays", [[], [1, 0], [-1, 0]])
def test_impossible_delays_are_refused(delays: list[int]) -> None:
    with pytest.raises(ValueError, match="delays came as"):
        DelayPattern(delays, 9)
