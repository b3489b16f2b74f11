"""How long sound takes between the converters and the callback, and who says so.

A latency is measured against the sample clock: input that the callback gets at position p sounded `input_seconds`
before the clock stood at p; output that it gives at p is heard `output_seconds` after. In the best case they are
measured together (`soundforge doctor --calibrate`); else the device's driver reports them, or the settings say them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from soundforge.live.audio_protocol import DeviceOpened

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
