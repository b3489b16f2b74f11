"""The audio process: opens the sound card and drives the mixer. `audio_devices` alone imports sounddevice.

It is a process of its own because a callback in a process that also runs torch underruns, and because PortAudio
may hang or abort its process when a device vanishes: then only this process is lost, and is started again.
The main thread does what may block (attach clips, watch the pipe); PortAudio's thread runs the callback.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Protocol

import numpy as np

from soundforge.errors import DeviceError, SoundForgeError
from soundforge.live.audio_protocol import (
    COMMAND,
    EVENT,
    NOW,
    AttachClip,
    AudioHandles,
    AudioSetup,
    ClipAttached,
    ClipRefused,
    Command,
    DetachClip,
    DeviceFailed,
    DeviceOpened,
    QuitAudio,
)
from soundforge.live.audio_sound_card import SoundCard
from soundforge.live.audio_status import AudioStatus
from soundforge.live.mixer import Mixer
from soundforge.live.offline_device import OfflineDevice
from soundforge.live.priority import raise_process
from soundforge.live.ring_buffer import RecordRing, RingBuffer
from soundforge.live.shared_block import SharedBlock

POLL_SECONDS = 0.1
FADE_OUT_SECONDS = 0.03
SWITCH_INTERVAL_SECONDS = 0.0005  # how long the main thread may keep the interpreter from the callback


class Device(Protocol):
    """What the main thread asks of a device, be it real or offline."""

    opened: DeviceOpened
    fault: BaseException | None

    def start(self, mixer: Mixer) -> None: ...
    def stop(self) -> None: ...


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries below PortAudio from writing to the terminal: what matters is raised, and told in one line."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def audio_main(pipe: Connection, setup: AudioSetup, handles: AudioHandles, position: int, clock: float) -> None:
    """Entry of the process.

    Args:
        pipe: to the control process; when it closes, the sound fades out and the process ends.
        setup: the device.
        handles: the shared blocks.
        position, clock: the sample clock stood at `position` at `clock` (time.perf_counter seconds).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the control process's to handle
    asked = _asked_to_end()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    raise_process()
    device: Device | None = None
    clips: dict[int, SharedBlock] = {}  # the callback may play them until the device is stopped
    try:
        with quiet():
            device = OfflineDevice(setup) if setup.offline else SoundCard(setup)
        rate = device.opened.rate
        commands = RecordRing(handles.commands[0], COMMAND, handles.commands[1])
        mixer = _make_mixer(device.opened, handles, commands, position + max(0, round(
            (time.perf_counter() - clock) * rate)) if position else 0)
        # What the callback makes is freed by reference counting; a collection would only cost a deadline.
        gc.collect()
        gc.freeze()
        gc.disable()
        with quiet():
            device.start(mixer)
        pipe.send(device.opened)
        _serve(pipe, device, mixer, clips, asked)
        _fade_out(commands)
    except SoundForgeError as error:
        _tell(pipe, DeviceFailed(str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the control process is gone; so are we
    finally:
        if device is not None:
            with quiet():
                device.stop()
        # Ending in the ordinary way would wait for PortAudio, which hangs without its server.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _asked_to_end() -> threading.Event:
    """Set when the system asks this process to end: a service manager tells all of ours at once, and so does a terminal
    that is closed. Ending on the spot would be a click, and for a JACK server a client that died."""
    asked = threading.Event()
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: asked.set())
    return asked


def _make_mixer(opened: DeviceOpened, handles: AudioHandles, commands: RecordRing, position: int) -> Mixer:
    streams = [RingBuffer(*handle) for handle in handles.streams]
    return Mixer(opened.rate, streams[0].channels, commands, RecordRing(handles.events[0], EVENT, handles.events[1]),
                 RingBuffer(*handles.capture), streams, AudioStatus(handles.status), position)


def _serve(pipe: Connection, device: Device, mixer: Mixer, clips: dict[int, SharedBlock], asked: threading.Event
           ) -> None:
    """Obey the pipe until it closes or says quit, or the system does; raises DeviceError when the callback failed."""
    told = ""
    while not asked.is_set():
        if device.fault is not None:
            raise DeviceError(f"the audio callback failed ({device.fault!r}); it is started again")
        failure = getattr(device, "failure", "")
        if failure and failure != told:
            told = failure
            pipe.send(DeviceFailed(failure))
        if not pipe.poll(POLL_SECONDS):
            continue
        try:
            message = pipe.recv()
        except EOFError:
            return
        if isinstance(message, QuitAudio):
            return
        if isinstance(message, AttachClip):
            pipe.send(_attach(message, mixer, clips))
        elif isinstance(message, DetachClip):
            mixer.clips[message.index] = None
            if message.index in clips:
                clips.pop(message.index).close()


def _attach(message: AttachClip, mixer: Mixer, clips: dict[int, SharedBlock]) -> ClipAttached | ClipRefused:
    try:
        block = SharedBlock(name=message.name)
    except DeviceError as error:  # the sound goes on
        return ClipRefused(message.index, message.name, str(error))
    clips[message.index] = block
    mixer.clips[message.index] = block.array((message.n_samples, message.channels), np.float32)
    return ClipAttached(message.index, message.name)


def _fade_out(commands: RecordRing) -> None:
    commands.put((Command.MASTER, 0, NOW, 0, 0, 0, 0.0, 0.0))
    time.sleep(FADE_OUT_SECONDS)


def _tell(pipe: Connection, message: DeviceFailed) -> None:
    try:
        pipe.send(message)
    except OSError:
        return  # nobody is left to be told
