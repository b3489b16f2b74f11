"""Calls into plugins: the failure is named, a hang is left behind and refused until it ends, torch's modes go along."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from soundforge import guarded_parts
from soundforge.audio import Waveform
from soundforge.errors import ConditionError, PluginError
from soundforge.guarded_parts import GuardedCodec, GuardedConditioner, guarded_stream
from soundforge.guards import Guard
from soundforge.interfaces import Condition, ConditionContext, EncodedAudio, Slot
from soundforge.registry import Origin
from soundforge.testing.tiny_model import tiny_codec

THEIRS = Origin("tides", "soundforge-tides", "0.3")
SLOT = Slot("chroma", "tides", 2, "sum", 50.0)
CONTEXT = ConditionContext(32_000, 50.0, 10)


@pytest.mark.parametrize("seconds", [None, 5.0])
def test_errors_are_named_and_those_for_users_pass(seconds: float | None) -> None:
    guard = Guard("conditioner", "tides", THEIRS, seconds)
    assert guard.call("encode", lambda: 5) == 5
    with pytest.raises(PluginError, match="raised KeyError in encode: 'x'") as caught:
        guard.call("encode", lambda: {}["x"])
    assert str(caught.value).startswith("plugin tides 0.3: conditioner 'tides' ")
    with pytest.raises(ConditionError, match="a user's slip"):
        guard.call("prepare", _raise)


def _raise() -> None:
    raise ConditionError("a user's slip")


def test_a_hang_ends_in_time_and_is_refused_until_it_is_over() -> None:
    guard = Guard("conditioner", "tides", THEIRS, 0.1)
    gate = threading.Event()
    began = time.monotonic()
    with pytest.raises(PluginError, match=r"has not come back from encode after 0\.1 s"):
        guard.call("encode", gate.wait)
    assert time.monotonic() - began < 2
    with pytest.raises(PluginError, match="still busy with an earlier call"):
        guard.call("encode", lambda: 1)
    gate.set()
    deadline = time.monotonic() + 5
    while True:
        try:
            assert guard.call("encode", lambda: 2) == 2
            break
        except PluginError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_built_ins_run_on_the_callers_thread() -> None:
    here = threading.get_ident()
    assert Guard("conditioner", "text", Origin("text", "soundforge", "1"), 0.1).call("x", threading.get_ident) == here
    assert Guard("conditioner", "tides", THEIRS, 5.0).call("x", threading.get_ident) != here


def test_torch_modes_go_along() -> None:
    guard = Guard("conditioner", "tides", THEIRS, 5.0)
    with torch.inference_mode():
        assert guard.call("x", torch.is_inference_mode_enabled)
        assert guard.call("x", torch.get_num_threads) == torch.get_num_threads()
    assert not guard.call("x", torch.is_inference_mode_enabled)


class Given:
    def __init__(self, made: object) -> None:
        self.made = made

    def prepare(self, value: object, context: ConditionContext) -> object:
        return value

    def encode(self, prepared: object, context: ConditionContext) -> object:
        return self.made


def test_a_model_that_runs_itself_is_named_too() -> None:
    def stream(requests: list[str]) -> Iterator[str]:
        yield from requests
        raise ZeroDivisionError("no more")

    chunks = guarded_stream(stream, Guard("model family", "waves", THEIRS))(["a", "b"])
    assert [next(chunks), next(chunks)] == ["a", "b"]
    with pytest.raises(PluginError, match=r"plugin tides 0\.3: model family 'waves' raised ZeroDivision"):
        next(chunks)


def test_a_model_that_makes_progress_may_take_long_and_one_that_hangs_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_parts, "STILL_SECONDS", 0.2)
    gate = threading.Event()

    def stream(requests: list[str], *, progress: Callable[[int, int], None]) -> Iterator[str]:
        for done in range(8):
            time.sleep(0.08)
            progress(done, 8)
        yield requests[0]
        gate.wait()

    heard: list[int] = []
    chunks = guarded_stream(stream, Guard("model family", "waves", THEIRS, 0.1))(
        ["a"], progress=lambda done, total: heard.append(done))
    assert next(chunks) == "a" and heard == list(range(8)), "longer than the limit, but alive"
    with pytest.raises(PluginError, match=r"has not come back from stream after 0\.2 s"):
        next(chunks)
    gate.set()


@pytest.mark.parametrize(("given", "seconds"), [
    (Waveform(torch.zeros(1, 16_000).numpy(), 8_000), 2.0), (torch.zeros(1, 1, 8_000), 1.0),
    (torch.zeros(1, 4, 150, dtype=torch.long), 3.0),
    (EncodedAudio(torch.zeros(1, 4, 50, dtype=torch.long), None, None, 8_000), 1.0), ("nothing", 0.0)])
def test_what_a_codec_codes_in_one_go_may_take_longer_the_longer_it_is(given: object, seconds: float) -> None:
    assert GuardedCodec(tiny_codec(), Guard("codec", "tin", THEIRS, 1.0))._limit((given,)) == 30.0 + 10.0 * seconds


def test_a_codec_that_hangs_fails_its_call() -> None:
    gate, codec = threading.Event(), tiny_codec()
    stream = GuardedCodec(codec, Guard("codec", "tin", THEIRS, 0.1)).stream()
    stream._inner.decode = lambda codes: gate.wait()
    with pytest.raises(PluginError, match=r"codec 'tin' has not come back from decode"):
        stream.decode(torch.zeros(1, 4, 1, dtype=torch.long))
    gate.set()


GOOD, MASK = torch.zeros(1, 10, 2), torch.ones(1, 10, dtype=torch.bool)
NAN = torch.full((1, 10, 2), float("nan"))


@pytest.mark.parametrize(("made", "what"), [
    ("features", "gave a str, expected a soundforge.interfaces.Condition"),
    (Condition(GOOD.numpy(), MASK), "gave ndarray and Tensor, expected tensors"),  # type: ignore[arg-type]
    (Condition(GOOD[..., :1], MASK), r"gave values \[1, 10, 1\] with mask \[1, 10\], expected \[1, length, 2\]"),
    (Condition(GOOD, MASK[:, :5]), r"with mask \[1, 5\]"),
    (Condition(GOOD.repeat(2, 1, 1), MASK.repeat(2, 1)), r"expected \[1, length, 2\]"),
    (Condition(GOOD.long(), MASK), "gave values of torch.int64"),
    (Condition(NAN, MASK), "gave NaN or infinite features for slot 'chroma'"),
])
def test_features_that_are_wrong_are_the_plugins_fault(made: object, what: str) -> None:
    conditioner = GuardedConditioner(Given(made), SLOT, Guard("conditioner", "tides", THEIRS))  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=what) as caught:
        conditioner.encode([1], CONTEXT)
    assert "tides 0.3" in str(caught.value)


def test_masked_places_may_hold_anything() -> None:
    conditioner = GuardedConditioner(Given(Condition(NAN, ~MASK)), SLOT,  # type: ignore[arg-type]
                                     Guard("conditioner", "tides", THEIRS))
    assert conditioner.encode([None], CONTEXT).mask.sum() == 0
    assert conditioner.made.values is NAN
