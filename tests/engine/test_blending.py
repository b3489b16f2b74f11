"""Morphing from one value of a condition to another, while it runs: exact at the ends, heard between, repeatable."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import soundforge as sf
from soundforge.engine.blending import blend
from soundforge.engine.generate import Generation
from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, Slot
from soundforge.model_conditions import slot_values
from soundforge.requests import GenerateRequest, SamplingParams
from soundforge.testing.tiny_model import TinyText, tiny_engine, tiny_runtime

GREEDY = SamplingParams(temperature=0.0)
A, B = "warm strings", "harsh techno kick hats"


def condition(*lengths: int, seed: int = 0, longest: int | None = None) -> Condition:
    n = longest or max(lengths)
    mask = torch.arange(n)[None] < torch.tensor(lengths)[:, None]
    return Condition(torch.randn(len(lengths), n, 3, generator=torch.Generator().manual_seed(seed)), mask)


@pytest.mark.parametrize("held", [True, False])
def test_the_ends_are_exact_and_the_middle_lies_between(held: bool) -> None:
    first, second = condition(2, 2, 2), condition(5, 5, 5, seed=1)
    mixed = blend(first, second, torch.tensor([0.0, 1.0, 0.25]), held=held)
    torch.testing.assert_close(mixed.values[1], second.values[1], rtol=0, atol=0)
    torch.testing.assert_close(mixed.values[0, :2], first.values[0], rtol=0, atol=0)
    assert mixed.mask[1].all() and bool(mixed.mask[0, :2].all()) and bool(mixed.mask[0, 2:].all()) is held
    places = [0, 1, 1, 1, 1] if held else [0, 1, 0, 1, 0]
    torch.testing.assert_close(mixed.values[2], 0.75 * first.values[2, places] + 0.25 * second.values[2])


def test_from_nothing_a_condition_is_faded_in() -> None:
    nothing = Condition(torch.full((1, 1, 3), float("nan")), torch.zeros(1, 1, dtype=torch.bool))
    something = condition(3)
    mixed = blend(nothing, something, torch.tensor([0.5]), held=False)
    torch.testing.assert_close(mixed.values, 0.5 * something.values)
    assert mixed.mask.all()


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan"), "half", True])
def test_amounts_that_cannot_be(amount: Any) -> None:
    with pytest.raises(ConditionError, match="amount of a blend came as"):
        sf.Blend("a", "b", amount)


def test_no_blend_in_a_blend() -> None:
    with pytest.raises(ConditionError, match="a blend came inside a blend"):
        sf.Blend(sf.Blend("a", "b"), "c")


def logits(amount: float) -> torch.Tensor:
    request = GenerateRequest(seconds=1, seed=1, conditions={"text": sf.Blend(A, B, amount)}, sampling=GREEDY)
    return Generation(tiny_runtime(), [request], prompt=None, new_frames=20).window.guided_logits()


def test_the_network_hears_the_way_from_a_to_b() -> None:
    with tiny_engine() as engine:
        pure = [engine.generate(text, seconds=0.4, seed=1, temperature=0) for text in (A, B)]
        ends = [engine.generate(seconds=0.4, seed=1, temperature=0, conditions={"text": sf.Blend(A, B, amount)})
                for amount in (0, 1)]
    for own, end in zip(pure, ends, strict=True):
        np.testing.assert_array_equal(own.codes, end.codes)
    a, b = logits(0.0), logits(1.0)
    to_b = [float((logits(amount) - b).norm() / (a - b).norm()) for amount in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert to_b[0] == pytest.approx(1.0) and to_b[-1] == 0.0
    assert all(later < earlier for earlier, later in itertools.pairwise(to_b)), to_b


class Counted(TinyText):
    prepared = encoded = 0

    def prepare(self, value: Any, context: Any) -> Any:
        Counted.prepared += 1
        return super().prepare(value, context)

    def encode(self, prepared: Any, context: Any) -> Condition:
        Counted.encoded += 1
        return super().encode(prepared, context)


def test_a_fader_costs_no_second_reading_of_the_texts() -> None:
    runtime = tiny_runtime()
    find, counted = runtime.conditions._find, Counted()
    runtime.conditions._find = lambda name: (find(name)[0], counted, False) if name == "text" else find(name)  # type: ignore[index]
    request = GenerateRequest(seconds=2, seed=1, conditions={"text": sf.Blend(A, B, 0.1)}, guidance={"text": 2.0})
    generation = Generation(runtime, [request], prompt=None, new_frames=100)
    before = Counted.prepared, Counted.encoded
    for step in range(20):
        generation.step()
        generation.update(conditions={"text": sf.Blend(A, B, 0.1 + step / 25)})
    assert (Counted.prepared, Counted.encoded) == before
    generation.update(conditions={"text": sf.Blend(A, "something else", 0.5)})
    assert Counted.prepared == before[0] + 2


def test_a_morph_while_it_streams_is_recorded_and_gives_the_same_again() -> None:
    def morphed(moves: dict[int, float]) -> tuple[np.ndarray, list[dict[str, Any]]]:
        with tiny_engine() as engine:
            request = GenerateRequest(seconds=2, seed=5, conditions={"text": sf.Blend(A, B, 0.0)})
            running = engine.stream_request(request)
            pieces, made = [], 0
            for chunk in running:
                pieces.append(chunk.codes)
                made += chunk.codes.shape[-1]
                for frame in sorted(moves):
                    if made >= frame:
                        running.update(conditions={"text": sf.Blend(A, B, moves.pop(frame))})
            return np.concatenate(pieces, axis=-1), running.changes

    still, _ = morphed({})
    moved, changes = morphed({20: 0.5, 40: 1.0})
    again, _ = morphed({20: 0.5, 40: 1.0})
    np.testing.assert_array_equal(moved, again)
    first = changes[0]["frame"]
    assert 20 <= first < 60 and len(changes) == 2
    np.testing.assert_array_equal(moved[:, :first], still[:, :first])
    assert not np.array_equal(moved[:, first:], still[:, first:])


def test_its_record_comes_back(tmp_path: Any) -> None:
    from soundforge.wav import read_clip

    with tiny_engine() as engine:
        made = engine.generate(seconds=0.3, seed=2, conditions={"text": sf.Blend(A, B, 0.3)})
        read = read_clip(made.save(tmp_path / "clip.wav"))
        assert read.request.conditions["text"] == sf.Blend(A, B, 0.3)
        np.testing.assert_array_equal(engine.run([read.request])[0].waveform, made.waveform)


def test_a_model_that_makes_clips_as_a_whole_refuses_a_blend() -> None:
    request = GenerateRequest(conditions={"text": sf.Blend(A, B, 0.3)})
    with pytest.raises(ConditionError, match="'text' came as a blend of two values, but model 'flow' makes a clip as"):
        slot_values(request, [Slot("text", "text", 8, "cross")], "flow")
