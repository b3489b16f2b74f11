"""The sound server dies and comes back: the audio process is replaced, the session lives on (a real JACK server)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rig"))

from jack_server import JackServer
from needs import need_rig
from session_kit import TONE, Rig

from soundforge.library import Library
from soundforge.live import audio_watch
from soundforge.live.audio_protocol import AudioSetup
from soundforge.live.engine_client import InProcessEngine
from soundforge.live.engine_protocol import EngineSetup
from soundforge.live.session import Session

pytestmark = [pytest.mark.rig, pytest.mark.slow]


def test_the_sound_server_dies_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_rig("the loss of a real device")
    monkeypatch.setattr(audio_watch, "RETRY_SECONDS", 1.5)
    server = JackServer(tmp_path / "jack")
    (tmp_path / "jack").mkdir()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.start()

    async def main() -> None:
        session = Session(AudioSetup(input="system", output="system"), InProcessEngine(EngineSetup(
            model="tone", factory=TONE, options={"rtf": 4.0})), Library(tmp_path / "library"), model="tone")
        rig = Rig(session, tmp_path / "none.wav")
        await session.start()
        try:
            await rig.until(lambda: session.status().state == "ready")
            session.set_param("quantum", 0)
            session.generate(seconds=30.0, job="long")
            await rig.until(lambda: rig.jobs("playing"))
            assert server.process is not None
            server.process.kill()
            await rig.until(lambda: rig.notices() and session.status().state == "error", 20.0)
            assert session.transport().rolling
            beat = session.transport().beat
            await asyncio.sleep(0.5)
            assert session.transport().beat > beat, "the stand-in keeps the clock"
            server.stop()
            server.start()
            await rig.until(lambda: any("runs" in what for what in rig.notices()), 40.0)
            assert session.status().state != "error"
            await rig.until(lambda: session.audio.status.playing == 1)
        finally:
            await session.stop()

    try:
        asyncio.run(main())
    finally:
        server.stop()
