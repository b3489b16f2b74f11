"""The fader between two texts, from MIDI and from parameters: what requests and running jobs get of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import mido
import numpy as np
import pytest
from session_kit import running

import soundforge as sf
from soundforge.live.params import ParamValues
from soundforge.live.request_builder import build_request, morphed_text
from soundforge.live.transport import Transport
from soundforge_bridges.midi.dispatch import Dispatcher
from soundforge_bridges.midi.map import DEFAULT


def params(**values: object) -> ParamValues:
    made = ParamValues()
    for name, value in values.items():
        made.set(name, value)
    return made


@pytest.mark.parametrize(("values", "expected"), [
    ({}, None), ({"text": "a"}, "a"), ({"text": "a", "morph": 0.5}, "a"), ({"text": "a", "text_b": "b"}, "a"),
    ({"text": "a", "text_b": "b", "morph": 0.25}, sf.Blend("a", "b", 0.25)),
    ({"text_b": "b", "morph": 1.0}, sf.Blend("", "b", 1.0))])
def test_what_a_request_gets(values: dict[str, object], expected: object) -> None:
    made = params(**values)
    assert morphed_text(made, made.text("text")) == expected
    request = build_request(made, Transport(48_000, 120.0), {})
    assert request.conditions.get("text", request.text) == expected


def test_a_midi_controller_moves_a_running_job(tmp_path: Path) -> None:
    async def run() -> sf.Clip:
        async with running(tmp_path, rtf=2.0) as rig:
            session = rig.session
            session.set_param("text_b", "b")
            job = session.generate("a", 1.5)
            await rig.until(lambda: any(event.kind == "progress" for event in rig.jobs()))
            dispatcher = Dispatcher(session, DEFAULT)
            for value in (0, 32, 64, 127):
                dispatcher.on_message(mido.Message("control_change", control=26, value=value))
            await rig.until(lambda: rig.jobs("done"))
            assert [event.job for event in rig.jobs("done")] == [job] and session.get_param("morph") == 1.0
            return await asyncio.to_thread(session.library.load_clip, rig.jobs("done")[0].clip)

    clip = asyncio.run(run())
    blends = [change["conditions"]["text"] for change in clip.info["changes"]]
    # A fader may be faster than the engine: what it left out was overtaken, the last position holds.
    assert blends[-1] == {"blend": ["a", "b"], "amount": 1.0}


def test_a_sound_that_is_chosen_while_a_job_runs_reaches_it(tmp_path: Path) -> None:
    async def run() -> sf.Clip:
        async with running(tmp_path, rtf=2.0) as rig:
            session = rig.session
            session._model.slots = ("text", "chroma")  # the tone engine says it has text only
            first = session.generate("a", 0.3)
            await rig.until(lambda: any(event.job == first for event in rig.jobs("done")))
            source = rig.jobs("done")[0].clip
            session.generate("a", 2.0)
            await rig.until(lambda: any(event.kind == "progress" and event.job != first for event in rig.jobs()))
            session.set_condition("chroma", f"clip:{source}")
            await rig.until(lambda: len(rig.jobs("done")) == 2)
            return await asyncio.to_thread(session.library.load_clip, rig.jobs("done")[1].clip)

    clip = asyncio.run(run())
    (change,) = clip.info["changes"]
    assert change["conditions"]["chroma"]["n_samples"] == pytest.approx(0.3 * 32_000, abs=640)
    assert np.isfinite(clip.waveform).all()


def test_a_tempo_that_changes_reaches_a_running_job_once_and_a_trembling_clock_does_not(tmp_path: Path) -> None:
    async def run() -> sf.Clip:
        async with running(tmp_path, rtf=2.0) as rig:
            session = rig.session
            session.set_tempo(120.0)
            session.generate("a", 2.0)
            await rig.until(lambda: any(event.kind == "progress" for event in rig.jobs()))
            for bpm in (120.1, 119.9, 120.2, 150.0, 150.1):
                session.set_tempo(bpm)
            await rig.until(lambda: rig.jobs("done"))
            return await asyncio.to_thread(session.library.load_clip, rig.jobs("done")[0].clip)

    clip = asyncio.run(run())
    told = [change["tempo"] for change in clip.info["changes"]]
    assert [(tempo["before"], tempo["bpm"]) for tempo in told] == [(120.0, 150.0)]
    assert 0.0 <= told[0]["ahead_seconds"] < 60.0
