"""What crosses between the control process and the audio process: records, messages, set-up.

Into and out of the callback go fixed-size records through `RecordRing`s and counters in a status block
(`audio_status`), because the callback only ever looks, and never waits. Everything slow (opening a device, attaching
a clip) goes over an ordinary pipe to the audio process's main thread as the dataclasses below.

Positions are int64 samples of the **sample clock**: they count from the start of the server, go on through a
restart of the audio process, and are the capture ring's `written` counter at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

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
    """Block `name` is playable as `index`."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ClipRefused:
    """Block `name` could not be attached: it was detached again meanwhile, or there is no memory for it."""

    index: int
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class QuitAudio:
    """Fade out and end."""
