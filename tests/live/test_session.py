"""The session end to end: a captured file, a continuation heard in the recorded output at the right sample."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from session_kit import RATE, off_grid, running, tone_power, write_loop

from soundforge.errors import AudioError, ConditionError, LibraryError, QueueFullError, RequestError
from soundforge.live import session_capture
from soundforge.live.engine_protocol import CancelJob
from soundforge.testing.tone_engine import AMPLITUDE, tone_hz


@pytest.mark.parametrize("process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_capture_continue_hear(tmp_path: Path, process: bool) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), process=process, bpm=150) as rig:
            session = rig.session
            session.set_param("quantum", 1)
            session.set_param("seconds", 1.0)
            session.set_param("seed", 7)
            session.capture_start("mine", origin="me")
            await asyncio.sleep(1.0)
            session.capture_stop()
            assert rig.takes()[0].take == "mine"
            assert rig.takes()[0].seconds == pytest.approx(1.0, abs=0.15)
            assert session.continue_take(job="j", origin="me") == "j"
            await rig.until(lambda: rig.jobs("done") and rig.clips("stopped"))
            assert sorted(e.kind for e in rig.jobs() if e.kind != "progress") == ["accepted", "done", "playing"]
            assert rig.jobs()[0].kind == "accepted"
            assert all(origin == "me" for event, origin in rig.events if event in rig.jobs())
            assert rig.jobs("progress")[-1].fraction == 1.0
            playing, done = rig.jobs("playing")[0], rig.jobs("done")[0]
            assert (done.clip, done.seconds) == (playing.clip, 1.0)
            assert Path(done.file).exists()
            assert abs(playing.beat - round(playing.beat)) < 1e-4, "it starts on the beat"
            start = session.transport_now().sample_of(playing.beat)
            clip = session.library.load_clip(done.clip)
            assert clip.request.seed == clip.seed == 7
            assert session.library.load_take("mine").seconds > 0.8
            assert session.library.pads == {1: done.clip}
            assert not rig.notices()
        sound = rig.sound()
        assert tone_power(sound[start + 480:start + RATE - 480], tone_hz(7)) == pytest.approx(AMPLITUDE, rel=0.02)
        heard = np.flatnonzero(np.abs(sound) > 1e-4)
        assert start - 480 <= heard[0] <= start, "only the crossfade is before the beat"
        assert abs(heard[-1] - (start + RATE)) < 100

    asyncio.run(main())


@pytest.mark.slow
def test_generate_at_once_and_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            position = session.audio.now()
            session.generate("bells", seconds=0.5)
            await rig.until(lambda: rig.jobs("playing"))
            assert session.audio.now() - position < RATE
            await rig.until(lambda: rig.jobs("done") and rig.clips("stopped"))
            clip = session.library.load_clip(rig.jobs("done")[0].clip)
            assert clip.request.text == "bells"
            assert clip.seconds == 0.5
            session.play_pad(1, 0.5)
            await rig.until(lambda: len(rig.clips("stopped")) == 2)
            session.clip_play(clip="clip-0001", loop=True)
            await rig.until(lambda: len(rig.clips("playing")) == 2)
            await asyncio.sleep(0.7)
            session.clip_stop("clip-0001")
            await rig.until(lambda: len(rig.clips("stopped")) == 3)
            session.clip_delete("clip-0001")
            with pytest.raises((LibraryError, RequestError)):
                session.clip_info("clip-0001")
            await rig.until(lambda: rig.clips("deleted"))
            assert session.clip_list() == []
            assert not rig.notices()

    asyncio.run(main())


def test_what_cannot_be_continued(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as rig:  # the offline device hears silence
            session = rig.session
            with pytest.raises(RequestError, match="there is no take yet"):
                session.continue_take()
            with pytest.raises(LibraryError, match="take came as 'nix', which is not in the library"):
                session.continue_take("nix")
            with pytest.raises(RequestError, match="nothing is being captured"):
                session.capture_stop()
            session.capture_start()
            with pytest.raises(AudioError, match=r"samples \(0\.0\d+ s\), expected at least 0.1 s"):
                session.capture_stop()
            session.capture_start()
            await asyncio.sleep(0.3)
            with pytest.raises(RequestError, match="'take-0002' is not over yet"):
                session.capture_start()
            with pytest.raises(AudioError, match="is silent"):
                session.capture_stop()
            with pytest.raises(RequestError, match="there is no take yet"):
                session.continue_take()
            with pytest.raises(RequestError, match="there is no continuation yet"):
                session.regenerate()
            with pytest.raises(LibraryError, match=r"paths are never taken"):
                session.capture_start("../etc/passwd")
            assert session.status().state == "ready"

    asyncio.run(main())


def test_a_clipped_capture_only_warns(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path, seconds=0.5, level=1.0)) as rig:
            await rig.capture(0.7)
            assert len(rig.takes()) == 1
            assert "is clipped" in rig.notices()[0]

    asyncio.run(main())


def test_one_silent_side_is_told_once(tmp_path: Path) -> None:
    left = np.random.default_rng(0).uniform(-0.3, 0.3, (RATE // 2, 1)) * (1.0, 0.0)
    soundfile.write(tmp_path / "left.wav", left, RATE)

    async def main() -> None:
        async with running(tmp_path, loop=tmp_path / "left.wav") as rig:
            for _ in range(2):
                await rig.capture(0.3)
            assert rig.notices() == ["nothing comes in on input 2, so a mono model hears the rest 6 dB softer; "
                                     "--input-channels 1 takes what sounds alone"]

    asyncio.run(main())


def test_bars_are_captured_from_bar_line_to_bar_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), bpm=240) as rig:
            take = rig.session.capture_bars(2)
            await rig.until(rig.takes)
            assert rig.takes()[0].seconds == 2.0
            assert abs(rig.takes()[0].start_beat % 4) < 1e-3
            await rig.until(lambda: any(e.id == take for e in rig.session.library.list("take")))
            stored = rig.session.library.load_take(take)
            assert (stored.bpm, stored.waveform.n_samples) == (240.0, 2 * RATE)

    asyncio.run(main())


@pytest.mark.slow
def test_the_queue_is_bounded_and_jobs_can_be_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), queue_size=2, rtf=3.0) as rig:
            session = rig.session
            await rig.capture(0.5)
            ids = [session.continue_take(seconds=20.0) for _ in range(3)]
            with pytest.raises(QueueFullError, match="2 jobs wait already"):
                session.continue_take()
            with pytest.raises(RequestError, match="'job-1' is in use"):
                session.cancel(ids[2])
                session.generate(job="job-1")
            await rig.until(lambda: len(rig.jobs("cancelled")) == 1)
            assert session.status().queued == 1
            session.cancel("*")
            await rig.until(lambda: len(rig.jobs("cancelled")) == 3, 3.0)
            with pytest.raises(RequestError, match="which does not run; running: none"):
                session.cancel("job-1")
            session.set_param("quantum", 0)
            session.continue_take(seconds=0.5)
            await rig.until(lambda: rig.jobs("done"))

    asyncio.run(main())


@pytest.mark.slow
def test_panic(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), rtf=3.0) as rig:
            session = rig.session
            await rig.monitor_and_capture()
            await rig.play_on()
            await asyncio.sleep(0.3)
            session.panic()
            silent_from = session.audio.soon() + RATE // 10
            await rig.until(lambda: rig.jobs("cancelled"))
            await asyncio.sleep(0.5)
            assert session.get_param("monitor") is False
            assert session.status().state == "ready"
        sound = rig.sound()
        assert np.abs(sound[:silent_from]).max() > 0.1
        assert not sound[silent_from:].any()

    asyncio.run(main())


@pytest.mark.slow
def test_a_killed_engine_costs_a_job_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), process=True, rtf=3.0) as rig:
            session = rig.session
            await rig.monitor_and_capture()
            await rig.play_on()
            pid = session.engine.pid
            os.kill(pid, signal.SIGTERM)
            await rig.until(lambda: rig.jobs("error"))
            assert "the engine process ended (signal 15)" in rig.jobs("error")[0].what
            assert session.status().state == "loading"
            began = int(session.audio.now())
            session.continue_take(seconds=0.5)
            await rig.until(lambda: rig.jobs("done"))
            assert session.engine.pid != pid
            await asyncio.sleep(1.0)
            ended = int(session.audio.now())
        sound = rig.sound()[began:ended]
        quietest = min(np.abs(sound[k:k + RATE // 2]).max() for k in range(0, len(sound) - RATE // 2, 4800))
        assert quietest > 0.1, "the monitored input is heard all the time"

    asyncio.run(main())


@pytest.mark.slow
def test_an_engine_that_dies_in_every_job_is_answered_each_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, process=True, die=True) as rig:
            for k in range(3):
                rig.session.generate(seconds=4.0)
                await rig.until(lambda k=k: len(rig.jobs("error")) == k + 1, 30.0)
            assert not rig.jobs("done")

    asyncio.run(main())


def test_a_failing_job_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, fail="no such slot") as rig:
            rig.session.generate(job="x")
            await rig.until(lambda: rig.jobs("error"))
            assert (rig.jobs("error")[0].job, rig.jobs("error")[0].what) == ("x", "no such slot")

    asyncio.run(main())


def test_a_full_library_is_a_job_error_and_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, limit_bytes=100_000) as rig:
            rig.session.set_param("quantum", 0)
            rig.session.generate(seconds=5.0)
            await rig.until(lambda: rig.jobs("error"))
            assert "its limit is" in rig.jobs("error")[0].what
            assert list((tmp_path / "library" / "clips").iterdir()) == []

    asyncio.run(main())


@pytest.mark.slow
def test_loading_another_model(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, process=True, rtf=4.0) as rig:
            session = rig.session
            session.load_model("missing")
            await rig.until(lambda: any("model came as 'missing'" in what for what in rig.notices()))
            assert (session.status().state, session.status().model) == ("ready", "tone")
            session.generate(seconds=1.0, job="before")
            await asyncio.sleep(0.05)
            session.load_model("other")
            session.generate(seconds=0.5, job="after")
            await rig.until(lambda: len(rig.jobs("done")) == 2)
            assert [session.library.load_clip(e.clip).model for e in rig.jobs("done")] == ["tone", "other"]
            await rig.until(lambda: session.status().model == "other" and session.status().state == "ready")

    asyncio.run(main())


def test_no_model_at_all(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as rig:
            rig.session.engine._worker._model.close()
            rig.session.generate()
            await rig.until(lambda: rig.jobs("error"))
            assert "no model is loaded" in rig.jobs("error")[0].what

    asyncio.run(main())


@pytest.mark.slow
def test_takeover_goes_on_without_a_gap_on_the_bar_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), bpm=240, rtf=4.0) as rig:
            session = rig.session
            session.set_param("monitor", 1)
            session.set_param("seed", 3)
            session.takeover(2, 2, job="t")
            await rig.until(lambda: rig.jobs("done") and rig.clips("stopped"))
            playing, done = rig.jobs("playing")[0], rig.jobs("done")[0]
            line = rig.session.transport_now().sample_of(rig.takes()[0].start_beat + 8)
            started = session.transport_now().sample_of(playing.beat)
            assert abs(started - line) <= 1
            assert done.seconds == 2.0
            clip = session.library.load_clip(done.clip)
            assert clip.request.tags["start_beat"] == rig.takes()[0].start_beat + 8, "its place on the timeline"
            await asyncio.sleep(0.2)
        sound = rig.sound()
        for edge in (line, line + 2 * RATE):  # where it takes over, and where it gives the input back
            for at in range(edge - RATE // 10, edge + RATE // 10, 240):
                assert np.abs(sound[at:at + 240]).max() > 1e-5, "no silence of 5 ms"
        assert np.abs(sound[line + 2 * RATE:line + 2 * RATE + 240]).max() > 0.05, "the input's beat is there at once"
        assert tone_power(sound[line:line + RATE], tone_hz(3)) == pytest.approx(AMPLITUDE, rel=0.03)
        assert tone_power(sound[line - RATE // 4:line - 480], tone_hz(3)) < 0.03

    asyncio.run(main())


@pytest.mark.slow
def test_an_endless_takeover_ends_at_the_bar_line_after_release(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), bpm=240, rtf=4.0) as rig:
            session = rig.session
            session.takeover(1, 0)
            await rig.until(lambda: rig.jobs("playing"))
            await asyncio.sleep(1.5)
            session.release()
            await rig.until(lambda: rig.jobs("done") and rig.clips("stopped"))
            assert rig.jobs("done")[0].seconds > 1.5
            with pytest.raises(RequestError, match="nothing goes on endlessly"):
                session.release()
        assert off_grid(rig.edges()[1], 4.0) < 0.12, "it ends on a bar line"

    asyncio.run(main())


@pytest.mark.slow
def test_regenerate_replaces_what_sounds(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), rtf=4.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.set_param("seed", 1)
            await rig.capture(0.5)
            session.continue_take(seconds=3.0)
            await rig.until(lambda: rig.jobs("playing"))
            await asyncio.sleep(0.3)
            session.regenerate()
            await rig.until(lambda: len(rig.jobs("playing")) == 2)
            await asyncio.sleep(0.5)
            at = int(session.audio.now())
            await rig.until(lambda: len(rig.jobs("done")) == 2)
            seeds = [session.library.load_clip(e.clip).seed for e in rig.jobs("done")]
        sound = rig.sound()[at - RATE // 5:at - 2400]
        powers = [tone_power(sound, tone_hz(seed)) for seed in seeds]
        assert max(powers) > 0.2
        assert seeds[0] != seeds[1]
        if tone_hz(seeds[0]) != tone_hz(seeds[1]):
            assert min(powers) < 0.02

    asyncio.run(main())


def test_transport(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as rig:
            session = rig.session
            assert session.transport().rolling
            session.set_tempo(90)
            session.transport_position(32)
            assert session.transport().beat == pytest.approx(32, abs=0.2)
            session.transport_stop()
            beat = session.transport().beat
            await asyncio.sleep(0.1)
            assert session.transport().beat == beat
            with pytest.raises(RequestError, match="the transport stands"):
                session.capture_bars(1)
            session.transport_start()
            with pytest.raises(RequestError, match="tempo came as 5"):
                session.set_tempo(5)
            with pytest.raises(RequestError, match="source came as 'sundial', expected one of internal"):
                session.transport_source("sundial")

    asyncio.run(main())


def test_params(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, defaults={"temperature": 0.9, "window": 3}) as rig:
            session = rig.session
            assert session.get_param("temperature") == 0.9, "the model's own default"
            session.set_param("temperature", 1.5)
            assert session.get_param("temperature") == 1.5
            for name, value, what in [("nix", 1, "param came as 'nix'"), ("cfg", float("nan"), "cfg came as nan"),
                                      ("cfg", "loud", "cfg came as 'loud'"), ("top_p", 2, "top_p came as 2"),
                                      ("text", 3, "text came as 3"), ("top_k", 1.5, "top_k came as 1.5")]:
                with pytest.raises(RequestError, match=what):
                    session.set_param(name, value)
            session.set_param("guidance/text", 2)
            assert session.get_param("guidance/text") == 2.0
            with pytest.raises(RequestError, match="'guidance/chor', expected guidance/ and one of all, text"):
                session.set_param("guidance/chor", 2)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_other_device_rates(tmp_path: Path, rate: int) -> None:
    """A model at 32 kHz on a device at another rate: pitch and length are right, no clicks at chunk borders."""
    async def main() -> None:
        async with running(tmp_path, rate=rate) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.set_param("seed", 5)
            session.generate(seconds=2.0)
            await rig.until(lambda: rig.jobs("done") and rig.clips("stopped"))
        sound, written = soundfile.read(tmp_path / "out.wav", dtype="float32")
        heard = np.flatnonzero(np.abs(sound[:, 0]) > 1e-4)
        assert written == rate
        assert heard[-1] - heard[0] == pytest.approx(2 * rate, abs=200)
        middle = sound[heard[0] + rate // 2:heard[0] + 3 * rate // 2, 0]
        phase = 2 * np.pi * tone_hz(5) * np.arange(len(middle)) / rate
        basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
        rest = middle - basis @ np.linalg.lstsq(basis, middle, rcond=None)[0]
        assert np.abs(rest).max() < 0.002

    asyncio.run(main())


def test_conditions(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path)) as rig:
            session = rig.session
            with pytest.raises(ConditionError, match="condition came as 'wetness', expected one of text"):
                session.set_condition("wetness", "very")
            session.set_condition("text", "bells")
            assert session.get_param("text") == "bells"

    asyncio.run(main())


@pytest.mark.slow
def test_files_carry_a_tempo_also_when_nobody_chose_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_capture, "TEMPO_LATER_SECONDS", 0.1)

    async def main() -> None:
        async with running(tmp_path, loop=write_loop(tmp_path), bpm=120) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            take = await rig.capture(3.0)
            session.continue_take(seconds=0.5)
            await rig.until(lambda: rig.jobs("done"))
            assert session.library.load_clip(rig.jobs("done")[0].clip).bpm == 120.0
            await rig.until(lambda: session.library.load_take(take).bpm is not None)
            assert session.library.load_take(take).bpm == pytest.approx(120.0, abs=3)
            assert rig.clips("rendered")[0].bpm == 120.0

    asyncio.run(main())


def test_without_autoplay_a_clip_is_made_and_not_heard(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as rig:
            rig.session.set_param("autoplay", 0)
            rig.session.generate(seconds=0.5)
            await rig.until(lambda: rig.jobs("done"))
            assert not rig.jobs("playing")
            assert [clip.clip for clip in rig.session.clip_list()] == ["clip-0001"]
            assert rig.session.library.pads == {1: "clip-0001"}
        assert not rig.sound().any()

    asyncio.run(main())


def test_silence_stops_the_sound_and_no_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, rtf=4.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.generate(seconds=3.0)
            await rig.until(lambda: rig.jobs("playing"))
            session.silence()
            await rig.until(lambda: rig.clips("stopped"))
            await rig.until(lambda: rig.jobs("done"))
            assert rig.jobs("done")[0].seconds == 3.0
            await rig.until(lambda: session.status().state == "ready")

    asyncio.run(main())


def test_what_the_engine_says_after_the_end_meets_no_voice(tmp_path: Path) -> None:
    """The audio process may be gone first, and its rings with it."""
    async def main() -> None:
        async with running(tmp_path, rtf=3.0) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            session.generate(seconds=20.0, job="long")
            await rig.until(lambda: rig.jobs("playing"))
            told: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
            await session.audio.stop()
            session.engine.send(CancelJob("long"))
            await session.stop()
            await asyncio.sleep(0.05)
            assert told == []

    asyncio.run(main())
