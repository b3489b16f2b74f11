"""The sound card through PortAudio: one duplex stream, or two streams where input and output have clocks of their own.

With one stream PortAudio's callback gets input and output together. With two, the output's callback keeps the sample
clock and the input comes through a `DriftBridge`. Channels are picked and spread here, so that the mixer sees only
ours.

Threading: made and started on the audio process's main thread; the callbacks run on PortAudio's. Realtime-safe: the
callbacks; nothing may be raised or printed there, so a failure is kept in `fault`, which the main thread looks at.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import DeviceError
from soundforge.live.audio_devices import choose_devices, import_sounddevice
from soundforge.live.audio_protocol import AudioSetup, DeviceOpened
from soundforge.live.drift import DriftBridge
from soundforge.live.mixer import MAX_BLOCK, Mixer

Block = NDArray[np.float32]

FIRST_BLOCK_SECONDS = 0.3
STOP_SECONDS = 1.5        # shorter than the control process's patience


class SoundCard:
    """See the module. `opened` says what it runs at.

    Raises:
        DeviceError: no PortAudio, no such device or channel, or it does not run at this rate.
    """

    def __init__(self, setup: AudioSetup) -> None:
        self._sd = import_sounddevice()
        self.fault: BaseException | None = None
        self._setup = setup
        self._chosen = chosen = choose_devices(self._sd, setup)
        self.rate = chosen.rate
        heard = len(setup.input_map) or max(chosen.ins, 1)
        self._bridge = DriftBridge(chosen.input_rate, chosen.rate, heard, (setup.block, setup.block)) \
            if chosen.two_clocks else None
        self.opened = DeviceOpened(str(chosen.output["name"]), chosen.rate, chosen.ins, chosen.outs, 0.0, 0.0,
                                   chosen.input_name)
        self._streams: list[Any] = []
        # What the callbacks work in, made now.
        self._picked: Block = np.zeros((MAX_BLOCK, max(len(setup.input_map), 1)), np.float32)
        self._heard: Block = np.zeros((MAX_BLOCK, heard), np.float32)
        self._mix: Block = np.zeros((MAX_BLOCK, setup.output_channels), np.float32)
        self._slips = 0

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
        sd, chosen = self._sd, self._chosen

        def duplex(inputs: Any, outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            self._block(mixer, self._pick(inputs), outputs, bool(status) and not status.priming_output)

        def output_only(outputs: Any, n_samples: int, times: Any, status: Any) -> None:
            self._block(mixer, None, outputs, bool(status) and not status.priming_output)

        # A sound system that has its own block size gets no second one on top: that would cost a block of latency.
        common: dict[str, Any] = {"samplerate": self.rate, "blocksize": 0 if chosen.own_blocks else self._setup.block,
                                  "dtype": "float32", "latency": self._setup.latency}
        if chosen.input is not None:
            stream = sd.Stream(device=(chosen.input["index"], chosen.output["index"]), callback=duplex,
                               channels=(chosen.ins, chosen.outs), **common)
        else:
            stream = sd.OutputStream(device=chosen.output["index"], channels=chosen.outs, callback=output_only,
                                     **common)
        self._streams = [stream]
        stream.start()
        latency = stream.latency
        ins, outs = latency if isinstance(latency, tuple) else (0.0, latency)
        self._tell_latency(float(ins), float(outs), self._first_block(mixer) if chosen.own_blocks else 0)

    def _first_block(self, mixer: Mixer) -> int:
        """Wait a moment for the first callback: it knows the block size."""
        before, end = mixer.status.blocks, time.perf_counter() + FIRST_BLOCK_SECONDS
        while mixer.status.blocks == before and time.perf_counter() < end:
            time.sleep(0.005)
        return mixer.status.block

    def _start_two(self, mixer: Mixer, bridge: DriftBridge) -> None:
        sd, chosen = self._sd, self._chosen
        assert chosen.input is not None

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

        hearing = sd.InputStream(device=chosen.input["index"], channels=chosen.ins, callback=hear, dtype="float32",
                                 samplerate=chosen.input_rate, blocksize=self._setup.block, latency=self._setup.latency)
        playing = sd.OutputStream(device=chosen.output["index"], channels=chosen.outs, callback=play, dtype="float32",
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
        """Take leave of the sound system, for a second and a half at most.

        A JACK server that waits for its clients stands still when one goes without a word (measured: for more than a
        minute). But PortAudio may hang, or abort this process, when the device itself is gone: the process is about to
        end with `os._exit` anyway, and does so then.
        """
        leaving = threading.Thread(target=self._leave, name="sound card closing", daemon=True)
        leaving.start()
        leaving.join(STOP_SECONDS)

    def _leave(self) -> None:
        for stream in self._streams:
            # What is refused is gone already; the rest is let go of all the same.
            for leave in (stream.abort, stream.close):
                with contextlib.suppress(self._sd.PortAudioError):
                    leave()
        self._sd._terminate()
