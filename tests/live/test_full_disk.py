"""The disk runs full while it plays: each loss is told in one line, and the music does not need the disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from session_kit import TONE, Rig, write_loop

from soundforge.library import Library
from soundforge.live.audio_protocol import AudioSetup
from soundforge.live.engine_client import InProcessEngine
from soundforge.live.engine_protocol import EngineSetup
from soundforge.live.session import Session

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0,
                                                   reason="mounting a small disk needs root")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 kB: one and a half seconds of sound."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("no permission to mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_take_that_is_not_kept_can_be_continued_and_with_room_all_is_kept_again(tmp_path: Path,
                                                                                  small_disk: Path) -> None:
    async def main() -> None:
        setup = AudioSetup(offline=True, offline_input=str(write_loop(tmp_path)),
                           offline_output=str(small_disk / "out.wav"))
        session = Session(setup, InProcessEngine(EngineSetup(model="tone", factory=TONE, options={"rtf": 8.0})),
                          Library(small_disk / "library"), model="tone")
        rig = Rig(session, small_disk / "out.wav")
        await session.start()
        try:
            await rig.until(lambda: session.status().state == "ready")
            session.set_param("quantum", 0)
            await rig.capture(2.0)
            await rig.until(lambda: any("take-0001.wav': the disk is full; free some space" in line
                                        for line in rig.notices()))
            await rig.until(lambda: any("recording to" in line for line in rig.notices()))
            session.continue_take(seconds=3.0, job="lost")
            await rig.until(lambda: rig.jobs("error"))
            assert rig.jobs("playing") and "the disk is full" in rig.jobs("error")[0].what
            (small_disk / "out.wav").unlink()
            await rig.capture(0.3)
            session.continue_take(seconds=0.5, job="kept")
            await rig.until(lambda: any(event.job == "kept" for event in rig.jobs("done")))
        finally:
            await session.stop()

    asyncio.run(main())
    left = sorted(path.name for path in (small_disk / "library").rglob("*") if path.is_file())
    assert left == ["clip-0002.wav", "pads.json", "take-0002.wav"], "no half file under any name"
