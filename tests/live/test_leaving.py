"""The end: the sound fades out, processes end by themselves, a sound server loses nobody, a hanging driver is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rig"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from jack_server import JackServer
from needs import need_rig
from osc_client import OscClient
from serve_process import OFFLINE, ServeProcess

from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import NOW, STREAM_VOICES, AudioSetup

pytestmark = pytest.mark.slow

SINE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)[:, None].repeat(2, axis=1)


async def play_and_leave(setup: AudioSetup) -> None:
    """Start, loop a clip, and stop while it sounds."""
    troubles: list[str] = []
    client = AudioClient(setup, on_capture=lambda position, samples: None, on_happened=lambda *event: None,
                         on_device=lambda opened: None, on_trouble=troubles.append)
    await client.start()
    try:
        assert not client.standing_in, troubles
        client.play_clip(STREAM_VOICES, 1, NOW, await client.attach(SINE), 0, 1.0, True)
        end = time.monotonic() + 10
        while not client.status.playing:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
    finally:
        await client.stop()
    assert not troubles


def ended_well(log: pytest.LogCaptureFixture) -> bool:
    """Nothing was said of a process that was killed, or ended with an exit code."""
    return not [line for line in log.messages if "the audio process" in line]


def test_a_clip_that_sounds_fades_out_and_the_process_ends_by_itself(tmp_path: Path,
                                                                     caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(play_and_leave(AudioSetup(offline=True, offline_output=str(tmp_path / "out.wav"))))
    assert ended_well(caplog)
    sound, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.abs(sound).max() > 0.25
    assert np.abs(sound[-64:]).max() < 0.01, "it fades out"


@pytest.mark.rig
@pytest.mark.parametrize("drift", ["auto", "on"], ids=["one stream", "two streams"])
def test_a_sound_server_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drift: str,
                                          caplog: pytest.LogCaptureFixture) -> None:
    """A server that waits for its clients would stand still for one that went without a word."""
    need_rig("leaving a real audio server")
    server = JackServer(tmp_path / "jack")
    server.start()
    try:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.wait_port("loopback:playback_1")
        before = server.ports()
        for _ in range(2):
            with caplog.at_level(logging.WARNING):
                asyncio.run(play_and_leave(AudioSetup(input="loopback", output="loopback", drift=drift)))
            assert ended_well(caplog)
            assert server.answers() and server.ports() == before, "nobody is left in it"
    finally:
        server.stop()


def running(pid: int) -> bool:
    """Not gone, and no zombie that waits for its new parent."""
    state = Path(f"/proc/{pid}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(serve: ServeProcess) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(serve.process.pid)], capture_output=True, text=True,
                            check=True)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [pytest.param(signal.SIGTERM, id="TERM"), pytest.param(
    getattr(signal, "SIGHUP", signal.SIGTERM), id="HUP", marks=pytest.mark.soak)])
def test_all_processes_are_told_to_end_at_once(tmp_path: Path, how: signal.Signals) -> None:
    """As service managers do it, and terminals that are closed: the sound fades out all the same."""
    serve = ServeProcess(tmp_path, *OFFLINE, "--offline-output", tmp_path / "out.wav")
    try:
        client = OscClient(serve.port)
        client.wait_for_server(stopped=lambda: serve.process.poll() is not None)
        serve.wait_until(lambda: "sound:" in serve.printed(), "it does not start")
        client.send("/soundforge/param/monitor", 1)
        client.wait("/soundforge/param/monitor")
        time.sleep(1.0)
        client.__exit__()
        children = children_of(serve)
        for pid in children:
            os.kill(pid, how)
        serve.end(how)
        assert serve.process.returncode == 0, serve.printed()
        end = time.monotonic() + 10
        while any(map(running, children)):
            assert time.monotonic() < end, "a child is left"
            time.sleep(0.05)
    finally:
        serve.end(signal.SIGKILL)
    sound, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.abs(sound).max() > 0.1, "the monitored input was heard"
    assert np.abs(sound[-64:]).max() < 0.01, "it fades out"


@contextlib.contextmanager
def with_jack_midi(folder: Path) -> Iterator[tuple[JackServer, ServeProcess]]:
    """`serve` whose virtual MIDI input is on a JACK server that waits for its clients."""
    need_rig("MIDI on a real server")
    server = JackServer(folder / "jack")
    server.start()
    serve = ServeProcess(folder / "serve", *OFFLINE, environment={
        **server.environment(), "MIDO_BACKEND": "mido.backends.rtmidi/UNIX_JACK"})
    try:
        server.wait_port("SoundForge")
        serve.wait_until(lambda: "sound:" in serve.printed(), "it does not start")
        yield server, serve
    finally:
        serve.end(signal.SIGKILL)
        server.kill()  # it would wait for a client that is gone
        server.stop()


def all_end(children: list[int]) -> None:
    end = time.monotonic() + 10
    while any(map(running, children)):
        assert time.monotonic() < end, "a child is left"
        time.sleep(0.05)


@pytest.mark.rig
def test_a_midi_driver_that_hangs_with_the_interpreters_lock_does_not_keep_serve(tmp_path: Path) -> None:
    """python-rtmidi closes its ports with the interpreter's lock held, and waits for a JACK server that stands still:
    only the process in which JACK's MIDI lives is lost that way."""
    with with_jack_midi(tmp_path) as (server, serve):
        children = children_of(serve)
        assert len(children) >= 3 and server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        assert serve.end() < 4.0
        assert serve.process.returncode == 0
        all_end(children)


@pytest.mark.rig
def test_a_killed_control_process_leaves_no_midi_clients_that_a_sound_server_waits_for(tmp_path: Path) -> None:
    """Who is killed cannot take leave: a minute and more went by until the server went on."""
    with with_jack_midi(tmp_path) as (server, serve):
        children = children_of(serve)
        serve.process.kill()
        serve.process.wait()
        all_end(children)
        assert server.answers(), "the server stands still"
        assert not [port for port in server.ports() if "SoundForge" in port]


HELD = """
import ctypes
from soundforge.cli.serve import bounded
with bounded(0.5):
    ctypes.PyDLL(None).sleep(30)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the C library's sleep")
def test_a_call_that_keeps_the_interpreter_s_lock_does_not_keep_the_process() -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, timeout=25, check=False)
    assert done.returncode == 1 and time.monotonic() - began < 10.0


VIEW = """
import numpy as np
from soundforge.live.shared_block import SharedBlock
block = SharedBlock(4096)
view, other = block.array((10, 10), np.float32, 512), SharedBlock(name=block.name)
view[...] = 3.0
there = other.array((10, 10), np.float32, 512)
del other
block.close()
print(float(view.sum() + there.sum()))
"""


def test_whoever_looks_at_shared_memory_keeps_it() -> None:
    """In a process of its own: what is tested for is the end of the process."""
    done = subprocess.run([sys.executable, "-c", VIEW], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 600.0
