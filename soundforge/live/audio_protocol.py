"""What crosses between the control process and the audio process: records, status counters, set-up.

Into and out of the callback go fixed-size records through `RecordRing`s and counters in a status block, because
the callback only ever looks, and never waits. Everything slow (opening a device, attaching a clip) goes over an
ordinary pipe to the audio process's main thread as the dataclasses below.

Positions are int64 samples of the **sample clock**: they count from the start of the server, go on through a
restart of the audio process, and are the capture ring's `written` counter at the same time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from soundforge.live.ring_buffer import CACHE_LINE
from soundforge.live.shared_block import SharedBlock, make_fence

STREAM_VOICES = 4
CLIP_VOICES = 28
N_VOICES = STREAM_VOICES + CLIP_VOICES
"""Voices 0 .. STREAM_VOICES-1 play rings, the others play clip blocks."""

NOW = -1
"""A start or stop position that means "with the next block"."""

PRIME_GUARD = 64
"""Samples that a stream voice keeps in hand, so that an underrun can fade out instead of clicking."""

COMMAND = np.dtype([("kind", "i8"), ("voice", "i8"), ("at", "i8"), ("a", "i8"), ("b", "i8"), ("token", "i8"),
                    ("x", "f8"), ("y", "f8")])
"""kind, voice, at (position or NOW), a, b, token, x, y; what a, b, x, y mean stands with each `Command`."""

EVENT = np.dtype([("kind", "i8"), ("voice", "i8"), ("at", "i8"), ("token", "i8")])


class Command(IntEnum):
    """To the callback."""

    PLAY_STREAM = 1  # a = ring count to start from (-1 = where it is), b = fade-in samples, x = gain
    PLAY_CLIP = 2    # a = clip index, b = fade-in samples, x = gain, y = 1.0 to loop
    STOP = 3         # b = fade-out samples; token 0 = whatever plays there
    GAIN = 4         # x = gain
    MASTER = 5       # x = gain
    MONITOR = 6      # x = gain, b = ramp samples (equal power), begins at `at`
    PANIC = 7        # everything out within 3 ms; armed voices too
    MOVE = 8         # a voice that waits for its start starts at `at` instead; one that plays is left alone


class Happened(IntEnum):
    """From the callback."""

    STARTED = 1
    ENDED = 2
    STARVED = 3  # the ring ran dry: faded out, waiting for another PLAY_STREAM with the same token
    LATE = 4     # the start position had passed already: nothing is heard


@dataclass(frozen=True, slots=True)
class AudioSetup:
    """How the audio process opens its device.

    Args:
        input, output: device index or (part of) its name; None = the system's default; "" = no input.
        rate: Hz, or None for the device's own.
        block: samples per block.
        input_channels, output_channels: wanted; fewer when the device has fewer.
        input_map, output_map: device channels, counted from 0, that our channels come from and go to; () = the first
            ones. An output map may be longer than the mix has channels: they are sent round again.
        drift: "on" = input and output have clocks of their own, and are resampled to one; "off"; "auto" = when they
            are different devices of a sound system that does not do it itself.
        latency: "low", "high" or seconds, as PortAudio takes it.
        offline: use the offline device.
        offline_input, offline_output: file names, or "" for silence / nothing.
    """

    input: str | None = None
    output: str | None = None
    rate: int | None = None
    block: int = 256
    input_channels: int = 2
    output_channels: int = 2
    input_map: tuple[int, ...] = ()
    output_map: tuple[int, ...] = ()
    drift: str = "auto"
    latency: str | float = "low"
    offline: bool = False
    offline_input: str = ""
    offline_output: str = ""


@dataclass(frozen=True, slots=True)
class AudioHandles:
    """Names of the shared blocks that the audio process attaches to."""

    status: str
    commands: tuple[int, str]
    events: tuple[int, str]
    capture: tuple[int, int, str]
    streams: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class DeviceOpened:
    """The device runs: its actual rate and channels, and the latencies that its driver reports, in seconds.

    `name` is the output's; `input_name` "" = it is the same device, or there is no input. `block` = samples of a block
    where the sound system decides on that (JACK), else 0.
    """

    name: str
    rate: int
    input_channels: int
    output_channels: int
    input_latency: float
    output_latency: float
    input_name: str = ""
    block: int = 0


@dataclass(frozen=True, slots=True)
class DeviceFailed:
    """The device could not be opened or stopped by itself; one line for the user."""

    what: str


@dataclass(frozen=True, slots=True)
class AttachClip:
    """Make clip block `name` (`n_samples`, `channels` float32) playable as `index`."""

    index: int
    name: str
    n_samples: int
    channels: int


@dataclass(frozen=True, slots=True)
class DetachClip:
    index: int


@dataclass(frozen=True, slots=True)
class ClipAttached:
    index: int


@dataclass(frozen=True, slots=True)
class QuitAudio:
    """Fade out and end."""


class AudioStatus:
    """Counters that the callback keeps and the control process reads at any time.

    Times are `time.perf_counter()` seconds, which all processes of a machine share.
    `position` and `clock` belong together and are written under a sequence number; the rest are single values.
    """

    _SEQUENCE, _POSITION, _BLOCKS, _UNDERRUNS, _LATE, _XRUNS, _LIMITED, _PLAYING = range(0, 8 * CACHE_LINE, CACHE_LINE)
    _BLOCK = 8 * CACHE_LINE
    _CLOCK, _PEAK_IN, _PEAK_OUT, _LONGEST, _DRIFT = range(5)
    _N_INTS, _N_FLOATS = 9 * CACHE_LINE, 8

    def __init__(self, name: str = "") -> None:
        self._block = SharedBlock(0 if name else (self._N_INTS + self._N_FLOATS) * 8, name)
        self.name = self._block.name
        self._ints: NDArray[np.int64] = self._block.array((self._N_INTS,), np.int64)
        self._floats: NDArray[np.float64] = self._block.array((self._N_FLOATS,), np.float64, self._N_INTS * 8)
        self._fence = make_fence()

    # --- written by the callback ---

    def tick(self, position: int, clock: float) -> None:
        """A block is done: the sample clock stands at `position` at `clock` (time.perf_counter seconds), which is when
        the next block is due."""
        sequence = int(self._ints[self._SEQUENCE])
        self._ints[self._SEQUENCE] = sequence + 1
        self._fence()
        self._ints[self._POSITION] = position
        self._floats[self._CLOCK] = clock
        self._fence()
        self._ints[self._SEQUENCE] = sequence + 2
        self._ints[self._BLOCKS] += 1

    def count_underrun(self) -> None:
        self._ints[self._UNDERRUNS] += 1

    def count_late(self) -> None:
        self._ints[self._LATE] += 1

    def count_xrun(self) -> None:
        self._ints[self._XRUNS] += 1

    def count_limited(self) -> None:
        self._ints[self._LIMITED] += 1

    def set_playing(self, voices: int) -> None:
        self._ints[self._PLAYING] = voices

    def meter(self, peak_in: float, peak_out: float, seconds: float) -> None:
        """Peaks of the last block, and how long the callback took (the longest is kept)."""
        self._floats[self._PEAK_IN] = peak_in
        self._floats[self._PEAK_OUT] = peak_out
        if seconds > self._floats[self._LONGEST]:
            self._floats[self._LONGEST] = seconds

    def set_block(self, n_samples: int) -> None:
        """How many samples the device asks for at a time."""
        self._ints[self._BLOCK] = n_samples

    def set_drift(self, ppm: float) -> None:
        """How much faster than nominal the input device runs than the output device."""
        self._floats[self._DRIFT] = ppm

    # --- read anywhere ---

    def clock(self) -> tuple[int, float]:
        """`(position, time.perf_counter())` of the last block, consistent with each other."""
        for _ in range(1000):
            before = int(self._ints[self._SEQUENCE])
            self._fence()
            position, at = int(self._ints[self._POSITION]), float(self._floats[self._CLOCK])
            self._fence()
            if before % 2 == 0 and int(self._ints[self._SEQUENCE]) == before:
                return position, at
            if before % 2:
                time.sleep(0)
        # The writer died between its two stores; what stands there is at most one block off.
        return int(self._ints[self._POSITION]), float(self._floats[self._CLOCK])

    def mend(self) -> None:
        """Make the sequence even again after the audio process died in the middle of a tick."""
        self._ints[self._SEQUENCE] += int(self._ints[self._SEQUENCE]) % 2

    @property
    def position(self) -> int:
        return int(self._ints[self._POSITION])

    @property
    def blocks(self) -> int:
        """The heartbeat: blocks ever processed."""
        return int(self._ints[self._BLOCKS])

    @property
    def underruns(self) -> int:
        """Blocks in which a stream voice ran dry."""
        return int(self._ints[self._UNDERRUNS])

    @property
    def late(self) -> int:
        """Starts whose position had passed."""
        return int(self._ints[self._LATE])

    @property
    def xruns(self) -> int:
        """Blocks that the device flagged as underflow or overflow."""
        return int(self._ints[self._XRUNS])

    @property
    def limited(self) -> int:
        """Blocks in which the safety limiter acted."""
        return int(self._ints[self._LIMITED])

    @property
    def playing(self) -> int:
        """Voices that sound."""
        return int(self._ints[self._PLAYING])

    @property
    def peak_in(self) -> float:
        return float(self._floats[self._PEAK_IN])

    @property
    def peak_out(self) -> float:
        return float(self._floats[self._PEAK_OUT])

    @property
    def block(self) -> int:
        """Samples of the last block."""
        return int(self._ints[self._BLOCK])

    @property
    def drift_ppm(self) -> float:
        """Of the input device's clock against the output device's, parts per million; 0 when they are one."""
        return float(self._floats[self._DRIFT])

    @property
    def longest_block_seconds(self) -> float:
        """The longest the callback ever took."""
        return float(self._floats[self._LONGEST])

    def close(self) -> None:
        self._ints = np.zeros(self._N_INTS, np.int64)
        self._floats = np.zeros(self._N_FLOATS, np.float64)
        self._block.close()
