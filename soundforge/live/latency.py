"""How long sound takes between the converters and the callback, and who says so.

A latency is measured against the sample clock: input that the callback gets at position p sounded `input_seconds`
before the clock stood at p; output that it gives at p is heard `output_seconds` after. In the best case they are
measured together (`soundforge doctor --calibrate`); else the device's driver reports them, or the settings say them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from soundforge.live.audio_protocol import DeviceOpened

if TYPE_CHECKING:
    from soundforge.live.audio_client import AudioClient

Source = Literal["reported", "calibrated", "settings"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds; a negative input latency is sound that is there before it is heard (a cable inside the computer)."""

    input_seconds: float = 0.0
    output_seconds: float = 0.0
    source: Source = "reported"

    @property
    def round_trip_seconds(self) -> float:
        """From our output to our input."""
        return self.input_seconds + self.output_seconds


LatencyOf = Callable[[DeviceOpened, int], Latency]
"""`latency_of(opened, block)`."""


def reported(opened: DeviceOpened, block: int) -> Latency:
    """What the driver says."""
    return Latency(opened.input_latency, opened.output_latency)


def calibrated(opened: DeviceOpened, round_trip_seconds: float) -> Latency:
    """A measured round trip, shared between input and output as the driver's figures are, else by halves."""
    told = opened.input_latency + opened.output_latency
    share = opened.output_latency / told if told > 0 else 0.5
    output = share * round_trip_seconds
    return Latency(round_trip_seconds - output, output, "calibrated")


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The device that runs, for users.

    `clock_ppm` = how much faster its crystal runs than the machine's clock; `drift_ppm` = how much faster the input
    device's runs than the output device's, where they are two.
    """

    name: str
    rate: int
    block: int
    input_ms: float
    output_ms: float
    latency_from: Source
    clock_ppm: float
    drift_ppm: float


def device_report(audio: AudioClient) -> DeviceReport:
    """As it stands now."""
    latency = audio.latency
    return DeviceReport(audio.opened.name if audio.opened else "", audio.rate, audio.block,
                        1000 * latency.input_seconds, 1000 * latency.output_seconds, latency.source, audio.drift_ppm,
                        audio.status.drift_ppm)
