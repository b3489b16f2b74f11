"""A session with the offline device and the tone engine, and the few steps that its tests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from soundforge.library import Library
from soundforge.live.audio_protocol import AudioSetup
from soundforge.live.engine_client import InProcessEngine, LocalEngine
from soundforge.live.engine_protocol import EngineSetup
from soundforge.live.session import Session
from soundforge.requests import CaptureEvent, ClipEvent, Event, JobEvent, NoticeEvent

RATE = 48_000
TONE = "soundforge.testing.tone_engine:load"


class Rig:
    """A running session, everything it said, and its recorded output."""

    def __init__(self, session: Session, output: Path) -> None:
        self.session, self.output = session, output
        self.events: list[tuple[Event, object | None]] = []
        session.add_listener(lambda event, origin: self.events.append((event, origin)))

    def jobs(self, kind: str = "") -> list[JobEvent]:
        return [e for e, _ in self.events if isinstance(e, JobEvent) and kind in ("", e.kind)]

    def takes(self) -> list[CaptureEvent]:
        return [e for e, _ in self.events if isinstance(e, CaptureEvent) and e.kind == "take"]

    def clips(self, kind: str) -> list[ClipEvent]:
        return [e for e, _ in self.events if isinstance(e, ClipEvent) and e.kind == kind]

    def notices(self) -> list[str]:
        return [e.what for e, _ in self.events if isinstance(e, NoticeEvent)]

    async def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait for a condition; fails with everything that was said."""
        for _ in range(int(seconds / 0.02)):
            if condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"waited {seconds} s in vain; said: {[e for e, _ in self.events]}")

    async def capture(self, seconds: float) -> str:
        take = self.session.capture_start()
        await asyncio.sleep(seconds)
        self.session.capture_stop()
        return take

    async def monitor_and_capture(self) -> None:
        """The input is heard, starts are at once, and there is a take to go on from."""
        self.session.set_param("quantum", 0)
        self.session.set_param("monitor", 1)
        await self.capture(0.5)

    async def play_on(self, seconds: float = 20.0) -> str:
        """A continuation that sounds from now on: its job."""
        job = self.session.continue_take(seconds=seconds)
        await self.until(lambda: any(event.job == job for event in self.jobs("playing")))
        return job

    def sound(self) -> np.ndarray:
        """The recorded output `(n,)` of the first channel."""
        samples, rate = soundfile.read(self.output, dtype="float32", always_2d=True)
        assert rate == RATE
        return samples[:, 0]

    def edges(self) -> tuple[float, float]:
        """Beats at which the recorded output begins and ends to sound."""
        loud = np.flatnonzero(np.abs(self.sound()) > 1e-3)
        transport = self.session.transport_now()
        return transport.beat_at(loud[0]), transport.beat_at(loud[-1])


def off_grid(beat: float, quantum: float) -> float:
    """How many beats a beat lies off its nearest place on the grid."""
    return abs(beat - quantum * round(beat / quantum))


def write_loop(folder: Path, seconds: float = 2.0, level: float = 0.3) -> Path:
    """A recording to hear: decaying noise bursts, two a second."""
    n = int(seconds * RATE)
    rng = np.random.default_rng(3)
    envelope = np.exp(-(np.arange(n) % (RATE // 2)) / 4000.0)
    wave = (rng.standard_normal((n, 2)) * envelope[:, None]).astype(np.float32)
    path = folder / "loop.wav"
    soundfile.write(path, level * wave / np.abs(wave).max(), RATE, subtype="FLOAT")
    return path


@contextlib.asynccontextmanager
async def running(folder: Path, *, process: bool = False, loop: Path | None = None, queue_size: int = 8,
                  limit_bytes: int = 10**9, bpm: float = 120.0, ready: bool = True, rate: int | None = None,
                  **options: Any) -> AsyncIterator[Rig]:
    """A started session; `options` go to the tone engine."""
    output = folder / "out.wav"
    setup = AudioSetup(offline=True, offline_input=str(loop or ""), offline_output=str(output), rate=rate)
    engine_setup = EngineSetup(model="tone", factory=TONE, options=options)
    engine = LocalEngine(engine_setup) if process else InProcessEngine(engine_setup)
    session = Session(setup, engine, Library(folder / "library", limit_bytes), model="tone", bpm=bpm,
                      queue_size=queue_size)
    rig = Rig(session, output)
    await session.start()
    try:
        if ready:
            await rig.until(lambda: session.status().state != "loading")
        yield rig
    finally:
        await session.stop()


def tone_power(sound: np.ndarray, hz: float) -> float:
    """Amplitude of one frequency in a stretch of sound."""
    phase = np.exp(-2j * np.pi * hz * np.arange(len(sound)) / RATE)
    return float(2 * abs(np.dot(sound, phase)) / max(len(sound), 1))
