"""What follows a splice gets the level and the colour of what stood before it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge.audio import Samples
from soundforge.engine.splice_match import BANDS, LIMIT_DB, TAPS, SpliceMatch, _colour

RATE = 32_000


def noise(seconds: float, seed: int = 0, channels: int = 1, rate: int = RATE) -> Samples:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32)


def darker(samples: Samples, pole: float = 0.5) -> Samples:
    """A one-pole low-pass: what a dull codec does."""
    response = (1 - pole) * pole ** np.arange(60)
    return np.stack([np.convolve(channel, response)[:len(channel)] for channel in samples]).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_dull_codec_is_brightened(rate: int, channels: int) -> None:
    own, after = noise(2.0, 1, channels, rate), noise(1.0, 2, channels, rate)
    match = SpliceMatch.of(own, darker(own, 0.3), rate)
    before = np.abs(_colour(darker(after, 0.3), rate) - _colour(after, rate)).mean()
    matched = match.applied(darker(after, 0.3))
    assert np.abs(_colour(matched, rate) - _colour(after, rate)).mean() < 0.1 < 1.0 < before
    assert 20 * abs(np.log10(matched.std() / after.std())) < 0.3
    assert len(match.taps) == TAPS and 2.0 < match.colour_db <= LIMIT_DB


def test_the_same_sound_stays_as_it_is() -> None:
    own = noise(2.0)
    match = SpliceMatch.of(own, own, RATE)
    assert match.gain == 1.0 and match.colour_db == 0.0
    np.testing.assert_allclose(match.applied(own), own, atol=1e-6)


def test_nothing_is_delayed_and_no_attack_is_smeared_forwards() -> None:
    own = noise(2.0)
    match = SpliceMatch.of(own, darker(own), RATE)
    click = np.zeros((1, 2000), np.float32)
    click[0, 1000] = 1.0
    out = match.applied(click)[0]
    assert not out[:1000].any() and abs(out).argmax() == 1000
    assert np.square(out[1000:1032]).sum() > 0.95 * np.square(out).sum()


@pytest.mark.parametrize("case", ["silent", "codec silent", "short", "empty"])
def test_where_there_is_nothing_to_compare(case: str) -> None:
    own, decoded = noise(2.0), noise(2.0, 1)
    if case == "silent":
        own = np.zeros_like(own)
    if case == "codec silent":
        decoded = np.zeros_like(own)
    n = {"short": RATE // 2, "empty": 0}.get(case, own.shape[1])
    match = SpliceMatch.of(own[:, :n], 0.5 * decoded[:, :n], RATE)
    assert len(match.taps) == 1 and match.colour_db == 0.0
    assert match.gain == pytest.approx(2.0 if case == "short" else 1.0, rel=0.01)


def test_bands_without_sound_are_left_alone() -> None:
    """A held tone: the rest of the spectrum is silent in both, and noise that comes there later must not be lifted."""
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)[None]
    match = SpliceMatch.of(tone, 0.5 * tone, RATE)
    np.testing.assert_allclose(match.applied(0.5 * tone)[:, TAPS:], tone[:, TAPS:], atol=0.01)
    size = np.abs(np.fft.rfft(match.taps, 4096))
    assert match.colour_db < 0.2 and 1.9 < size.min() < size.max() < 2.1 and len(_colour(tone, RATE)) == BANDS


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=8), lead=st.integers(0, 600), channels=st.integers(1, 2))
def test_pieces_give_what_the_whole_gives(cuts: list[int], lead: int, channels: int) -> None:
    own = noise(1.5, 0, channels)
    match = SpliceMatch.of(own, darker(own), RATE)
    samples = noise(0.1, 3, channels)
    whole = match.applied(samples)[:, lead:]
    stream = match.stream(samples[:, :lead])
    edges = sorted({lead, samples.shape[1], *(c for c in cuts if c > lead)})
    pieces = [stream.apply(samples[:, a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)
