"""The offline device in its process: paced in real time, hears the file, records the output, survives kills."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundforge.errors import LibraryError
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import NOW, STREAM_VOICES, AudioSetup, DeviceOpened, Happened
from soundforge.live.wav_recorder import WavRecorder


class Heard:
    def __init__(self) -> None:
        self.blocks: list[tuple[int, np.ndarray]] = []
        self.happened: list[tuple[Happened, int, int, int]] = []
        self.devices: list[DeviceOpened] = []
        self.troubles: list[str] = []

    def client(self, setup: AudioSetup) -> AudioClient:
        return AudioClient(setup, on_capture=lambda at, block: self.blocks.append((at, block)),
                           on_happened=lambda *event: self.happened.append(event),
                           on_device=self.devices.append, on_trouble=self.troubles.append)

    def input(self) -> np.ndarray:
        return np.concatenate([block for _, block in self.blocks])


def test_paced_looped_and_recorded(tmp_path: Path) -> None:
    loop = np.random.default_rng(0).uniform(-0.5, 0.5, (10_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "loop.wav", loop, 48_000, subtype="FLOAT")
    heard = Heard()

    async def main() -> None:
        client = heard.client(AudioSetup(offline=True, block=256, offline_input=str(tmp_path / "loop.wav"),
                                         offline_output=str(tmp_path / "out.wav")))
        opened = await client.start()
        assert (opened.rate, opened.name) == (48_000, "offline")
        began, position = time.perf_counter(), client.now()
        index = await client.attach(np.full((4800, 2), 0.25, np.float32))
        start = client.soon() + 4800
        client.play_clip(8, 77, start, index, 0, 1.0, loop=False)
        await asyncio.sleep(1.0)
        elapsed = time.perf_counter() - began
        assert client.now() - position == pytest.approx(elapsed * 48_000, abs=2400)
        await client.stop()
        sound, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
        assert rate == 48_000
        heard_at = np.flatnonzero(sound[:, 0])
        assert (heard_at[0], heard_at[-1]) == (start, start + 4799)
        assert (Happened.STARTED, 8, start, 77) in heard.happened

    asyncio.run(main())
    captured = heard.input()
    assert heard.blocks[0][0] == 0
    np.testing.assert_array_equal(captured, loop[np.arange(len(captured)) % len(loop)])
    assert not heard.troubles


def test_a_killed_audio_process_is_replaced_and_the_clock_goes_on() -> None:
    heard = Heard()

    async def main() -> None:
        client = heard.client(AudioSetup(offline=True))
        await client.start()
        index = await client.attach(np.full((480, 2), 0.25, np.float32))
        await asyncio.sleep(0.2)
        position, at, pid = client.now(), time.perf_counter(), client.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            await asyncio.sleep(0.05)
            if len(heard.devices) == 2:
                break
        assert client.pid != pid
        await asyncio.sleep(0.2)
        assert client.now() - position == pytest.approx((time.perf_counter() - at) * 48_000, abs=4800)
        client.play_clip(8, 5, -1, index, 0, 1.0, loop=False)
        await asyncio.sleep(0.2)
        assert [event[0] for event in heard.happened] == [Happened.STARTED, Happened.ENDED], "clips are there again"
        await client.stop()

    asyncio.run(main())
    positions = [at for at, _ in heard.blocks]
    lengths = [len(block) for _, block in heard.blocks]
    assert positions == [sum(lengths[:k]) for k in range(len(lengths))], "the outage is silence, not a hole"


def test_a_missing_input_file_is_told_and_a_stand_in_runs() -> None:
    heard = Heard()

    async def main() -> None:
        client = heard.client(AudioSetup(offline=True, offline_input="/nowhere/loop.wav"))
        await client.start()
        assert client.standing_in
        await client.stop()

    asyncio.run(main())
    assert "cannot read '/nowhere/loop.wav' as audio" in heard.troubles[0]


def test_an_unknown_sound_card_is_told_and_a_stand_in_runs() -> None:
    heard = Heard()

    async def main() -> None:
        client = heard.client(AudioSetup(output="no such card", input="no such card"))
        await client.start()
        assert client.standing_in
        await client.stop()

    asyncio.run(main())
    assert len(heard.troubles) == 1
    assert "'no such card'" in heard.troubles[0] or "PortAudio" in heard.troubles[0]


def test_a_recording_is_valid_at_every_moment(tmp_path: Path) -> None:
    recorder = WavRecorder(tmp_path / "r.wav", 8000, 1)
    for _ in range(100):
        recorder.push(np.full((800, 1), 0.5, np.float32))
    deadline = time.monotonic() + 5
    while soundfile.info(tmp_path / "r.wav").frames < 70_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert soundfile.info(tmp_path / "r.wav").frames >= 70_000, "the header follows without close"
    recorder.close()
    assert soundfile.info(tmp_path / "r.wav").frames == 80_000


def test_recording_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="cannot record to"):
        WavRecorder(tmp_path / "none" / "r.wav", 8000, 1)


def test_more_commands_than_the_callback_takes_are_all_obeyed(tmp_path: Path) -> None:
    """Also where nobody but the client looks after them: the last one of thousands is heard."""
    heard = Heard()

    async def main() -> None:
        client = heard.client(AudioSetup(offline=True, offline_output=str(tmp_path / "out.wav")))
        await client.start()
        try:
            index = await client.attach(np.full((4800, 2), 0.25, np.float32))
            for token in range(3000):
                client.stop_voice(0, token, NOW, 0)
            client.play_clip(STREAM_VOICES, 77, NOW, index, 0, 1.0, loop=False)
            for _ in range(200):
                if heard.happened:
                    break
                await asyncio.sleep(0.02)
        finally:
            await client.stop()

    asyncio.run(main())
    assert not heard.troubles
    assert heard.happened[0][0] == Happened.STARTED and heard.happened[0][3] == 77
