"""The control process's side of the audio process: starts it, watches it, starts it again, talks to its callback.

All shared memory is made here, once, and outlives every audio process: a device that vanishes takes the process
with it, and the next one goes on in the same rings at the same sample clock. While the asked-for device cannot be
opened a silent stand-in keeps the clock going, and the device is tried again every few seconds.

Threading: belongs to the event loop; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import DeviceError
from soundforge.live import spawning
from soundforge.live.audio_process import audio_main
from soundforge.live.audio_protocol import (
    COMMAND,
    EVENT,
    STREAM_VOICES,
    AttachClip,
    AudioHandles,
    AudioSetup,
    AudioStatus,
    ClipAttached,
    Command,
    DetachClip,
    DeviceFailed,
    DeviceOpened,
    Happened,
    QuitAudio,
)
from soundforge.live.clock_line import ClockFilter, ClockLine
from soundforge.live.latency import Latency, LatencyOf, reported
from soundforge.live.ring_buffer import RecordRing, RingBuffer
from soundforge.live.shared_block import SharedBlock
from soundforge.live.sleep_watch import SleepWatch
from soundforge.tasks import end_task

POLL_SECONDS = 0.005
HEARTBEAT_SECONDS = 2.0     # longer than the pauses a loaded machine makes, shorter than an audience's patience
OPEN_SECONDS = 20.0
END_SECONDS = 1.5           # to fade out and end: it needs some hundredths
RETRY_SECONDS = 5.0
QUICK_RESTARTS = 3
STREAM_SAMPLES = 2**18      # 5.5 s at 48 kHz, 2 MiB in stereo
CAPTURE_SAMPLES = 2**18
STAND_IN_RATE = 48_000

OnCapture = Callable[[int, NDArray[np.float32]], None]
OnHappened = Callable[[Happened, int, int, int], None]


class AudioClient:
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
        self.setup = setup
        self.latency = Latency()
        self._latency_of = latency_of
        self.opened: DeviceOpened | None = None
        self._rate = setup.rate or STAND_IN_RATE
        self._clock = ClockFilter(self._rate)
        self.standing_in = False
        self.restarts = 0
        self._on_capture, self._on_happened = on_capture, on_happened
        self._on_device, self._on_trouble, self._on_slept = on_device, on_trouble, on_slept
        self._sleep = SleepWatch()
        channels = setup.output_channels
        self.status = AudioStatus()
        self._commands = RecordRing(1024, COMMAND)
        self._events = RecordRing(1024, EVENT)
        self._capture = RingBuffer(CAPTURE_SAMPLES, setup.input_channels)
        self.streams = [RingBuffer(STREAM_SAMPLES, channels) for _ in range(STREAM_VOICES)]
        self._clips: dict[int, tuple[SharedBlock, AttachClip, asyncio.Future[None]]] = {}
        self._free_indices = list(range(1023, -1, -1))
        self._process: Any = None
        self._pipe: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._began = self._beat_at = self._retry_at = 0.0
        self._beats = self._failures = 0
        self._scratch = np.empty((CAPTURE_SAMPLES, setup.input_channels), np.float32)
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
        if self._process is not None:
            self._send(QuitAudio())
            await asyncio.to_thread(self._end_process, END_SECONDS)
        for block, _, _ in self._clips.values():
            block.close()
        self._clips.clear()
        for ring in (self._capture, *self.streams):
            ring.close()
        for records in (self._commands, self._events):
            records.close()
        self.status.close()

    @property
    def rate(self) -> int:
        """Of the sample clock, Hz."""
        return self._rate

    @property
    def channels(self) -> int:
        """Of streams and clips."""
        return self.setup.output_channels

    @property
    def pid(self) -> int | None:
        """Of the audio process."""
        return self._process.pid if self._process is not None else None

    @property
    def overruns(self) -> int:
        """Captured blocks that were lost because this process did not keep up."""
        return self._capture.overruns

    def now(self) -> float:
        """Where the sample clock stands, between blocks as well."""
        position, clock = self.status.clock()
        if not clock:
            return float(position)
        return position + min(time.perf_counter() - clock, OPEN_SECONDS) * self.rate

    @property
    def line(self) -> ClockLine:
        """The sample clock against `time.perf_counter()`, its jitter filtered. Thread-safe: a value."""
        if not self._clock.known:
            return ClockLine(float(self.status.position), time.perf_counter(), self.rate)
        return self._clock.line

    @property
    def drift_ppm(self) -> float:
        """How much faster than nominal the sample clock runs, in parts per million of the machine's clock."""
        return self._clock.deviation_ppm

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
        """The first position for which a start given now is in time: two blocks and a margin from now.

        A start is the position at which sound is given out; it is heard `output_delay` samples later.
        """
        return int(self.now()) + 2 * self.block + int(0.01 * self.rate)

    @property
    def block(self) -> int:
        """Samples of a block: what was asked for, or what the device takes when that is more."""
        return max(self.setup.block, self.status.block)

    # --- commands to the callback ---

    def play_stream(self, voice: int, token: int, at: int, count: int, fade_in: int, gain: float) -> None:
        """Play stream ring `voice` from ring count `count` (-1: where it is) at position `at`."""
        self._command(Command.PLAY_STREAM, voice, at, count, fade_in, token, gain, 0.0)

    def play_clip(self, voice: int, token: int, at: int, index: int, fade_in: int, gain: float, loop: bool) -> None:
        """Play attached clip `index` on a clip voice at position `at`."""
        self._command(Command.PLAY_CLIP, voice, at, index, fade_in, token, gain, float(loop))

    def move_voice(self, voice: int, token: int, at: int) -> None:
        """Let a voice that waits for its start begin at another position; one that plays is left alone."""
        self._command(Command.MOVE, voice, at, 0, 0, token, 0.0, 0.0)

    def stop_voice(self, voice: int, token: int, at: int, fade_out: int) -> None:
        """Fade a voice out at position `at`."""
        self._command(Command.STOP, voice, at, 0, fade_out, token, 0.0, 0.0)

    def set_gain(self, voice: int, gain: float) -> None:
        self._command(Command.GAIN, voice, 0, 0, 0, 0, gain, 0.0)

    def set_master(self, gain: float) -> None:
        self._command(Command.MASTER, 0, 0, 0, 0, 0, gain, 0.0)

    def set_monitor(self, gain: float, at: int, n_samples: int) -> None:
        """Move the gain with which the input is heard, within `n_samples` from position `at` on."""
        self._command(Command.MONITOR, 0, at, 0, n_samples, 0, gain, 0.0)

    def panic(self) -> None:
        """Everything silent within 3 ms."""
        self._command(Command.PANIC, 0, 0, 0, 0, 0, 0.0, 0.0)

    def _command(self, kind: Command, *rest: float) -> None:
        if not self._commands.put((int(kind), *rest)):
            self._trouble("the audio process takes no commands; it is watched, and started again if it hangs")

    # --- clips ---

    async def attach(self, samples: NDArray[np.float32]) -> int:
        """Put a clip `(n_samples, channels)` at the callback's disposal; gives its index.

        Raises:
            DeviceError: no memory, or too many clips.
        """
        if not self._free_indices:
            raise DeviceError("1024 clips are loaded already; delete some")
        block = await asyncio.to_thread(_share, samples)
        index = self._free_indices.pop()
        message = AttachClip(index, block.name, len(samples), samples.shape[1])
        done = asyncio.get_running_loop().create_future()
        self._clips[index] = (block, message, done)
        self._send(message)
        await done
        return index

    def detach(self, index: int) -> None:
        """Free a clip that no voice plays any more."""
        found = self._clips.pop(index, None)
        if found is not None:
            self._send(DetachClip(index))
            found[0].close()
            self._free_indices.append(index)

    # --- the process ---

    def _launch(self, setup: AudioSetup) -> None:
        """Start a process for `setup`; whatever the last one left in the command ring is passed over."""
        context = multiprocessing.get_context("spawn")
        while self._commands.get() is not None:
            pass
        self.status.mend()
        position, clock = self.status.clock()
        handles = AudioHandles(self.status.name, self._commands.handle(), self._events.handle(),
                               self._capture.handle(), tuple(ring.handle() for ring in self.streams))
        ours, theirs = context.Pipe()
        self._process = context.Process(target=audio_main, args=(theirs, setup, handles, position, clock),
                                        name="soundforge audio", daemon=True)
        spawning.start(self._process)
        theirs.close()
        self._pipe = ours
        self._began = self._beat_at = time.monotonic()
        self._beats = self.status.blocks
        self.opened = None

    def _end_process(self, patience: float) -> None:
        """Blocks: wait for the process, then kill it."""
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _send(self, message: object) -> None:
        if self._pipe is not None:
            try:
                self._pipe.send(message)
            except OSError:
                return  # it is gone; the watch below sees that and starts another, which gets all clips

    async def _run(self) -> None:
        while True:
            self._read_pipe()
            self._read_clock()
            self._read_events()
            self.read_capture()
            await self._watch()
            await asyncio.sleep(POLL_SECONDS)

    def _read_pipe(self) -> None:
        while self._pipe is not None:
            try:
                if not self._pipe.poll():
                    return
                message = self._pipe.recv()
            except (EOFError, OSError):
                self._pipe.close()
                self._pipe = None
                return
            if isinstance(message, DeviceOpened):
                self._device_opened(message)
            elif isinstance(message, DeviceFailed):
                self._trouble(message.what)
            elif isinstance(message, ClipAttached) and message.index in self._clips:
                done = self._clips[message.index][2]
                if not done.done():
                    done.set_result(None)

    def _device_opened(self, opened: DeviceOpened) -> None:
        self.opened, self._rate = opened, opened.rate
        self.latency = self._latency_of(opened, opened.block or self.setup.block)
        self._clock = ClockFilter(opened.rate)
        self._beat_at = time.monotonic()  # its patience begins now, however long the opening took
        for _, message, _ in self._clips.values():
            self._send(message)
        if not self.standing_in:
            self._told = ""
        self._on_device(opened)
        if self._first_opened is not None and not self._first_opened.done():
            self._first_opened.set_result(None)

    def _read_clock(self) -> None:
        position, clock = self.status.clock()
        if clock and self.opened is not None:
            self._clock.observe(position, clock)

    def _read_events(self) -> None:
        while (record := self._events.get()) is not None:
            what, voice, position, token = (int(value) for value in record)
            self._on_happened(Happened(what), voice, position, token)

    def read_capture(self) -> None:
        """Hand on what was captured by now."""
        n = self._capture.available
        if n:
            position = self._capture.position
            out = self._scratch[:n]
            self._capture.read(out)
            self._on_capture(position, out.copy())

    async def _watch(self) -> None:
        """See that blocks go by; end a process that hangs, replace one that is gone."""
        now = time.monotonic()
        blocks, slept = self.status.blocks, self._sleep.look()
        if blocks != self._beats or slept:  # who slept cannot have heard a heart beat
            self._beats, self._beat_at = blocks, now
        if slept:
            self._on_slept(slept)
        dead = self._pipe is None or not self._process.is_alive()
        patience = HEARTBEAT_SECONDS if self.opened else OPEN_SECONDS
        if not dead and now - self._beat_at > patience:
            self._trouble("the audio device stopped answering; it is opened again")
            dead = True
        if self.standing_in and not dead and self.opened and now > self._retry_at:
            dead = True  # make room for another try of the real device
        if dead:
            await self._replace(now)

    async def _replace(self, now: float) -> None:
        was_open, was_standing_in = self.opened is not None, self.standing_in
        rate = self.rate
        await asyncio.to_thread(self._end_process, 0.0)
        self._read_events()
        self.restarts += 1
        # One that had its device is started again at once, unless that keeps happening; one that could not open it
        # gives way to the stand-in, and the stand-in to another try.
        self._failures = 0 if now - self._began > RETRY_SECONDS else self._failures + 1
        self.standing_in = not was_standing_in and not (was_open and self._failures <= QUICK_RESTARTS)
        if self.standing_in:
            self._retry_at = now + RETRY_SECONDS
            self._launch(replace(self.setup, offline=True, offline_input="", offline_output="", rate=rate))
        else:
            self._launch(self.setup)

    def _trouble(self, what: str) -> None:
        if what != self._told:  # a device that stays away is reported once, not every few seconds
            self._told = what
            self._on_trouble(what)


def _share(samples: NDArray[np.float32]) -> SharedBlock:
    block = SharedBlock(max(samples.nbytes, 4))
    block.array(samples.shape, np.float32)[...] = samples
    return block
