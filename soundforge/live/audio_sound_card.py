"""The sound card through PortAudio: one duplex stream, or two streams where input and output have clocks of their own.

With one stream PortAudio's callback gets input and output together. With two, the output's callback keeps the sample
clock and the input comes through a `DriftBridge`. Channels are picked and spread here, so that the mixer sees only
ours.

Threading: made and started on the audio process's main thread; the callbacks run on PortAudio's. Realtime-safe: the
callbacks; nothing may be raised or printed there, so a failure is kept in `fault`, which the main thread looks at.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import DeviceError
from soundforge.live.audio_protocol import AudioSetup, DeviceOpened
from soundforge.live.drift import DriftBridge
from soundforge.live.mixer import MAX_BLOCK, Mixer

Block = NDArray[np.float32]

ONE_CLOCK = ("JACK",)
"""Sound systems whose devices all run on one clock, with one block size: different devices need no resampling."""

FIRST_BLOCK_SECONDS = 0.3
STOP_SECONDS = 0.5


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


class SoundCard:
    """See the module. `opened` says what it runs at.

    Raises:
        DeviceError: no PortAudio, no such device or channel, or it does not run at this rate.
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
        self._outs = _count(self._output, "output", setup.output_map, setup.output_channels)
        self._ins = 0 if self._input is None else _count(self._input, "input", setup.input_map, setup.input_channels)
        host = str(self._sd.query_hostapis(self._output["hostapi"])["name"])
        self._own_blocks = any(system in host for system in ONE_CLOCK)
        self._bridge = self._make_bridge()
        self._check()
        two = self._input is not None and self._input["index"] != self._output["index"]
        self.opened = DeviceOpened(str(self._output["name"]), self.rate, self._ins, self._outs, 0.0, 0.0,
                                   str(self._input["name"]) if self._input is not None and two else "")
        self._streams: list[Any] = []
        # What the callbacks work in, made now.
        self._picked: Block = np.zeros((MAX_BLOCK, max(len(setup.input_map), 1)), np.float32)
        self._heard: Block = np.zeros((MAX_BLOCK, len(setup.input_map) or max(self._ins, 1)), np.float32)
        self._mix: Block = np.zeros((MAX_BLOCK, setup.output_channels), np.float32)
        self._slips = 0

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

    def _make_bridge(self) -> DriftBridge | None:
        """Where two clocks must be brought together, the input runs at its own rate where it has to."""
        if self._input is None or self._setup.drift == "off":
            return None
        if self._setup.drift == "auto":
            one_system = self._input["hostapi"] == self._output["hostapi"]
            if self._input["index"] == self._output["index"] or (one_system and self._own_blocks):
                return None
        self._input_rate = self.rate if self._runs_at(self.rate) else int(self._input["default_samplerate"])
        channels = len(self._setup.input_map) or self._ins
        return DriftBridge(self._input_rate, self.rate, channels, (self._setup.block, self._setup.block))

    def _runs_at(self, rate: int) -> bool:
        assert self._input is not None
        try:
            self._sd.check_input_settings(self._input["index"], self._ins, "float32", samplerate=rate)
        except self._sd.PortAudioError:
            return False
        return True

    def _check(self) -> None:
        sd = self._sd
        try:
            sd.check_output_settings(self._output["index"], self._outs, "float32", samplerate=self.rate)
            if self._input is not None:
                sd.check_input_settings(self._input["index"], self._ins, "float32",
                                        samplerate=self._input_rate if self._bridge else self.rate)
        except sd.PortAudioError as error:
            raise DeviceError(f"the audio device {self._output['name']!r} does not run at {self.rate} Hz with "
                              f"{self._ins} in, {self._outs} out ({error}); its own rate is "
                              f"{self._output['default_samplerate']:g} Hz, try without --rate") from error

    def start(self, mixer: Mixer) -> None:
        """Open and start the stream or streams."""
        try:
            if self._bridge is not None:
                self._start_two(mixer, self._bridge)
            else:
                self._start_one(mixer)
        except self._sd.PortAudioError as error:
            raise DeviceError(f"the audio device {self.opened.name!r} does not start ({error}); "
                              "is another program using it?") from error

    def _start_one(self, mixer: Mixer) -> None:
        sd = self._sd

        def duplex(inputs: Any, outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            self._block(mixer, self._pick(inputs), outputs, bool(status) and not status.priming_output)

        def output_only(outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            self._block(mixer, None, outputs, bool(status) and not status.priming_output)

        # A sound system that has its own block size gets no second one on top: that would cost a block of latency.
        common: dict[str, Any] = {"samplerate": self.rate, "blocksize": 0 if self._own_blocks else self._setup.block,
                                  "dtype": "float32", "latency": self._setup.latency}
        if self._input is not None:
            stream = sd.Stream(device=(self._input["index"], self._output["index"]), callback=duplex,
                               channels=(self._ins, self._outs), **common)
        else:
            stream = sd.OutputStream(device=self._output["index"], channels=self._outs, callback=output_only, **common)
        self._streams = [stream]
        stream.start()
        latency = stream.latency
        ins, outs = latency if isinstance(latency, tuple) else (0.0, latency)
        self._tell_latency(float(ins), float(outs), self._first_block(mixer) if self._own_blocks else 0)

    def _first_block(self, mixer: Mixer) -> int:
        """Wait a moment for the first callback: it knows the block size."""
        before, end = mixer.status.blocks, time.perf_counter() + FIRST_BLOCK_SECONDS
        while mixer.status.blocks == before and time.perf_counter() < end:
            time.sleep(0.005)
        return mixer.status.block

    def _start_two(self, mixer: Mixer, bridge: DriftBridge) -> None:
        sd = self._sd
        assert self._input is not None

        def hear(inputs: Any, n_samples: int, times: Any, status: Any) -> None:
            try:
                bridge.push(self._pick(inputs), time.perf_counter())
            except BaseException as error:
                self.fault = error

        def play(outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            now, heard = time.perf_counter(), self._heard[:len(outputs)]
            there = bridge.pull(heard, now)
            slipped, self._slips = bridge.slips > self._slips, bridge.slips
            mixer.status.set_drift(bridge.correction_ppm)
            self._block(mixer, heard if there else None, outputs,
                        slipped or (bool(status) and not status.priming_output))

        hearing = sd.InputStream(device=self._input["index"], channels=self._ins, callback=hear, dtype="float32",
                                 samplerate=self._input_rate, blocksize=self._setup.block, latency=self._setup.latency)
        playing = sd.OutputStream(device=self._output["index"], channels=self._outs, callback=play, dtype="float32",
                                  samplerate=self.rate, blocksize=self._setup.block, latency=self._setup.latency)
        self._streams = [hearing, playing]
        hearing.start()
        playing.start()
        self._tell_latency(float(hearing.latency) + bridge.delay_seconds, float(playing.latency))

    def _tell_latency(self, ins: float, outs: float, block: int = 0) -> None:
        self.opened = replace(self.opened, input_latency=ins, output_latency=outs, block=block)

    def _block(self, mixer: Mixer, inputs: Block | None, outputs: Block, xrun: bool) -> None:
        """One block of the mixer, its channels spread over the device's."""
        try:
            spread = self._setup.output_map
            if not spread:
                mixer.process(inputs, outputs, xrun)
                return
            mix = self._mix[:len(outputs)]
            mixer.process(inputs, mix, xrun)
            outputs.fill(0.0)
            for number, channel in enumerate(spread):
                outputs[:, channel] = mix[:, number % mix.shape[1]]
        except BaseException as error:
            outputs.fill(0.0)
            self.fault = error

    def _pick(self, inputs: Block) -> Block:
        """The device channels that were asked for."""
        chosen = self._setup.input_map
        if not chosen:
            return inputs
        picked = self._picked[:len(inputs)]
        for number, channel in enumerate(chosen):
            picked[:, number] = inputs[:, channel]
        return picked

    def stop(self) -> None:
        """Take leave of the sound system, for half a second at most.

        A JACK server that waits for its clients stands still when one goes without a word (measured: for more than a
        minute). But PortAudio may hang, or abort this process, when the device itself is gone: the process is about to
        end with `os._exit` anyway, and does so then.
        """
        leaving = threading.Thread(target=self._leave, name="sound card closing", daemon=True)
        leaving.start()
        leaving.join(STOP_SECONDS)

    def _leave(self) -> None:
        for stream in self._streams:
            try:
                stream.abort()
                stream.close()
            except self._sd.PortAudioError:
                return  # it is gone already, and so is this process in a moment
        self._sd._terminate()


def _count(device: dict[str, Any], kind: str, chosen: tuple[int, ...], wanted: int) -> int:
    """How many channels of a device are opened. Raises DeviceError."""
    there = int(device[f"max_{kind}_channels"])
    if chosen and max(chosen) >= there:
        raise DeviceError(f"the audio device {device['name']!r} has {there} {kind} channels, and channel "
                          f"{max(chosen) + 1} was asked for; change --{kind}-channels")
    return max(chosen) + 1 if chosen else min(wanted, there)
