"""The main job once round: capture, continue, play; and how well one sound is found in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from served import Served


def best_match(part: NDArray[np.float32], whole: NDArray[np.float32]) -> tuple[float, int]:
    """Largest normalised cross-correlation of mono `part` within mono `whole`, and where."""
    size = 1 << (len(part) + len(whole)).bit_length()
    product = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)
    product = product[:max(len(whole) - len(part) + 1, 1)]
    sums = np.concatenate([[0.0], np.cumsum(whole.astype(np.float64) ** 2)])
    energy = sums[len(part):] - sums[:-len(part)]
    score = product[:len(energy)] / np.sqrt(np.maximum(energy * float(np.sum(part.astype(np.float64) ** 2)), 1e-9))
    return float(score.max()), int(score.argmax())


def round_trip(server: Served, take: str, job: str, bar_seconds: float, seconds: float = 2.0) -> Path:
    """Capture one bar, continue it, wait until it was heard to its end; the clip's file."""
    dump = server.dump
    dump.clear()
    server.send("/soundforge/capture/bars", "is", 1, take)
    dump.wait_for("/soundforge/capture/started", take)
    assert dump.wait_for("/soundforge/take", take).arguments[1] == pytest.approx(bar_seconds, abs=0.01)
    server.send("/soundforge/continue", "sfs", take, seconds, job)
    dump.wait_for("/soundforge/job/accepted", job)
    playing = dump.wait_for("/soundforge/job/playing", job)
    done = dump.wait_for("/soundforge/job/done", job, seconds=60)
    assert done.arguments[1] == playing.arguments[1]
    assert done.arguments[2] == pytest.approx(seconds, abs=0.05)
    dump.wait_for("/soundforge/clip/stopped", done.arguments[1])
    return Path(str(done.arguments[3]))
