"""Conditioners that plugins bring: slots and widths that must fit, weights of their own, several at once, in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import soundforge as sf
from soundforge.engine.generate import Generation
from soundforge.engine.model import LanguageModelRuntime
from soundforge.errors import ConditionError, PluginError
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import (
    Condition,
    ConditionContext,
    ConditionerDescriptor,
    ConditionerSetup,
    LanguageModelParts,
    Projection,
    Slot,
    SlotWeights,
)
from soundforge.model_loading import ConditionerFinder
from soundforge.nn.language_model import LanguageModel
from soundforge.registry import Origin
from soundforge.requests import GenerateRequest, SamplingParams
from soundforge.testing.tiny_model import TinyMood, TinyPulse, TinyText, tiny_parts

THEIRS = Origin("tides", "soundforge-tides", "0.3")
OURS = Origin("tiny", "soundforge", "0")
GREEDY = SamplingParams(temperature=0.0)


class Curve:
    """Points of a level per second, held; the curve begins with the new audio."""

    def prepare(self, value: Any, context: ConditionContext) -> tuple[float, ...] | None:
        return None if value is None else tuple(float(part) for part in str(value).split())

    def encode(self, prepared: Sequence[Any], context: ConditionContext) -> Condition:
        values = torch.zeros(len(prepared), context.n_frames, 2)
        seconds = (torch.arange(context.n_frames) - context.new_start) / context.frame_rate_hz
        for row, levels in enumerate(prepared):
            if levels is not None:
                index = seconds.floor().long().clamp(0, len(levels) - 1)
                values[row, :, 0] = torch.tensor(levels)[index]
                values[row, :, 1] = 1.0
                values[row, seconds < 0] = 0.0
        mask = torch.tensor([[levels is not None] * context.n_frames for levels in prepared])
        return Condition(values, mask)


class Weighted(Curve):
    """With trained weights of its own."""

    def __init__(self, weight: Any, bias: Any = None) -> None:
        self.weights = Projection(weight, bias)

    def projection(self) -> Projection:
        return self.weights


def parts(*, pulse_width: int = 8) -> LanguageModelParts:
    made = tiny_parts()
    return replace(made, slots=[replace(item, slot=replace(item.slot, width=pulse_width))
                                if item.slot.name == "pulse" else item for item in made.slots])


def host(*descriptors: ConditionerDescriptor) -> PluginHost:
    made = create_host(load_entry_points=False)
    for name, kind, automatic in (("text", TinyText, False), ("mood", TinyMood, False), ("pulse", TinyPulse, True)):
        made.registries.conditioners.add(ConditionerDescriptor(
            f"tiny_{name}", (name,), lambda host, setup, kind=kind: kind(), automatic=automatic), OURS)  # type: ignore[misc]
    for descriptor in descriptors:
        made.registries.conditioners.add(descriptor, THEIRS)
    return made


def engine(*descriptors: ConditionerDescriptor, **keywords: Any) -> sf.Engine:
    made, of = host(*descriptors), parts(**keywords)
    return sf.Engine(LanguageModelRuntime(of, ConditionerFinder(made, of, "cpu")), made)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def curve(name: str = "tide", *, fuse: Any = "sum", weight: Any = None, setups: list[ConditionerSetup] | None = None,
          **changes: Any) -> ConditionerDescriptor:
    """A conditioner with a slot of its own."""
    def make(host: Any, setup: ConditionerSetup) -> Any:
        if setups is not None:
            setups.append(setup)
        return Weighted(drawn(7, 32, 2) if weight is None else weight)

    return ConditionerDescriptor(name, ("nothing",), make, brings=Slot(name, name, 2, fuse, 50.0), **changes)


def test_a_slot_of_its_own_with_weights_of_its_own_is_as_if_it_were_the_checkpoints() -> None:
    """The same weights once brought along and once in the checkpoint give the same codes."""
    setups: list[ConditionerSetup] = []
    with engine(curve(setups=setups)) as brought:
        clip = brought.generate("a", seconds=0.6, seed=3, conditions={"tide": "0.5 2"}, guidance={"tide": 2.5})
        plain = brought.generate("a", seconds=0.6, seed=3)
        louder = brought.generate("a", seconds=0.6, seed=3, conditions={"tide": "5 2"})
    assert (setups[0].d_model, setups[0].model, setups[0].slot.name) == (32, "tiny", "tide")
    of = parts()
    of = replace(of, slots=[*of.slots, SlotWeights(Slot("tide", "tide_in", 2, "sum", 50.0), drawn(7, 32, 2))])
    made = host(ConditionerDescriptor("tide_in", ("tide",), lambda host, setup: Curve()))
    with sf.Engine(LanguageModelRuntime(of, ConditionerFinder(made, of, "cpu")), made) as trained:
        expected = trained.generate("a", seconds=0.6, seed=3, conditions={"tide": "0.5 2"}, guidance={"tide": 2.5})
    np.testing.assert_array_equal(clip.codes, expected.codes)
    assert not np.array_equal(clip.codes, plain.codes) and not np.array_equal(clip.codes, louder.codes)


def test_its_weights_may_replace_the_checkpoints_for_a_slot_that_is_there() -> None:
    weight = drawn(9, 32, 8)

    class Pulse(TinyPulse):
        def projection(self) -> Projection:
            return Projection(weight)

    with engine(ConditionerDescriptor("my_pulse", ("pulse",), lambda host, setup: Pulse())) as theirs:
        clip = theirs.generate(seconds=0.5, seed=1, conditions={"my_pulse": 90})
        checkpoints = theirs.generate(seconds=0.5, seed=1, conditions={"pulse": 90})
    of = parts()
    of = replace(of, slots=[replace(i, weight=weight, bias=None) if i.slot.name == "pulse" else i for i in of.slots])
    made = host()
    with sf.Engine(LanguageModelRuntime(of, ConditionerFinder(made, of, "cpu")), made) as swapped:
        expected = swapped.generate(seconds=0.5, seed=1, conditions={"pulse": 90})
    np.testing.assert_array_equal(clip.codes, expected.codes)
    assert not np.array_equal(clip.codes, checkpoints.codes)


def test_several_at_once_each_with_its_own_weight() -> None:
    """Every condition's weight moves the logits by that condition's own share, whatever the others' weights are."""
    with engine(curve(), curve("swell", weight=drawn(8, 32, 2))) as made:
        runtime = made.model
        assert isinstance(runtime, LanguageModelRuntime)
        conditions = {"tide": "1", "swell": "2", "mood": sf.Waveform(np.full((1, 800), 0.3, np.float32), 8000)}

        def logits(**guidance: float) -> torch.Tensor:
            request = GenerateRequest("a b", seconds=0.2, seed=1, conditions=conditions, guidance=guidance,
                                      sampling=GREEDY)
            return Generation(runtime, [request], prompt=None, new_frames=4).window.guided_logits()

        plain = logits()
        shares = {name: logits(**{name: 2.0}) - plain for name in ("text", "mood", "tide", "swell")}
        assert all(float(share.abs().max()) > 1e-3 for share in shares.values())
        together = logits(text=2.0, mood=0.5, tide=3.0, swell=-1.0)
        expected = plain + shares["text"] - 0.5 * shares["mood"] + 2 * shares["tide"] - 2 * shares["swell"]
        torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-3)


