"""A takeover as on a stage: a looper and a recorder that are not ours, JACK between them, OSC from liblo.

The loop is played by Pure Data (or, where it is not installed, by `play_loop.py`); the server's transport is moved
until its bar lines are those of the loop, as a player does by ear or a DAW by its clock.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from jack_server import JackServer
from numpy.typing import NDArray
from osc_client import OscClient
from serve_process import LOOP, free_udp_port
from served import Served
from splice import Splice, analyse, place_in

from soundforge.library import Library

HERE = Path(__file__).resolve().parent
BEATS = 4
LOOP_BARS = 4
PD_BLOCK = 64
IN_PHASE_SECONDS = 0.004  # an OSC message cannot do much better; what is left is measured to the sample
TRIES = 8


def playable(bpm: float, rate: int) -> float:
    """The tempo next to `bpm` at which four bars are whole blocks of Pure Data's: at most 0.02 % away."""
    blocks = round(LOOP_BARS * BEATS * 60.0 / bpm * rate / PD_BLOCK)
    return LOOP_BARS * BEATS * 60.0 * rate / (blocks * PD_BLOCK)


def loop_at(bpm: float, rate: int, source: Path = LOOP, source_bpm: float = 120.0) -> NDArray[np.float32]:
    """Four bars of a recorded loop, played faster or slower so that they have this (playable) tempo: mono `(n,)`."""
    samples, own = soundfile.read(source, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)[:round(LOOP_BARS * BEATS * 60.0 / source_bpm * own)]
    made = soxr.resample(mono, own * bpm / source_bpm, rate).astype(np.float32)
    exact = LOOP_BARS * BEATS * 60.0 / bpm * rate
    n = round(exact)
    if n % PD_BLOCK or abs(n - exact) > 1e-3:
        raise ValueError(f"four bars at {bpm:g} are {exact:g} samples, expected a multiple of {PD_BLOCK}")
    if abs(len(made) - n) > PD_BLOCK:
        raise ValueError(f"{source.name} is {len(made)} samples long at {bpm:g}, expected four bars, {n}")
    return np.pad(made, (0, max(0, n - len(made))))[:n] * np.float32(0.5 / np.abs(made).max())


@contextlib.contextmanager
def looper(jack: JackServer, file: Path) -> Iterator[str]:
    """Somebody else's program that plays the file in rounds; gives the name of its output port."""
    quit_port = free_udp_port()
    if shutil.which("pd"):
        command = ["pd", "-nogui", "-jack", "-jackname", "sfloop", "-nojackconnect", "-nomidi", "-inchannels", "0",
                   "-outchannels", "1", "-send", "pd dsp 1", "-send", f"sf-loop symbol {file}", "-send",
                   f"sf-quit-port {quit_port}", str(HERE / "pd_loop.pd")]
        port = "sfloop:"
    else:
        command, port = [sys.executable, str(HERE / "play_loop.py"), str(file)], "loopplayer:out_1"
    with (file.parent / "looper.txt").open("wb") as said:
        process = subprocess.Popen(command, env=jack.environment(), stdout=said, stderr=said)
    try:
        yield jack.wait_port(port)
    finally:
        # Pure Data dies of a signal without a word to JACK, and a server that waits for its clients then stands still.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"quit;\n", ("127.0.0.1", quit_port))
        if command[0] != "pd":
            process.terminate()
        process.wait(10)


@contextlib.contextmanager
def recording(jack: JackServer, file: Path, *ports: str) -> Iterator[None]:
    """Somebody else's recorder, with several ports on one clock; the file is there afterwards."""
    process = subprocess.Popen([sys.executable, str(HERE / "record_ports.py"), str(file), *ports], text=True,
                               env=jack.environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "recording":
            raise AssertionError("the recorder did not start")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def bring_in_phase(server: Served, loop: NDArray[np.float32], rate: int, bpm: float) -> float:
    """Move the transport until its bar lines are the loop's; gives what is left, in seconds."""
    beat_samples, learnt = rate * 60.0 / bpm, 0.0
    bar = BEATS * beat_samples
    for number in range(TRIES):
        take = f"phase-{bpm:g}-{number}"
        server.send("/soundforge/capture/bars", "is", 1, take)
        server.dump.wait_for("/soundforge/take", take, seconds=30)
        at = place_in(loop, load_take(server, take))
        off = (at + bar / 2) % bar - bar / 2  # by how much the loop is ahead of the transport
        if abs(off) < IN_PHASE_SECONDS * rate:
            return off / rate
        learnt += 0.5 * off if number else 0.0  # by how much a message comes late on this machine
        with OscClient(server.port) as client:  # a program that is started for each message would cost 10 ms
            asked = time.perf_counter()
            client.send("/soundforge/transport/position")
            beat = client.wait("/soundforge/transport")[3]
            half = (time.perf_counter() + asked) / 2
            client.send("/soundforge/transport/position",
                        beat + (off + learnt) / beat_samples + (time.perf_counter() - half) * bpm / 60.0)
    raise AssertionError(f"transport and loop did not come together; {off / rate:.4f} s are left")


def load_take(server: Served, take: str) -> NDArray[np.float32]:
    """A take as soon as it is written: its first channel."""
    end = time.monotonic() + 10
    while not (server.library / "takes" / f"{take}.wav").exists():
        assert time.monotonic() < end, f"the take {take} was not written"
        time.sleep(0.05)
    return Library(server.library).load_take(take).waveform.samples[0]


def take_over(server: Served, jack: JackServer, loop: NDArray[np.float32], bpm: float, bars_in: int, bars_out: int,
              file: Path, ports: tuple[str, str], fade_ms: float = 10.0, monitored: bool = True) -> Splice:
    """One takeover, recorded and measured. The server must be in phase, with `monitor` as `monitored` says."""
    bar = BEATS * 60.0 / bpm
    job = f"over-{file.stem}"
    with recording(jack, file, *ports):
        time.sleep(2 * bar)
        server.send("/soundforge/takeover", "iis", bars_in, bars_out, job)
        server.dump.wait_for("/soundforge/job/playing", job, seconds=60 + bar * (bars_in + 1))
        time.sleep(bar * bars_out + 1.0)
    sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return analyse(sound, rate, loop, bpm, fade_ms, rate // 2, bars_out, monitored)
