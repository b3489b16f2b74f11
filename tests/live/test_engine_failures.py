"""What a user reads when the engine cannot: one line, and what to do where that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from soundforge.errors import CancelledError, RequestError
from soundforge.live.engine_failures import failure, one_line


def test_out_of_memory_is_said_so_whoever_says_it() -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**55, dtype=torch.uint8)
    with pytest.raises(MemoryError) as of_numpy:
        np.ones(2**55, np.uint8)
    gpu = RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB (GPU 0)")
    for error in (of_torch.value, of_numpy.value, gpu, MemoryError()):
        line = one_line(error)
        assert line.startswith("out of memory (") and line.endswith("ask for less, or load a smaller model")
        assert "\n" not in line


def test_our_own_errors_stay_as_they_are_and_others_are_one_short_line() -> None:
    assert one_line(RequestError("seconds came as -1, expected 0.1 to 3600")) == \
        "seconds came as -1, expected 0.1 to 3600"
    line = one_line(ValueError("first\nsecond " + "x" * 1000))
    assert line.startswith("the engine failed with ValueError: first second x") and len(line) < 400


def test_a_job_that_was_cancelled_did_not_fail() -> None:
    assert failure("j", CancelledError("the job was cancelled")).cancelled
    assert not failure("j", ValueError("no")).cancelled
