"""Another model while the sound goes on: real models, one embedded and one from a folder, and one that is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile
from session_kit import RATE, Rig, write_loop

from soundforge.clip import Clip
from soundforge.library import Library
from soundforge.live.audio_protocol import AudioSetup
from soundforge.live.engine_client import LocalEngine
from soundforge.live.engine_protocol import EngineSetup
from soundforge.live.session import Session
from soundforge.requests import StatusEvent

pytestmark = pytest.mark.slow


def states(rig: Rig) -> list[tuple[str, str]]:
    return [(event.state, event.model) for event, _ in rig.events if isinstance(event, StatusEvent)]


async def change(rig: Rig, model: str, wanted: str) -> None:
    """Load a model and wait until it, or the old one, serves."""
    before = len(states(rig))
    rig.session.load_model(model)
    await rig.until(lambda: any(state == ("loading", model) for state in states(rig)[before:]), 120)
    await rig.until(lambda: rig.session.status().state != "loading", 120)
    assert rig.session.status().model == wanted


async def continued(rig: Rig, seconds: float) -> Clip:
    """The last take goes on; its clip."""
    count = len(rig.jobs("done"))
    rig.session.continue_take(seconds=seconds)
    await rig.until(lambda: len(rig.jobs("done")) > count, 120)
    return rig.session.library.load_clip(rig.jobs("done")[-1].clip)


def test_sound_goes_on_takes_stay_usable_and_a_missing_model_changes_nothing(tmp_path: Path, tiny_model: str) -> None:
    if tiny_model == "starter":
        pytest.skip("no second model is here: tests/golden/musicgen_text is missing")
    n = RATE // 2
    tone = (0.25 * np.sin(2 * np.pi * 440.0 * np.arange(n) / RATE)).astype(np.float32)  # whole periods: loops smoothly
    Library(tmp_path / "library").save_clip(Clip(tone[None], RATE), "drone")

    async def main() -> None:
        output = tmp_path / "out.wav"
        setup = AudioSetup(offline=True, offline_input=str(write_loop(tmp_path)), offline_output=str(output))
        session = Session(setup, LocalEngine(EngineSetup(model="starter", threads=1)), Library(tmp_path / "library"),
                          model="starter", models=[tiny_model])
        rig = Rig(session, output)
        await session.start()
        try:
            await rig.until(lambda: session.status().state != "loading", 120)
            await rig.capture(0.8)
            session.set_param("autoplay", False)
            assert (await continued(rig, 0.5)).model == "starter"
            session.set_param("quantum", 0)
            session.clip_play("drone", loop=True)
            await rig.until(lambda: rig.clips("playing"))
            await change(rig, tiny_model, Path(tiny_model).name if session.status().model != tiny_model else tiny_model)
            clip = await continued(rig, 0.3)
            assert clip.model != "starter" and clip.seconds == pytest.approx(0.3, abs=0.1)
            await change(rig, "no-such-model", session.status().model)
            assert any("no-such-model" in line for line in rig.notices())
            await change(rig, "starter", "starter")
            assert (await continued(rig, 0.5)).model == "starter"
            assert not rig.jobs("playing") and not rig.jobs("error"), "autoplay is off"
            assert not rig.clips("stopped")
        finally:
            await session.stop()
        sound, rate = soundfile.read(output, dtype="float32", always_2d=True)
        loud = np.flatnonzero(np.abs(sound[:, 0]) > 0.05)
        assert rate == RATE and len(loud) > RATE, "how long depends on how fast the models load"
        assert np.diff(loud).max() < 0.002 * RATE, "the drone sounds through all of it without a gap"

    asyncio.run(main())