def test_a_weight_is_named_by_the_slot_or_by_who_feeds_it() -> None:
    feeder = ConditionerDescriptor("metronome", ("pulse",), lambda host, setup: TinyPulse())
    with engine(feeder) as made:
        by_name, by_slot, plain = (made.generate(seconds=0.4, seed=2, conditions={"metronome": 100}, guidance=guidance)
                                   for guidance in ({"metronome": 4}, {"pulse": 4}, {}))
        np.testing.assert_array_equal(by_name.codes, by_slot.codes)
        assert not np.array_equal(by_name.codes, plain.codes)
        made.generate(seconds=0.1, guidance={"metronome": 4})  # not given now: nothing to act on
        with pytest.raises(ConditionError, match="guidance came for 'metrognome', expected one of"):
            made.generate(seconds=0.1, guidance={"metrognome": 4})


def test_what_has_a_place_in_time_is_one_piece_over_all_windows() -> None:
    """Beyond the window (4 s here) a curve goes on where it was; it does not begin again."""
    seen: dict[int, float] = {}

    class Watched(Weighted):
        def encode(self, prepared: Sequence[Any], context: ConditionContext) -> Condition:
            made = super().encode(prepared, context)
            start = context.window_start_frames or 0
            for frame in range(context.n_frames):
                if prepared[0] is not None:
                    level = float(made.values[0, frame, 0])
                    assert seen.setdefault(start + frame, level) == level
            return made

    weight = drawn(7, 32, 2)
    descriptor = replace(curve(), factory=lambda host, setup: Watched(weight))
    with engine(descriptor) as made:
        prompt = sf.Waveform(np.zeros((1, 8000), np.float32), 8000)
        made.extend(prompt, seconds=7, seed=1, conditions={"tide": "1 2 3 4 5 6 7"}, cfg=1)
    assert [seen[50 + 50 * second + 25] for second in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert seen[25] == 0.0


def test_after_a_capture_it_begins_with_the_new_audio() -> None:
    """A prompt that was followed while it grew knew no place for it."""
    starts: list[int] = []

    class Watched(Weighted):
        def encode(self, prepared: Sequence[Any], context: ConditionContext) -> Condition:
            starts.append(context.new_start)
            return super().encode(prepared, context)

    weight = drawn(7, 32, 2)
    with engine(replace(curve(), factory=lambda host, setup: Watched(weight))) as made:
        prompt = made.open_prompt("a", conditions={"tide": "1 2"}, seconds=0.4, bpm=120)
        prompt.feed(np.zeros((1, 8000), np.float32))
        list(prompt.continue_())
    assert starts[-1] == 50 and starts[0] == 0


@pytest.mark.parametrize(("descriptor", "what"), [
    (curve(fuse="concat"), "brings its own slot tide .concat, width 2, 50 Hz., which model 'tiny' has no way to take"),
    (ConditionerDescriptor("tide", ("chroma",), lambda host, setup: Curve(), fuse="sum", width=12),
     r"model 'tiny' has no slot for it; its slots: mood \(prepend, width 8\), .*; conditioner 'tide' of tides "
     r"\(soundforge-tides 0\.3\) feeds chroma \(sum, width 12\); .*: tiny_mood, tiny_pulse, tiny_text"),
    (ConditionerDescriptor("tide", ("pulse",), lambda host, setup: Curve(), width=12),
     r"pulse \(sum, width 8, 50 Hz\); .* feeds pulse \(width 12\)"),
    (ConditionerDescriptor("tide", ("pulse",), lambda host, setup: Curve(), frame_rate_hz=25.0),
     r"feeds pulse \(25 Hz"),
])
def test_what_fits_no_slot_is_told_with_both_sides_and_the_choices(descriptor: ConditionerDescriptor,
                                                                   what: str) -> None:
    with engine(descriptor) as made, pytest.raises(ConditionError, match=what):
        made.generate(seconds=0.1, conditions={"tide": "1"})


@pytest.mark.parametrize("weight", [drawn(1, 32, 3), drawn(1, 16, 2), "weights", torch.full((32, 2), float("nan"))])
def test_weights_that_do_not_fit_are_the_plugins_fault(weight: Any) -> None:
    with engine(curve(weight=weight)) as made, pytest.raises(PluginError, match=r"expected finite weights \[32, 2\]"):
        made.generate(seconds=0.1, conditions={"tide": "1"})


def test_a_slot_of_its_own_needs_weights() -> None:
    bare = replace(curve(), factory=lambda host, setup: Curve())
    with engine(bare) as made, pytest.raises(PluginError, match=r"plugin tides 0\.3: .*has no method projection"):
        made.generate(seconds=0.1, conditions={"tide": "1"})


@pytest.mark.parametrize("fuse", ["cross", "prepend"])
def test_it_may_be_attended_to_or_stand_in_front(fuse: str) -> None:
    with engine(curve(fuse=fuse)) as made:
        low, high, plain = (made.generate("a", seconds=0.3, seed=1, conditions=conditions)
                            for conditions in ({"tide": "1"}, {"tide": "9"}, {}))
    assert not np.array_equal(low.codes, high.codes) and not np.array_equal(low.codes, plain.codes)


def test_it_can_be_changed_while_it_streams() -> None:
    with engine(curve()) as made:
        def run(changed: bool) -> np.ndarray:
            running = made.stream_request(GenerateRequest("a", seconds=1, seed=4, conditions={"tide": "1"}))
            first = next(running)
            if changed:
                running.update(conditions={"tide": "8"})
                assert running.changes[0]["conditions"] == {"tide": "8"}
            return np.concatenate([first.codes, *(chunk.codes for chunk in running)], axis=-1)

        still, moved = run(False), run(True)
    assert np.array_equal(still[:, :2], moved[:, :2]) and not np.array_equal(still, moved)


def test_the_network_is_told_nothing_where_it_is_not_used() -> None:
    assert LanguageModel is type(parts().lm)
    with engine(curve()) as with_plugin, engine() as without:
        np.testing.assert_array_equal(with_plugin.generate("a", seconds=0.3, seed=1).codes,
                                      without.generate("a", seconds=0.3, seed=1).codes)
