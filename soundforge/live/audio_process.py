"""The audio process: opens the sound card and drives the mixer. The only module that imports sounddevice.

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
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from soundforge.errors import DeviceError, SoundForgeError
from soundforge.live.audio_protocol import (
    COMMAND,
    EVENT,
    NOW,
    AttachClip,
    AudioHandles,
    AudioSetup,
    AudioStatus,
    ClipAttached,
    Command,
    DetachClip,
    DeviceFailed,
    DeviceOpened,
    QuitAudio,
)
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


def import_sounddevice() -> Any:
    """The sounddevice module.

    Raises:
        DeviceError: PortAudio is not installed.
    """
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise DeviceError(f"PortAudio cannot be loaded ({error}); install it (Debian: apt-get install libportaudio2), "
                          "or use --offline-device") from error
    return sounddevice


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


class SoundCard:
    """A PortAudio duplex (or output only) stream.

    Raises:
        DeviceError: no PortAudio, no such device, or it does not run at this rate.
    """

    def __init__(self, setup: AudioSetup) -> None:
        self._sd = import_sounddevice()
        self.fault: BaseException | None = None
        self._setup = setup
        output = self._find(setup.output, "output")
        assert output is not None, "only an input may be missing"
        self._output: dict[str, Any] = output
        self._input = None if setup.input == "" else self._find(setup.input, "input")
        self.rate = setup.rate or int(self._output["default_samplerate"])
        outs = min(setup.output_channels, int(self._output["max_output_channels"]))
        ins = 0 if self._input is None else min(setup.input_channels, int(self._input["max_input_channels"]))
        self._check(outs, ins)
        inputs = float(self._input["default_low_input_latency"]) if self._input else 0.0
        self.opened = DeviceOpened(str(self._output["name"]), self.rate, ins, outs, inputs,
                                   float(self._output["default_low_output_latency"]))
        self._stream: Any = None

    def _find(self, wanted: str | None, kind: str) -> dict[str, Any] | None:
        device = int(wanted) if wanted is not None and wanted.isdigit() else wanted
        try:
            found: dict[str, Any] = self._sd.query_devices(device, kind)
        except (ValueError, self._sd.PortAudioError) as error:
            if wanted is None and kind == "input":
                return None  # a machine without a microphone still plays
            there = [d["name"] for d in self._sd.query_devices() if d[f"max_{kind}_channels"] > 0]
            asked = "there is no default" if wanted is None else f"{wanted!r} is not (exactly one)"
            listed = f"there are: {', '.join(there)}" if there else "there is none; use --offline-device"
            raise DeviceError(f"{asked} audio {kind} device ({str(error).splitlines()[0]}); {listed}") from error
        if not found[f"max_{kind}_channels"]:
            raise DeviceError(f"the audio device {found['name']!r} has no {kind}s; choose another --{kind}")
        return found

    def _check(self, outs: int, ins: int) -> None:
        sd = self._sd
        try:
            sd.check_output_settings(self._output["index"], outs, "float32", samplerate=self.rate)
            if self._input is not None:
                sd.check_input_settings(self._input["index"], ins, "float32", samplerate=self.rate)
        except sd.PortAudioError as error:
            raise DeviceError(
                f"the audio device {self._output['name']!r} does not run at {self.rate} Hz with {ins} in, {outs} out "
                f"({error}); its own rate is {self._output['default_samplerate']:g} Hz, try without --rate") from error

    def start(self, mixer: Mixer) -> None:
        """Open and start the stream."""
        sd, opened = self._sd, self.opened

        def block(mixer: Mixer, inputs: Any, outputs: Any, status: Any) -> None:
            try:
                mixer.process(inputs, outputs, bool(status) and not status.priming_output)
            except BaseException as error:
                # Told by the main thread, which looks at `fault`; here nothing may be raised or printed.
                outputs.fill(0.0)
                self.fault = error

        def duplex(inputs: Any, outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            block(mixer, inputs, outputs, status)

        def output_only(outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            block(mixer, None, outputs, status)

        common: dict[str, Any] = {"samplerate": self.rate, "blocksize": self._setup.block, "dtype": "float32",
                                  "latency": self._setup.latency}
        try:
            if self._input is not None:
                self._stream = sd.Stream(device=(self._input["index"], self._output["index"]), callback=duplex,
                                         channels=(opened.input_channels, opened.output_channels), **common)
            else:
                self._stream = sd.OutputStream(device=self._output["index"], channels=opened.output_channels,
                                               callback=output_only, **common)
            self._stream.start()
        except sd.PortAudioError as error:
            raise DeviceError(f"the audio device {opened.name!r} does not start ({error}); "
                              "is another program using it?") from error
        latency = self._stream.latency
        ins, outs = latency if isinstance(latency, tuple) else (0.0, latency)
        self.opened = DeviceOpened(opened.name, self.rate, opened.input_channels, opened.output_channels,
                                   float(ins), float(outs))

    def stop(self) -> None:
        """Nothing: PortAudio's stop may hang for ever when the device is gone. The process ends with `os._exit`,
        and the system closes the device with it."""


def audio_main(pipe: Connection, setup: AudioSetup, handles: AudioHandles, position: int, clock: float) -> None:
    """Entry of the process.

    Args:
        pipe: to the control process; when it closes, the sound fades out and the process ends.
        setup: the device.
        handles: the shared blocks.
        position, clock: the sample clock stood at `position` at `clock` (time.perf_counter seconds).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the control process's to handle
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    raise_process()
    device: Device | None = None
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
        _serve(pipe, device, mixer)
        _fade_out(commands)
    except SoundForgeError as error:
        _tell(pipe, DeviceFailed(str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the control process is gone; so are we
    finally:
        if device is not None:
            device.stop()
        # Ending in the ordinary way would let PortAudio terminate, which aborts or hangs without its server.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _make_mixer(opened: DeviceOpened, handles: AudioHandles, commands: RecordRing, position: int) -> Mixer:
    streams = [RingBuffer(*handle) for handle in handles.streams]
    return Mixer(opened.rate, streams[0].channels, commands, RecordRing(handles.events[0], EVENT, handles.events[1]),
                 RingBuffer(*handles.capture), streams, AudioStatus(handles.status), position)


def _serve(pipe: Connection, device: Device, mixer: Mixer) -> None:
    """Obey the pipe until it closes or says quit; raises DeviceError when the callback failed."""
    blocks: dict[int, SharedBlock] = {}
    told = ""
    while True:
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
            blocks[message.index] = block = SharedBlock(name=message.name)
            mixer.clips[message.index] = block.array((message.n_samples, message.channels), np.float32)
            pipe.send(ClipAttached(message.index))
        elif isinstance(message, DetachClip):
            mixer.clips[message.index] = None
            if message.index in blocks:
                blocks.pop(message.index).close()


def _fade_out(commands: RecordRing) -> None:
    commands.put((Command.MASTER, 0, NOW, 0, 0, 0, 0.0, 0.0))
    time.sleep(FADE_OUT_SECONDS)


def _tell(pipe: Connection, message: DeviceFailed) -> None:
    try:
        pipe.send(message)
    except OSError:
        return  # nobody is left to be told
