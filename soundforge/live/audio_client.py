"""The control process's side of the audio process: starts it, watches it, starts it again, talks to its callback.

The shared memory (`audio_memory`) outlives every audio process: a device that vanishes takes the process with it, and
the next one goes on in the same rings at the same sample clock. While the asked-for device cannot be opened a silent
stand-in keeps the clock going, and the device is tried again every few seconds (`audio_watch`).

Threading: belongs to the event loop; nothing here blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from soundforge.live.audio_child import AudioChild
from soundforge.live.audio_clips import AttachedClips
from soundforge.live.audio_clock import SampleClock
from soundforge.live.audio_commands import AudioCommands
from soundforge.live.audio_memory import AudioMemory
from soundforge.live.audio_protocol import AudioSetup, DeviceFailed, DeviceOpened, Happened, QuitAudio
from soundforge.live.audio_watch import AudioWatch
from soundforge.live.clock_line import ClockLine
from soundforge.live.latency import Latency, LatencyOf, reported
from soundforge.tasks import end_task

POLL_SECONDS = 0.005
END_SECONDS = 2.0           # to fade out and take leave: it needs a tenth, on a busy machine a second
STAND_IN_RATE = 48_000

OnCapture = Callable[[int, NDArray[np.float32]], None]
OnHappened = Callable[[Happened, int, int, int], None]


class AudioClient(AudioCommands):
    """See the module.

    Args:
        setup: the wanted device.
        on_capture: `on_capture(position, samples)`: input `(n, channels)`, gapless, since `position`.
        on_happened: `on_happened(what, voice, position, token)`.
        on_device: told of the device that runs now (`DeviceOpened`), also after a restart, when every voice is gone.
        on_trouble: one line for the user.
        latency_of: what the latencies of an opened device are.
        on_slept: told for how many seconds the machine slept, or this process stood still.
    """

    def __init__(self, setup: AudioSetup, *, on_capture: OnCapture, on_happened: OnHappened,
                 on_device: Callable[[DeviceOpened], None], on_trouble: Callable[[str], None],
                 latency_of: LatencyOf = reported, on_slept: Callable[[float], None] = lambda seconds: None) -> None:
        self._memory = AudioMemory(setup.input_channels, setup.output_channels)
        super().__init__(self._memory.commands, self._trouble)
        self.setup = setup
        self.latency = Latency()
        self.opened: DeviceOpened | None = None
        self.restarts = 0
        self.status, self.streams = self._memory.status, self._memory.streams
        self._latency_of = latency_of
        self._on_capture, self._on_happened = on_capture, on_happened
        self._on_device, self._on_trouble, self._on_slept = on_device, on_trouble, on_slept
        self._clock = SampleClock(self.status, setup.rate or STAND_IN_RATE)
        self._clips = AttachedClips(self._send)
        self._watch = AudioWatch()
        self._child: AudioChild | None = None
        self._task: asyncio.Task[None] | None = None
        self._first_opened: asyncio.Future[None] | None = None
        self._told = ""

    # --- life ---

    async def start(self) -> DeviceOpened:
        """Start the process; returns when a device, or its stand-in, runs."""
        self._first_opened = asyncio.get_running_loop().create_future()
        self._launch(self.setup)
        self._task = asyncio.create_task(self._run(), name="audio client")
        await self._first_opened
        assert self.opened is not None
        return self.opened

    async def stop(self) -> None:
        """Fade out, end the process, free the memory. Safe to call twice."""
        task, self._task = self._task, None
        await end_task(task)
        if self._child is not None:
            self._send(QuitAudio())
            await asyncio.to_thread(self._child.end, END_SECONDS)
        self._clips.close()
        self._memory.close()

    # --- how it stands ---

    @property
    def rate(self) -> int:
        """Of the sample clock, Hz."""
        return self._clock.rate

    @property
    def channels(self) -> int:
        """Of streams and clips."""
        return self.setup.output_channels

    @property
    def block(self) -> int:
        """Samples of a block: what was asked for, or what the device takes when that is more."""
        return max(self.setup.block, self.status.block)

    @property
    def pid(self) -> int | None:
        """Of the audio process."""
        return self._child.pid if self._child is not None else None

    @property
    def standing_in(self) -> bool:
        """The wanted device is not there; a silent one keeps the clock."""
        return self._watch.standing_in

    @property
    def overruns(self) -> int:
        """Captured blocks that were lost because this process did not keep up."""
        return self._memory.capture.overruns

    # --- time ---

    def now(self) -> float:
        """Where the sample clock stands, between blocks as well."""
        return self._clock.now()

    @property
    def line(self) -> ClockLine:
        """The sample clock against `time.perf_counter()`, its jitter filtered. Thread-safe: a value."""
        return self._clock.line

    @property
    def drift_ppm(self) -> float:
        """How much faster than nominal the sample clock runs, in parts per million of the machine's clock."""
        return self._clock.drift_ppm

    def position_at(self, seconds: float) -> float:
        """Where the sample clock stood, or will stand, at a `time.perf_counter()`."""
        return self.line.position_at(seconds)

    @property
    def input_delay(self) -> int:
        """Samples between a sound and the position at which it is captured."""
        return round(self.latency.input_seconds * self.rate)

    @property
    def output_delay(self) -> int:
        """Samples between the position at which a sound is given out and the one at which it is heard."""
        return round(self.latency.output_seconds * self.rate)

    def soon(self) -> int:
        """The first position for which a start given now is in time, two blocks and a margin from now; what is given
        out there is heard `output_delay` samples later."""
        return int(self.now()) + 2 * self.block + int(0.01 * self.rate)

    # --- clips ---

    async def attach(self, samples: NDArray[np.float32]) -> int:
        """Put a clip `(n_samples, channels)` at the callback's disposal; gives its index. Raises DeviceError."""
        return await self._clips.attach(samples)

    def detach(self, index: int) -> None:
        """Free a clip that no voice plays any more."""
        self._clips.detach(index)

    # --- the process ---

    def _launch(self, setup: AudioSetup) -> None:
        """Start a process for `setup`; whatever the last one left in the command ring is passed over."""
        self._memory.pass_to_next()
        position, clock = self.status.clock()
        self._child = AudioChild(setup, self._memory.handles(), position, clock)
        self._watch.started(self.status.blocks)
        self.opened = None

    def _send(self, message: object) -> None:
        if self._child is not None:
            self._child.send(message)

    async def _run(self) -> None:
        assert self._child is not None
        while True:
            for message in self._child.messages():
                self._on_message(message)
            if self.opened is not None:
                self._clock.look()
            self._read_events()
            self.read_capture()
            self.send_waiting()
            await self._see_to_it(self._child)
            await asyncio.sleep(POLL_SECONDS)

    def _on_message(self, message: object) -> None:
        if isinstance(message, DeviceOpened):
            self._device_opened(message)
        elif isinstance(message, DeviceFailed):
            self._trouble(message.what)
        else:
            self._clips.on_message(message)

    def _device_opened(self, opened: DeviceOpened) -> None:
        self.opened = opened
        self.latency = self._latency_of(opened, opened.block or self.setup.block)
        self._clock.reopened(opened.rate)
        self._watch.opened()
        self._clips.send_all()
        self._told = self._told if self.standing_in else ""
        if self.restarts:
            self.forget_waiting()
        self._on_device(opened)
        if self._first_opened is not None and not self._first_opened.done():
            self._first_opened.set_result(None)

    def _read_events(self) -> None:
        for event in self._memory.happened():
            self._on_happened(*event)

    def read_capture(self) -> None:
        """Hand on what was captured by now."""
        captured = self._memory.captured()
        if captured is not None:
            self._on_capture(*captured)

    async def _see_to_it(self, child: AudioChild) -> None:
        """See that blocks go by; end a process that hangs, replace one that is gone."""
        slept = self._watch.look(self.status.blocks)
        if slept:
            self._on_slept(slept)
        was_open, gone = self.opened is not None, child.gone
        if not gone and self._watch.silent(was_open):
            self._trouble("the audio device stopped answering; it is opened again")
            gone = True
        if gone or (was_open and self._watch.try_again()):
            await self._replace(child, was_open)

    async def _replace(self, child: AudioChild, was_open: bool) -> None:
        await asyncio.to_thread(child.end, 0.0)
        self._read_events()
        self.restarts += 1
        silent = replace(self.setup, offline=True, offline_input="", offline_output="", rate=self.rate)
        self._launch(silent if self._watch.replace(was_open) else self.setup)

    def _trouble(self, what: str) -> None:
        if what != self._told:  # a device that stays away is reported once, not every few seconds
            self._told = what
            self._on_trouble(what)
