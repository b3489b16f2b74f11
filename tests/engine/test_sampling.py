"""Sampling: AudioCraft's order of filters, ties, and random numbers that belong to the request."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.engine.sampling import UniformStream, filtered_probabilities, is_greedy, sample_tokens
from soundforge.requests import SamplingParams


def kept(logits: list[float], **params: float) -> list[bool]:
    values = {"top_k": 0} | params
    return (filtered_probabilities(torch.tensor(logits), SamplingParams(**values)) > 0).tolist()  # type: ignore[arg-type]


def test_top_k_keeps_all_that_tie_with_the_last() -> None:
    assert kept([3.0, 1.0, 2.0, 1.0, 0.0], top_k=2) == [True, False, True, False, False]
    assert kept([3.0, 1.0, 2.0, 1.0, 0.0], top_k=3) == [True, True, True, True, False]
    assert kept([3.0, 1.0], top_k=250) == [True, True]


def test_top_p_wins_over_top_k_and_counts_the_probability_before_a_token() -> None:
    logits = [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]
    assert kept(logits, top_p=0.6) == [True, True, False, False]
    assert kept(logits, top_p=0.6, top_k=1) == [True, True, False, False]
    assert kept(logits, top_p=0.01) == [True, False, False, False]
    assert kept(logits, top_p=1.0) == [True] * 4


def test_temperature_comes_before_the_filters() -> None:
    # At temperature 1 the first token alone exceeds 0.6; at 4 the distribution is flat and more are needed.
    logits = [math.log(p) for p in (0.7, 0.2, 0.1)]
    assert kept(logits, top_p=0.6) == [True, False, False]
    assert sum(kept(logits, top_p=0.6, temperature=4.0)) == 2


def test_greedy_is_temperature_zero_or_one_candidate() -> None:
    logits = torch.tensor([[0.1, 2.0, 1.9]])
    for params in (SamplingParams(temperature=0.0), SamplingParams(top_k=1)):
        assert is_greedy(params)
        assert sample_tokens(logits, params, torch.tensor([0.999])).tolist() == [1]
    assert not is_greedy(SamplingParams(top_k=1, top_p=0.9))


@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(2, 50), st.integers(0, 60))
def test_what_was_ruled_out_is_never_drawn(seed: int, rows: int, card: int, top_k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 20 * torch.randn(rows, card, generator=generator)
    params = SamplingParams(top_k=top_k)
    allowed = filtered_probabilities(logits, params) > 0
    for uniforms in (torch.zeros(rows), torch.full((rows,), 1 - 2**-24), torch.rand(rows, generator=generator)):
        drawn = sample_tokens(logits, params, uniforms)
        assert bool(allowed.gather(1, drawn[:, None]).all())


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    stream = UniformStream(5, 1)
    uniforms = torch.stack([stream.next() for _ in range(20_000)])[:, 0]
    drawn = sample_tokens(probabilities.log().expand(20_000, 3), SamplingParams(top_k=0), uniforms)
    counted = torch.bincount(drawn, minlength=3) / 20_000
    # Three standard deviations of the commonest share are 0.01.
    assert (counted - probabilities).abs().max() < 0.012


@pytest.mark.parametrize("temperature", [1e-30, 1e-300, 100.0])
def test_any_temperature_gives_probabilities(temperature: float) -> None:
    probabilities = filtered_probabilities(torch.tensor([1.0, 7.0, -3.0]), SamplingParams(temperature=temperature))
    assert torch.isfinite(probabilities).all()
    assert sample_tokens(torch.tensor([[1.0, 7.0, -3.0]]), SamplingParams(temperature=1e-30),
                         torch.tensor([0.999])).tolist() == [1]


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = torch.randn(4, 30, generator=torch.Generator().manual_seed(0)).half()
    torch.testing.assert_close(filtered_probabilities(logits, SamplingParams()),
                               filtered_probabilities(logits.float(), SamplingParams()))


def test_a_stream_depends_on_its_seed_only_and_can_be_copied() -> None:
    a, b, c = UniformStream(7, 4), UniformStream(7, 4), UniformStream(8, 4)
    first = [a.next() for _ in range(100)]
    torch.rand(1000)  # somebody else's numbers
    assert all(torch.equal(x, b.next()) for x in first)
    assert not torch.equal(first[0], c.next())
    copy = a.clone()
    assert all(torch.equal(a.next(), copy.next()) for _ in range(100))


@pytest.mark.parametrize("seed", [0, -1, 2**62, -(2**63)])
def test_any_64_bit_seed_works(seed: int) -> None:
    assert 0 <= float(UniformStream(seed, 1).next()) < 1
