"""Solvers follow fields with known solutions, JASCO's network keeps its promises, pitches are heard."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.audio import Waveform
from soundforge.nn.flow_solvers import END, dopri5, euler
from soundforge.nn.jasco_network import JascoConfig, JascoNetwork
from soundforge.nn.jasco_pitch import strongest_pitches
from soundforge.nn.language_model import LanguageModelConfig


def test_the_adaptive_solver_is_as_accurate_as_asked() -> None:
    start = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for tolerance in (1e-3, 1e-5, 1e-8):
        evaluations = 0

        def field(time: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            nonlocal evaluations
            evaluations += 1
            return state * torch.cos(7 * time) * 3

        found = dopri5(field, start, tolerance, tolerance)
        exact = start * math.exp(3 * math.sin(7 * END) / 7)
        # The tolerance is a step's; over all steps, and in the interpolation at the end, errors add up.
        assert (found - exact).abs().max() < 100 * tolerance
        assert evaluations < 700


def test_euler_converges_in_the_first_order() -> None:
    start = torch.ones(1, dtype=torch.float64)
    errors = [abs(float(euler(lambda t, x: x, start, n)) - math.e) for n in (100, 200)]
    assert 1.9 < errors[0] / errors[1] < 2.1
    times: list[float] = []
    euler(lambda t, x: (times.append(float(t)), x)[1], start, 4)
    assert times == [0.0, 0.25, 0.5, 0.75]


def test_a_field_that_blows_up_is_an_error_and_ends() -> None:
    with pytest.raises(ArithmeticError, match="did not reach its end"):
        dopri5(lambda t, x: x * x * 1e3, torch.ones(2))
    with pytest.raises(ArithmeticError, match="did not reach its end"):
        dopri5(lambda t, x: x * float("nan"), torch.ones(2))


def test_a_constant_field_is_one_large_step() -> None:
    count = []
    out = dopri5(lambda t, x: (count.append(1), torch.full_like(x, 2.0))[1], torch.zeros(3))
    torch.testing.assert_close(out, torch.full((3,), 2 * END), atol=1e-5, rtol=0)
    assert len(count) < 120


def _network(skips: bool, layers: int = 4) -> JascoNetwork:
    torch.manual_seed(1)
    lm = LanguageModelConfig(d_model=16, n_heads=2, n_layers=layers, n_codebooks=1, card=1, cross_attention=True)
    return JascoNetwork(JascoConfig(lm, 6, {"chords": 3, "melody": 2}, 8, skips)).eval()


@pytest.mark.parametrize("skips", [True, False])
def test_every_input_of_the_network_counts(skips: bool) -> None:
    network = _network(skips)
    latents, text = torch.randn(2, 9, 6), torch.randn(2, 4, 16)
    conditions = {"chords": torch.randn(2, 9, 3), "melody": torch.randn(2, 7, 2)}
    beside = network.beside(conditions, 9)
    assert beside is not None and beside.shape == (2, 9, 5) and not beside[:, 7:, 3:].any()
    with torch.no_grad():
        base = network(latents, torch.tensor(0.3), beside, text)
        assert base.shape == latents.shape
        for changed in ((latents + 1, torch.tensor(0.3), beside, text), (latents, torch.tensor(0.4), beside, text),
                        (latents, torch.tensor(0.3), beside + 1, text), (latents, torch.tensor(0.3), beside, text + 1)):
            assert not torch.allclose(network(*changed), base, atol=1e-3)


def test_configurations_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="an even number"):
        _network(True, layers=3)
    lm = LanguageModelConfig(d_model=16, n_heads=2, n_layers=2, n_codebooks=1, card=1)
    with pytest.raises(ValueError, match="wings"):
        JascoConfig(lm, 6, {"wings": 3})


@given(pitch=st.integers(45, 90), level=st.floats(0.01, 1.0))
def test_a_tone_is_heard_as_its_note(pitch: int, level: float) -> None:
    rate, seconds = 22_050, 0.6
    time = np.arange(int(rate * seconds)) / rate
    hz = 440 * 2 ** ((pitch - 69) / 12)
    tone = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 5)) * level
    heard = strongest_pitches(Waveform(np.asarray(tone)[None], rate), 40, 50.0, 43, 53)
    inside = [note for note in heard[4:25] if note is not None]
    assert len(inside) >= 18 and sum(note == pitch for note in inside) >= 0.9 * len(inside)
    assert all(note is None for note in heard[34:])


def test_silence_and_noise_have_no_melody() -> None:
    assert strongest_pitches(Waveform(np.zeros((1, 8000)), 16_000), 20, 50.0, 43, 53) == [None] * 20
    noise = np.random.default_rng(1).normal(size=(1, 16_000)) * 0.1
    heard = strongest_pitches(Waveform(noise, 16_000), 50, 50.0, 43, 53)
    assert sum(note is not None for note in heard) < 10
