"""Every job gives its voice back, however it ends: there are four, and without one nothing is sent to the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from session_kit import Rig, running

from soundforge.live import engine_worker
from soundforge.live.audio_protocol import STREAM_VOICES

pytestmark = pytest.mark.slow


async def plays(rig: Rig, job: str) -> None:
    """A job is heard and done."""
    rig.session.generate(seconds=0.3, job=job)
    await rig.until(lambda: any(event.job == job for event in rig.jobs("playing")), 20.0)
    await rig.until(lambda: any(event.job == job for event in rig.jobs("done")), 20.0)


def test_jobs_that_are_cancelled_while_they_wait(tmp_path: Path) -> None:
    """What a panic does to all that waits; every job from then on used to wait for a voice, for ever."""
    async def main() -> None:
        async with running(tmp_path, rtf=2.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.set_param("autoplay", 0)
            session.generate(seconds=60.0, job="busy")
            session.set_param("autoplay", 1)
            for number in range(2 * STREAM_VOICES):
                session.generate(seconds=1.0, job=f"w{number}")
            await rig.until(lambda: rig.jobs("progress"))
            session.panic()
            await rig.until(lambda: len(rig.jobs("cancelled")) == 2 * STREAM_VOICES + 1)
            await plays(rig, "after-all")

    asyncio.run(main())


def test_jobs_that_cannot_begin(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, refuse="kazoo") as rig:
            session = rig.session
            session.set_param("quantum", 0)
            for number in range(2 * STREAM_VOICES):
                session.generate("kazoo", seconds=1.0, job=f"w{number}")
            await rig.until(lambda: len(rig.jobs("error")) == 2 * STREAM_VOICES)
            await plays(rig, "after-all")

    asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_job_whose_engine_dies_after_it_was_done(tmp_path: Path) -> None:
    """The rest of its sound is lost with the engine; what is in the ring is heard, and then the voice is free."""
    async def main() -> None:
        async with running(tmp_path, process=True, rate=96_000) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.generate(seconds=8.0)
            await rig.until(lambda: rig.jobs("playing") and rig.jobs("done"))
            os.kill(session.engine.pid, signal.SIGKILL)
            await rig.until(lambda: rig.clips("stopped"), 20.0)
            assert not rig.jobs("error"), "it was done"

    asyncio.run(main())


def test_what_has_no_end_ends_with_its_sound(tmp_path: Path) -> None:
    """An endless job that is silenced has nobody to make more for: its clip is what was made."""
    async def main() -> None:
        async with running(tmp_path, rtf=3.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            for number in range(STREAM_VOICES + 1):
                session.generate(job=f"on{number}", endless=True)
                await rig.until(lambda number=number: len(rig.jobs("playing")) == number + 1)
                await asyncio.sleep(0.1 * number)
                session.silence()
                await rig.until(lambda number=number: len(rig.jobs("done")) == number + 1)
            assert not rig.jobs("error")

    asyncio.run(main())


def test_a_job_that_nobody_hears_needs_no_voice(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, rtf=30.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            for number in range(STREAM_VOICES + 1):
                session.generate(job=f"on{number}", endless=True)
            await rig.until(lambda: len(rig.jobs("playing")) == STREAM_VOICES)
            session.set_param("autoplay", 0)
            session.generate(seconds=0.3, job="quiet")
            await rig.until(lambda: any(event.job == "quiet" for event in rig.jobs("done")), 20.0)
            assert [line for line in rig.notices() if "as many as can" in line] == [
                "on4 waits: 4 endless jobs sound, which is as many as can; release or cancel one"]
            session.cancel("*")

    asyncio.run(main())


def test_no_job_starves_behind_one_that_has_no_end(tmp_path: Path) -> None:
    """Nobody hears either of them, so none is more urgent than the other."""
    async def main() -> None:
        async with running(tmp_path, rtf=8.0) as rig:
            session = rig.session
            session.set_param("autoplay", 0)
            session.generate(job="endless", endless=True)
            await rig.until(lambda: rig.jobs("accepted"))
            await asyncio.sleep(0.3)
            session.generate(seconds=0.5, job="short")
            await rig.until(lambda: rig.jobs("done"), 20.0)
            assert rig.jobs("done")[0].job == "short"
            session.release("endless")
            await rig.until(lambda: len(rig.jobs("done")) == 2)

    asyncio.run(main())


def test_a_slow_engine_serves_who_waits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot keep up with an endless job that is heard; another one is done all the same."""
    monkeypatch.setattr(engine_worker, "LONGEST_WAIT_SECONDS", 1.0)

    async def main() -> None:
        async with running(tmp_path, rtf=0.7) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.generate(job="endless", endless=True)
            await rig.until(lambda: rig.jobs("playing"))
            session.set_param("autoplay", 0)
            session.generate(seconds=0.06, job="short")
            await rig.until(lambda: rig.jobs("done"), 30.0)
            session.cancel("*")

    asyncio.run(main())
