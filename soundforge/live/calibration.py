"""Measures the round trip from our output to our input, through the same processes that play and capture later.

A burst of noise (a maximum length sequence, whose correlation with itself is one sharp peak) is played as a clip at a
known position of the sample clock, and looked for in what is captured; the distance of the two positions is the round
trip, to the sample. Output and input must be connected: by a cable, a loopback device, or through the DAW.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import DeviceError
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import STREAM_VOICES, AudioSetup, DeviceOpened, Happened

BITS = 14              # of the shift register: 16383 samples, a third of a second at 48 kHz
TAPS = (14, 13, 12, 2)  # of a maximum length sequence of that many bits
LEVEL = 0.2
LONGEST_SECONDS = 1.0
TIMES = 3
SHARPNESS = 4.0        # the peak must stand out so much from the next best
AGREEMENT_SAMPLES = 2.0
SETTLE_SECONDS = 1.5   # two clocks are brought together first


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """`samples` from output to input at `opened.rate`; `heard_db` = level of what came back against what went out."""

    samples: float
    opened: DeviceOpened
    block: int
    heard_db: float

    @property
    def reported_samples(self) -> float:
        """What the drivers say it should be."""
        return (self.opened.input_latency + self.opened.output_latency) * self.opened.rate


def noise_burst() -> NDArray[np.float32]:
    """The test signal `(16383,)`."""
    register, out = [1] * BITS, np.empty(2**BITS - 1, np.float32)
    for i in range(len(out)):
        out[i] = LEVEL if register[-1] else -LEVEL
        bit = 0
        for tap in TAPS:
            bit ^= register[tap - 1]
        register = [bit, *register[:-1]]
    return out


def find_burst(burst: NDArray[np.float32], heard: NDArray[np.float32]) -> tuple[float, float, float]:
    """Where `burst` `(n,)` begins in `heard` `(m,)`: `(samples, sharpness, gain)`. Between samples by a parabola."""
    size = 1 << (len(burst) + len(heard)).bit_length()
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(burst, size)), size)[:len(heard) - len(burst)]
    size_of = np.abs(match)
    peak = int(size_of.argmax())
    near = slice(max(peak - 8, 0), peak + 9)
    rest = np.concatenate([size_of[:near.start], size_of[near.stop:]])
    at = float(peak)
    if 0 < peak < len(match) - 1:
        left, middle, right = size_of[peak - 1:peak + 2]
        bend = left - 2 * middle + right
        at += 0.5 * float(left - right) / float(bend) if bend else 0.0
    return at, float(size_of[peak] / max(float(rest.max()), 1e-12)), float(match[peak] / np.sum(burst ** 2))


@dataclass
class _Heard:
    """What was captured since a position."""

    since: int = 0
    blocks: list[NDArray[np.float32]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def take(self, position: int, block: NDArray[np.float32]) -> None:
        if not self.blocks:
            self.since = position
        self.blocks.append(block)

    def wave(self, begin: int) -> NDArray[np.float32]:
        """All channels averaged, from a position on."""
        return np.asarray(np.concatenate(self.blocks)[begin - self.since:].mean(axis=1), np.float32)


async def measure_round_trip(setup: AudioSetup) -> RoundTrip:
    """Play and listen three times.

    Raises:
        DeviceError: the device does not open, nothing came back, or the measurements do not agree.
    """
    heard = _Heard()
    opened: list[DeviceOpened] = []

    def happened(what: Happened, voice: int, position: int, token: int) -> None:
        if what == Happened.LATE:
            heard.troubles.append("the machine was too busy to play in time")

    client = AudioClient(setup, on_capture=heard.take, on_happened=happened, on_device=opened.append,
                         on_trouble=heard.troubles.append)
    try:
        await client.start()
        if client.standing_in:
            raise DeviceError(heard.troubles[0] if heard.troubles else "the audio device does not open")
        if not opened[-1].input_channels:
            raise DeviceError("there is no input device; choose one with --input")
        await asyncio.sleep(SETTLE_SECONDS)
        burst = noise_burst()
        index = await client.attach(np.repeat(burst[:, None], client.channels, axis=1))
        found = [await _once(client, heard, burst, index, number) for number in range(1, TIMES + 1)]
        trips = [trip for trip, _ in found]
        if max(trips) - min(trips) > AGREEMENT_SAMPLES:
            raise DeviceError(f"the round trip came as {', '.join(f'{trip:.1f}' for trip in trips)} samples, expected "
                              "the same each time; end other programs, or use larger blocks (--block 512)")
        device = opened[-1]
        return RoundTrip(float(np.median(trips)), device, device.block or setup.block,
                         20 * float(np.log10(max(abs(found[0][1]), 1e-9))))
    finally:
        await client.stop()


async def _once(client: AudioClient, heard: _Heard, burst: NDArray[np.float32], index: int, token: int
                ) -> tuple[float, float]:
    """One burst: `(round trip in samples, gain)`."""
    heard.blocks.clear()
    at = client.soon() + client.rate // 10
    client.play_clip(STREAM_VOICES, token, at, index, 0, 1.0, False)
    length = len(burst) + int(LONGEST_SECONDS * client.rate)
    restarts = client.restarts
    while not heard.blocks or heard.since + sum(map(len, heard.blocks)) < at + length:
        await asyncio.sleep(0.05)
        if client.restarts > restarts or heard.troubles:
            raise DeviceError(heard.troubles[0] if heard.troubles else "the audio device vanished meanwhile")
    trip, sharpness, gain = find_burst(burst, heard.wave(at)[:length])
    if sharpness < SHARPNESS:
        raise DeviceError("nothing of what was played came back; connect an output to an input (a cable, a loopback "
                          "device, a send in the DAW) and turn the levels up")
    return trip, gain
