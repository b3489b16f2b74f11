"""Threads: a small model's step runs on one, and nobody else's setting is changed."""

from __future__ import annotations

import pytest
import torch

from soundforge.engine.threads import SMALL_BYTES, StepThreads, threads_for
from soundforge.testing.tiny_model import tiny_runtime


@pytest.fixture
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_number_is_put_back_also_after_an_error(two_threads: object) -> None:
    with pytest.raises(KeyError), StepThreads(1):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2
    with StepThreads(None):
        assert torch.get_num_threads() == 2
    with StepThreads(8):
        assert torch.get_num_threads() == 2, "it is never raised"


def test_the_network_of_a_small_model_sees_one_thread(two_threads: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from soundforge.engine.generate import Generation
    from soundforge.requests import GenerateRequest

    runtime = tiny_runtime()
    seen: list[int] = []
    step = runtime.decoder.lm.step
    monkeypatch.setattr(runtime.decoder.lm, "step", lambda *a: (seen.append(torch.get_num_threads()), step(*a))[1])
    Generation(runtime, [GenerateRequest(seed=0)], prompt=None, new_frames=5).run()
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


def test_large_models_and_other_devices_keep_theirs() -> None:
    assert threads_for(SMALL_BYTES, torch.device("cpu")) == 1
    assert threads_for(SMALL_BYTES + 1, torch.device("cpu")) is None
    assert threads_for(1, torch.device("cuda")) is None
