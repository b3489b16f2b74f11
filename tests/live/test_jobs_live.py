"""Jobs while they run: endless ones, their gain, and what may be changed in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from session_kit import RATE, off_grid, running, tone_power

from soundforge.clip import Clip
from soundforge.errors import RequestError
from soundforge.live.engine_process import EngineModel, EngineSetup
from soundforge.live.engine_protocol import (
    ChangeRefused,
    EngineReady,
    FeedPrompt,
    JobFinished,
    OpenPrompt,
    StartJob,
    StreamTarget,
    UpdateJob,
)
from soundforge.live.engine_worker import EngineWorker
from soundforge.live.ring_buffer import RingBuffer
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams
from soundforge.testing.tiny_model import tiny_engine
from soundforge.testing.tone_engine import AMPLITUDE, tone_hz
from soundforge.wav import read_info

pytestmark = pytest.mark.slow


def test_an_endless_generation_plays_until_it_is_released(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, bpm=240, rtf=4.0) as rig:
            session = rig.session
            session.generate(job="on", endless=True)
            await rig.until(lambda: rig.jobs("playing"))
            await asyncio.sleep(1.5)
            session.set_param("temperature", 0.5)
            with pytest.raises(RequestError, match=r"job came as 'other', which does not go on endlessly"):
                session.release("other")
            session.release("on")
            await rig.until(lambda: rig.jobs("done") and rig.clips("stopped"))
            done = rig.jobs("done")[0]
            assert done.seconds > 1.5
            changes = read_info(done.file).record["info"]["changes"]
            assert changes[0]["sampling"]["temperature"] == 0.5
            with pytest.raises(RequestError, match="nothing goes on endlessly"):
                session.release()
        assert off_grid(rig.edges()[1], 4.0) < 0.12, "it ends on a bar line"

    asyncio.run(main())


def test_an_endless_job_that_waits_is_released_as_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, ready=False, load_seconds=1.0) as rig:
            session = rig.session
            for number in range(8):  # more than there are voices
                session.generate(job=f"e{number}", endless=True)
            session.release()
            await rig.until(lambda: len(rig.jobs("cancelled")) + len(rig.jobs("done")) + len(rig.jobs("error")) == 8)
            assert rig.jobs("cancelled")

    asyncio.run(main())


def test_a_trigger_s_gain_is_that_of_its_sound_and_not_of_its_clip(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, bpm=240) as rig:
            session = rig.session
            session.set_param("seed", 3)
            with pytest.raises(RequestError, match="gain came as 5, expected 0 to 4"):
                session.generate(gain=5.0)
            session.generate(seconds=1.0, gain=0.5)
            await rig.until(lambda: rig.clips("stopped"))
            entry = session.library.list("clip")[0]
            clip = session.library.load_clip(entry.id)
            assert np.abs(clip.waveform).max() == pytest.approx(AMPLITUDE, rel=0.01)
        sound = rig.sound()
        heard = np.flatnonzero(np.abs(sound) > 1e-3)
        middle = (heard[0] + heard[-1]) // 2
        assert tone_power(sound[middle - RATE // 4:middle + RATE // 4], tone_hz(3)) == pytest.approx(AMPLITUDE / 2,
                                                                                                     rel=0.03)

    asyncio.run(main())


def tiny_worker() -> tuple[EngineWorker, list[object]]:
    events: list[object] = []
    return EngineWorker(EngineSetup(factory=f"{__name__}:load_tiny"), events.append), events


def load_tiny(setup: EngineSetup, name: str) -> EngineModel:
    return EngineModel(tiny_engine())


def test_a_generation_without_a_prompt_is_changed_stopped_and_keeps_a_record() -> None:
    model = EngineModel(tiny_engine())
    stream = model.generate(GenerateRequest(text="a", seconds=1.0, seed=1), endless=True, cancel=CancelToken())
    made = 0
    for number, chunk in enumerate(stream):
        made += chunk.samples.shape[-1]
        if number == 3:
            stream.update(sampling=SamplingParams(temperature=0.0), conditions={"text": "b"})
        if made > 3 * model.sample_rate:
            stream.stop()
    assert made < 5 * model.sample_rate
    assert [sorted(change) for change in stream.changes] == [["conditions", "frame", "sampling"]]
    assert 0 < stream.changes[0]["frame"] < made


def test_a_change_that_makes_no_sense_leaves_the_job_as_it_was() -> None:
    worker, events = tiny_worker()
    worker._model.load("tiny")
    assert isinstance(events[-1], EngineReady)
    worker.post(StartJob("j", GenerateRequest(text="a", seconds=1.0, seed=1)))
    worker._read_inbox()
    worker._start_jobs()
    for change in ({"conditions": {"kazoo": "loud"}}, {"sampling": SamplingParams(temperature=0.3)}):
        worker.post(UpdateJob("j", change))
        worker._read_inbox()
        worker._apply_changes()
    while (job := worker._most_urgent()) is not None:
        worker._advance(job)
    refused = [event for event in events if isinstance(event, ChangeRefused)]
    assert len(refused) == 1 and refused[0].job == "j" and "kazoo" in refused[0].what
    finished = [event for event in events if isinstance(event, JobFinished)]
    assert len(finished) == 1 and finished[0].clip.seconds == pytest.approx(1.0, abs=0.05)
    assert finished[0].clip.info["changes"][0]["sampling"]["temperature"] == 0.3


def takeover_clip(ahead: int, loop: bool = False) -> Clip:
    worker, events = tiny_worker()
    worker._model.load("tiny")
    rate, ring = 48_000, RingBuffer(1 << 18, 1)
    request = GenerateRequest(text="a", bars=1, bpm=173.0, seed=1, loop=loop)
    worker.post(OpenPrompt("take", request, rate))
    worker.post(FeedPrompt("take", np.full((rate, 1), 0.1, np.float32)))
    worker.post(StartJob("j", request, "take", target=StreamTarget(ring.handle(), rate), begin=rate + ahead - 480,
                         line=rate + ahead))
    worker._read_inbox()
    worker._start_jobs()
    while (job := worker._most_urgent()) is not None:
        worker._advance(job)
    worker._feeding.stop()
    ring.close()
    finished = [event for event in events if isinstance(event, JobFinished)]
    assert len(finished) == 1, events
    return finished[0].clip


@pytest.mark.parametrize("ahead", [0, 1, 777, 4096])
def test_a_takeover_s_clip_has_exactly_the_samples_of_its_bars(ahead: int) -> None:
    """It begins before the line, somewhere within a frame; what it lacks is silence before the next line."""
    clip = takeover_clip(ahead)
    assert clip.waveform.shape[1] == round(4 * 60 / 173 * clip.sample_rate)
    assert (clip.request.bars, clip.request.seconds) == (1, None)


@pytest.mark.parametrize("ahead", [0, 777])
def test_a_takeover_s_clip_is_a_loop_without_a_seam(ahead: int) -> None:
    """What would have followed its last bar line fades into its beginning; all else is what was played."""
    plain, loop = takeover_clip(ahead), takeover_clip(ahead, loop=True)
    seam = round(0.01 * plain.sample_rate)
    assert loop.waveform.shape == plain.waveform.shape
    np.testing.assert_allclose(loop.waveform[:, seam:], plain.waveform[:, seam:], atol=2e-5)
    jump = abs(float(loop.waveform[0, 0] - loop.waveform[0, -1]))
    assert not np.allclose(loop.waveform[:, :seam], plain.waveform[:, :seam], atol=1e-3)
    assert jump <= np.abs(np.diff(plain.waveform)).max()


def test_bars_from_nothing_are_the_loop_that_generate_gives() -> None:
    worker, events = tiny_worker()
    worker._model.load("tiny")
    request = GenerateRequest(text="a", bars=1, bpm=173.0, seed=1, loop=True)
    worker.post(StartJob("j", request))
    worker._read_inbox()
    worker._start_jobs()
    while (job := worker._most_urgent()) is not None:
        worker._advance(job)
    clip = next(event.clip for event in events if isinstance(event, JobFinished))
    want = tiny_engine().generate("a", bars=1, bpm=173.0, seed=1, loop=True)
    np.testing.assert_allclose(clip.waveform, want.waveform, atol=2e-5)
