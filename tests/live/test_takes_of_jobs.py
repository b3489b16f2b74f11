"""No job loses what it continues: not to the takes of others, not to another model, however long it waits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from session_kit import RATE, Rig, running

from soundforge.audio import Waveform
from soundforge.library import Library
from soundforge.live import take_store
from soundforge.live.engine_protocol import EngineSetup, FeedPrompt, JobFailed, JobFinished, OpenPrompt, StartJob
from soundforge.live.engine_worker import EngineWorker
from soundforge.live.take_store import PROMPTS, TakeStore
from soundforge.requests import GenerateRequest
from soundforge.take import Take

pytestmark = pytest.mark.slow

JOBS = 9  # one that runs and as many as may wait


def put_takes(folder: Path, count: int = JOBS) -> list[str]:
    """Takes in the library that the session will open."""
    library, names = Library(folder / "library"), [f"t{number}" for number in range(count)]
    for name in names:
        wave = np.random.default_rng(len(name)).uniform(-0.3, 0.3, (2, RATE // 2)).astype(np.float32)
        library.save_take(Take(Waveform(wave, RATE), bpm=120.0), name)
    return names


def continued(rig: Rig) -> dict[str, str]:
    """Of each job that is done: the take that its clip goes on from."""
    return {event.job: rig.session.library.load_clip(event.clip).request.tags["take"] for event in rig.jobs("done")}


@pytest.mark.parametrize("heard", [0, 1])
def test_as_many_takes_as_jobs_may_wait(tmp_path: Path, heard: int) -> None:
    names = put_takes(tmp_path)
    assert JOBS > PROMPTS

    async def main() -> None:
        async with running(tmp_path, rtf=4.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.set_param("autoplay", heard)
            for name in names:
                session.continue_take(name, seconds=2.0 if name == names[0] else 0.3, job=f"on {name}")
            await rig.until(lambda: len(rig.jobs("done")) + len(rig.jobs("error")) == JOBS, 30.0)
            assert not rig.jobs("error")
            assert continued(rig) == {f"on {name}": name for name in names}

    asyncio.run(main())


def test_another_model_comes_while_a_continuation_waits(tmp_path: Path) -> None:
    first, second = put_takes(tmp_path, 2)

    async def main() -> None:
        async with running(tmp_path, rtf=2.0) as rig:
            session = rig.session
            session.set_param("autoplay", 0)
            session.continue_take(first, seconds=2.0, job="first")
            await rig.until(lambda: rig.jobs("progress"))
            session.continue_take(second, seconds=0.3, job="second")
            session.load_model("other")
            await rig.until(lambda: len(rig.jobs("done")) + len(rig.jobs("error")) == 2, 20.0)
            assert not rig.jobs("error")
            assert continued(rig) == {"first": first, "second": second}
            models = {event.job: session.library.load_clip(event.clip).model for event in rig.jobs("done")}
            assert models == {"first": "tone", "second": "other"}

    asyncio.run(main())


def test_one_that_is_cancelled_while_its_take_is_brought_again_ends(tmp_path: Path) -> None:
    first, second = put_takes(tmp_path, 2)

    async def main() -> None:
        async with running(tmp_path, rtf=2.0) as rig:
            session = rig.session
            session.continue_take(first, seconds=2.0, job="first")
            await rig.until(lambda: rig.jobs("progress"))
            session.continue_take(second, seconds=0.3, job="second")
            session.load_model("other")
            await rig.until(lambda: session.status().model == "other")
            session.cancel("second")
            await rig.until(lambda: rig.jobs("cancelled") or len(rig.jobs("done")) == 2)
            session.generate(seconds=0.3, job="next")
            await rig.until(lambda: any(event.job == "next" for event in rig.jobs("done")))

    asyncio.run(main())


def test_a_prompt_that_failed_says_why_and_is_not_asked_for_again() -> None:
    """The engine alone: a job whose prompt the model refused is answered with the reason."""
    events: list[object] = []
    worker = EngineWorker(EngineSetup(model="tone", factory="soundforge.testing.tone_engine:load"), events.append)
    worker._model.load("tone")
    request = GenerateRequest(text="", seconds=0.1)
    worker._handle(OpenPrompt("bad", request, 0))  # no such rate
    worker._handle(FeedPrompt("bad", np.zeros((10, 1), np.float32)))
    worker._handle(StartJob("a", request, "bad"))
    worker._start_jobs()
    failed = [event for event in events if isinstance(event, JobFailed)]
    assert len(failed) == 1 and not failed[0].prompt_lost and "any more" not in failed[0].what
    worker._handle(StartJob("b", request, "never"))
    worker._start_jobs()
    assert events[-1] == JobFailed("b", "the engine does not hold the prompt 'never' any more; ask again",
                                   prompt_lost=True)
    assert not [event for event in events if isinstance(event, JobFinished)]


def test_long_takes_in_memory_are_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes in stereo are 230 MB; those that went are on disk."""
    monkeypatch.setattr(take_store, "IN_MEMORY_BYTES", int(2.3 * 8 * RATE))
    wave = np.full((2, RATE), 0.1, np.float32)
    with ThreadPoolExecutor(1) as executor:
        store = TakeStore(Library(tmp_path / "library"), executor, lambda message: None)
        for name in ("a", "b", "c"):
            store.complete(name, Take(Waveform(wave, RATE)))
        assert [name for name in ("a", "b", "c") if store.known(name)] == ["b", "c"]
        store.complete("long", Take(Waveform(np.tile(wave, 3), RATE)))
        assert [name for name in ("b", "c", "long") if store.known(name)] == ["long"], "the last one always"
