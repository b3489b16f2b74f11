"""PortAudio on a real server: channels picked and spread, one stream or two, whatever goes out comes back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rig"))

from jack_server import JackServer
from needs import need_rig

from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import STREAM_VOICES, AudioSetup, DeviceOpened

pytestmark = [pytest.mark.rig, pytest.mark.slow]

RATE = 48_000
LEFT, RIGHT = 440.0, 660.0
SECONDS, CHECKED = 1.0, int(0.7 * RATE)
TRIES = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JackServer]:
    need_rig("the sound card's channels")
    made = JackServer(tmp_path_factory.mktemp("jack"))
    made.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment().items():
            patch.setenv(name, value)
        made.wait_port("loopback:playback_1")
        yield made
    made.kill()  # told to end it takes five seconds
    made.stop()


def sines(n: int) -> np.ndarray:
    """`(n, 2)`: another tone on each side."""
    return 0.3 * np.sin(2 * np.pi * np.outer(np.arange(n) / RATE, [LEFT, RIGHT])).astype(np.float32)


def round_trip(setup: AudioSetup, settle: float = 0.0) -> tuple[DeviceOpened, np.ndarray]:
    """Once more when the server itself was late: samples were lost then, and nothing is proved."""
    for _ in range(TRIES):
        opened, heard, lost = asyncio.run(_round_trip(setup, settle))
        if not lost:
            return opened, heard
    pytest.skip(f"the server itself was late in each of {TRIES} tries")


async def _round_trip(setup: AudioSetup, settle: float) -> tuple[DeviceOpened, np.ndarray, int]:
    """Play a tone on each side: the device, what came in from the first sample that went out, and flagged blocks."""
    heard: list[tuple[int, np.ndarray]] = []
    troubles: list[str] = []
    client = AudioClient(setup, on_capture=lambda position, block: heard.append((position, block)),
                         on_happened=lambda *event: None, on_device=lambda opened: None, on_trouble=troubles.append)
    opened = await client.start()
    try:
        assert not client.standing_in, troubles
        await asyncio.sleep(settle)
        index = await client.attach(sines(int(SECONDS * RATE))[:, :client.channels])
        at = client.soon()
        client.play_clip(STREAM_VOICES, 1, at, index, 0, 1.0, False)
        await asyncio.sleep(SECONDS + 0.2)
        late, xruns = client.status.late, client.status.xruns
    finally:
        await client.stop()
    assert (troubles, late) == ([], 0)
    first = heard[0][0]
    return opened, np.concatenate([block for _, block in heard])[at - first:], xruns


def residue_db(sound: np.ndarray, hz: float) -> float:
    """What is left of the middle of `(n,)` without this tone, against the tone."""
    part = sound[RATE // 4:RATE // 4 + RATE // 2]
    phase = 2 * np.pi * hz * np.arange(len(part)) / RATE
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    fit = basis @ np.linalg.lstsq(basis, part, rcond=None)[0]
    return float(20 * np.log10(np.sqrt(np.mean((part - fit) ** 2)) / np.sqrt(np.mean(fit ** 2)) + 1e-12))


def test_what_goes_out_comes_in_one_block_later_sample_for_sample(server: JackServer) -> None:
    opened, heard = round_trip(AudioSetup(input="loopback", output="loopback"))
    assert (opened.rate, opened.block, opened.input_channels, opened.output_channels) == (RATE, 256, 2, 2)
    assert np.abs(heard[256:256 + CHECKED] - sines(CHECKED)).max() < 1e-6


def test_channels_are_spread_and_picked(server: JackServer) -> None:
    """Sides changed on the way out, and one of the device's channels recorded as mono."""
    _, heard = round_trip(AudioSetup(
        input="loopback", output="loopback", input_channels=1, input_map=(1,), output_map=(1, 0)))
    assert heard.shape[1] == 1
    assert np.abs(heard[256:256 + CHECKED, 0] - sines(CHECKED)[:, 0]).max() < 1e-6


def test_a_mix_of_one_channel_goes_to_several(server: JackServer) -> None:
    _, heard = round_trip(AudioSetup(
        input="loopback", output="loopback", output_channels=1, output_map=(0, 1)))
    mono = sines(CHECKED)[:, 0]
    assert np.abs(heard[256:256 + CHECKED] - mono[:, None]).max() < 1e-6


def test_two_streams_each_with_its_clock(server: JackServer) -> None:
    """As with two devices: the input is resampled to the output's clock, without gaps or clicks."""
    _, heard = round_trip(AudioSetup(input="loopback", output="loopback", drift="on", input_map=(1,),
                                     input_channels=1), 2.0)
    assert heard.shape[1] == 1
    assert residue_db(heard[:, 0], RIGHT) < -35


def test_input_and_output_on_different_devices(server: JackServer) -> None:
    opened, heard = round_trip(AudioSetup(input="system", output="loopback"))
    assert (opened.name, opened.input_name) == ("loopback", "system")
    assert len(heard) > CHECKED and not heard.any(), "the input is the other device, which is silent"


def test_doctor_tells_how_the_clocks_run(server: JackServer, tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    settings = {"SOUNDFORGE_CONFIG": str(tmp_path / "empty.toml"), "SOUNDFORGE_DRIFT": "on"}
    done = subprocess.run([sys.executable, "-m", "soundforge.cli", "doctor", "--clocks", "1", "--json",
                           "--input", "system", "--output", "loopback"], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["output"], found["input"], found["rate"], found["two_clocks"]) == ("loopback", "system", RATE, True)
    assert abs(found["clock_ppm"]) < 5000 and abs(found["drift_ppm"]) < 5000, "a second is not enough to be exact"


def test_a_rate_that_the_server_does_not_run_at_is_told(server: JackServer) -> None:
    async def main() -> list[str]:
        troubles: list[str] = []
        client = AudioClient(AudioSetup(input="loopback", output="loopback", rate=44_100),
                             on_device=lambda opened: None, on_capture=lambda *block: None,
                             on_happened=lambda *event: None, on_trouble=troubles.append)
        await client.start()
        assert client.standing_in and client.rate == 44_100
        await client.stop()
        return troubles

    (line,) = asyncio.run(main())
    assert "does not run at 44100 Hz" in line and "48000 Hz, try without --rate" in line
