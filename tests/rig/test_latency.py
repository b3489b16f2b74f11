"""What is heard on the bar line is captured, and carried on, on the bar line, over a real server.

The round trip is measured by `soundforge doctor --calibrate`; then our own output comes back to our input, so that a
clip that starts on the beat at the loudspeaker must lie at the first sample of the bar that is captured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jack_server import JackServer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "live"))

from session_kit import TONE, Rig  # noqa: E402  beside the session's tests

from soundforge.app import latencies  # noqa: E402
from soundforge.clip import Clip  # noqa: E402
from soundforge.library import Library  # noqa: E402
from soundforge.live.audio_protocol import AudioSetup  # noqa: E402
from soundforge.live.engine_client import InProcessEngine  # noqa: E402
from soundforge.live.engine_protocol import EngineSetup  # noqa: E402
from soundforge.live.session import Session  # noqa: E402
from soundforge.requests import GenerateRequest  # noqa: E402
from soundforge.settings import load_settings  # noqa: E402
from soundforge.testing.tone_engine import tone_hz  # noqa: E402

pytestmark = [pytest.mark.rig, pytest.mark.slow]

RATE, PERIOD, CABLE = 48_000, 256, 1000
BPM, BEAT = 240.0, RATE // 4
BAR = 4 * BEAT
SEED = 6


@contextlib.contextmanager
def cable(jack: JackServer) -> Iterator[None]:
    """A client that delays by `CABLE` samples; the loop that it closes costs JACK a period more."""
    process = subprocess.Popen([sys.executable, str(HERE / "delay_cable.py"), str(CABLE)], env=jack.environment())
    try:
        jack.wait_port("cable:out")
        yield
    finally:
        process.terminate()
        process.wait(10)


def wire(jack: JackServer) -> None:
    jack.connect(jack.wait_port("out_0"), "cable:in")
    for port in [port for port in jack.ports() if ":in_" in port]:
        jack.connect("cable:out", port)


def calibrate(jack: JackServer, device: str, connect: Callable[[], None]) -> dict[str, Any]:
    """The command's own words."""
    process = subprocess.Popen([sys.executable, "-m", "soundforge.cli", "doctor", "--calibrate", "--json", "--input",
                                device, "--output", device], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=jack.environment())
    connect()
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


def clicks() -> np.ndarray:
    """One bar `(1, BAR)`: a burst of noise on each beat, each another one."""
    rng, wave = np.random.default_rng(5), np.zeros(BAR, np.float32)
    for beat in range(4):
        wave[beat * BEAT:beat * BEAT + 2400] = 0.2 * rng.standard_normal(2400) * np.exp(
            -np.arange(2400) / 600)
    return wave[None]


def shift(take: np.ndarray, clip: np.ndarray) -> int:
    """By how many samples the loop in `take` `(n,)` lies later than it would when it began with it; round the bar."""
    size = len(clip)
    match = np.fft.irfft(np.fft.rfft(take[:size], size) * np.conj(np.fft.rfft(clip, size)), size)
    return int((match.argmax() + size // 2) % size) - size // 2


@pytest.mark.parametrize(("device", "samples"), [
    pytest.param("loopback", PERIOD, id="loopback", marks=pytest.mark.soak),
    pytest.param("system", CABLE + PERIOD, id="cable")])
def test_on_the_bar_line_at_the_speaker(jack: JackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        device: str, samples: int) -> None:
    monkeypatch.setenv("SOUNDFORGE_CONFIG", str(tmp_path / "soundforge.toml"))
    (tmp_path / "soundforge.toml").touch()
    for name, value in jack.environment().items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        connect: Callable[[], None] = lambda: None  # noqa: E731  what both devices are given
        if device == "system":
            stack.enter_context(cable(jack))
            connect = lambda: wire(jack)  # noqa: E731
        measured = calibrate(jack, device, connect)
        assert measured["round_trip_samples"] == pytest.approx(samples, abs=0.6), "to the sample"
        assert Path(measured["file"]).parent == tmp_path
        asyncio.run(play_and_capture(tmp_path, device, connect))


async def play_and_capture(folder: Path, device: str, connect: Callable[[], None]) -> None:
    library, loop = Library(folder / "library"), clicks()
    library.save_clip(Clip(loop, RATE, GenerateRequest(), 0, None, "test", bpm=BPM), "clicks")
    session = Session(AudioSetup(input=device, output=device), InProcessEngine(EngineSetup(
        model="tone", factory=TONE, options={"rtf": 8.0})), library, model="tone", bpm=BPM, tempo_known=True,
        latency_of=latencies(load_settings({"input": device, "output": device})))
    rig = Rig(session, folder / "none.wav")
    await session.start()
    try:
        await rig.until(lambda: session.status().state == "ready")
        assert session.device().latency_from == "calibrated"
        await asyncio.to_thread(connect)
        session.set_param("seed", SEED)
        session.clip_play("clicks", loop=True)
        await rig.until(lambda: rig.clips("playing"))
        first = session.capture_bars(1)
        await rig.until(lambda: rig.takes())
        captured = await library_take(session, first)
        assert len(captured) == BAR and abs(shift(captured, loop[0])) <= 1, "captured where it was heard"
        session.clip_stop("clicks")
        session.generate(seconds=4.0, job="tone")
        await rig.until(lambda: rig.jobs("playing"))
        beat = rig.jobs("playing")[0].beat
        assert beat == pytest.approx(round(beat / 4) * 4, abs=1e-3), "on the bar line"
        second = session.capture_bars(1)
        await rig.until(lambda: len(rig.takes()) == 2)
        tone = (await library_take(session, second))[BAR // 4:3 * BAR // 4]
        # The tone began at phase 0 on the bar line, and whole bars hold whole cycles of it.
        phase = 2 * np.pi * tone_hz(SEED) * np.arange(BAR // 4, 3 * BAR // 4) / RATE
        late = np.angle(np.sum(tone * np.exp(-1j * phase))) + np.pi / 2
        off = (late + np.pi) % (2 * np.pi) - np.pi
        assert abs(off) / (2 * np.pi * tone_hz(SEED)) * RATE < 1.5, "carried on where it was due, to the sample"
        assert np.abs(tone).max() > 0.1
    finally:
        await session.stop()


async def library_take(session: Session, take: str) -> np.ndarray:
    """The first channel of a take, once it is written."""
    for _ in range(200):
        if any(entry.id == take for entry in session.library.list("take")):
            return session.library.load_take(take).waveform.samples[0]
        await asyncio.sleep(0.02)
    raise AssertionError(f"{take} was not written")
