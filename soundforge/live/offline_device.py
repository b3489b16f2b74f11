"""A sound device without a sound card: paced in real time, hears a file in a loop, records its output.

Blocks are due at `start + k * block / rate` on the monotonic clock, so the pace never drifts; a block that comes
late (the machine was busy) is flagged as a sound card would flag it, and those after it catch up.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundforge.audio import mix_channels, read, resample
from soundforge.errors import DeviceError
from soundforge.live.audio_protocol import AudioSetup, DeviceOpened
from soundforge.live.mixer import Mixer
from soundforge.live.priority import raise_thread
from soundforge.live.wav_recorder import WavRecorder

DEFAULT_RATE = 48_000
GIVE_UP_SECONDS = 5.0  # after a longer stop (suspend) the schedule starts anew instead of racing through it


def load_loop(path: str, rate: int, channels: int) -> NDArray[np.float32]:
    """The input file as `(n_samples, channels)` at the device's rate.

    Raises:
        AudioError: unreadable. DeviceError: it holds no samples.
    """
    wave = read(path)
    samples = mix_channels(resample(wave.samples, wave.sample_rate, rate), channels)
    if not samples.shape[1]:
        raise DeviceError(f"the offline input {path!r} holds no samples; give a recording to loop")
    return np.ascontiguousarray(samples.T)


class OfflineDevice:
    """See the module. `opened` says what it runs at; `fault` holds an error that ended it.

    Raises:
        AudioError, DeviceError, LibraryError: a file cannot be read or made.
    """

    def __init__(self, setup: AudioSetup) -> None:
        self.rate, self.block = setup.rate or DEFAULT_RATE, setup.block
        channels = setup.output_channels
        self._loop = load_loop(setup.offline_input, self.rate, setup.input_channels) if setup.offline_input else None
        self._recorder = (WavRecorder(Path(setup.offline_output), self.rate, channels)
                          if setup.offline_output else None)
        self.opened = DeviceOpened("offline", self.rate, setup.input_channels, channels, 0.0, 0.0)
        self.fault: BaseException | None = None
        self._out = np.zeros((self.block, channels), np.float32)
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, mixer: Mixer) -> None:
        """Run `mixer` from now on."""
        self._running.set()
        self._thread = threading.Thread(target=self._run, args=(mixer,), name="offline device", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop and close the recording. Safe to call twice."""
        self._running.clear()
        if self._thread is not None:
            self._thread.join()
        if self._recorder is not None:
            self._recorder.close()

    @property
    def failure(self) -> str:
        """Why the recording ended early, or "". """
        return "" if self._recorder is None else self._recorder.failure

    def _run(self, mixer: Mixer) -> None:
        raise_thread()
        period, heard = self.block / self.rate, 0
        due = time.perf_counter() + period
        try:
            while self._running.is_set():
                late = time.perf_counter() - due
                if late < 0:
                    time.sleep(-late)
                elif late > GIVE_UP_SECONDS:
                    due = time.perf_counter()
                inputs = None if self._loop is None else self._input(self._loop, heard)
                heard += self.block
                mixer.process(inputs, self._out, xrun=late > period)
                if self._recorder is not None:
                    self._recorder.push(self._out)
                due += period
        except BaseException as error:
            # Told to the control process by the main thread, which looks at `fault`.
            self.fault = error

    def _input(self, loop: NDArray[np.float32], heard: int) -> NDArray[np.float32]:
        at = heard % len(loop)
        if at + self.block <= len(loop):
            return loop[at:at + self.block]
        return loop[np.arange(at, at + self.block) % len(loop)]
