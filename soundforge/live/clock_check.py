"""Runs the devices for a while and tells how their clocks run: against the machine's, and one against the other.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from soundforge.errors import DeviceError, InputError
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import AudioSetup, DeviceOpened

LEAST_SECONDS, MOST_SECONDS = 1.0, 3600.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Clocks:
    """What was found in `seconds`.

    `clock_ppm` = how much faster than nominal the output's crystal runs, in parts per million of the machine's clock;
    `drift_ppm` = how much faster the input device's runs than the output device's, where they are two;
    `late_blocks` = how many the device flagged meanwhile.
    """

    opened: DeviceOpened
    seconds: float
    clock_ppm: float
    drift_ppm: float
    late_blocks: int

    @property
    def two(self) -> bool:
        """Input and output have clocks of their own, and are brought together."""
        return self.drift_ppm != 0.0


async def measure_clocks(setup: AudioSetup, seconds: float) -> Clocks:
    """Open the devices, in silence, and let them run. After 25 s the drift is known within 25 ppm.

    Raises:
        InputError: seconds out of range. DeviceError: a device does not open, or vanishes meanwhile.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InputError(f"seconds came as {seconds:g}, expected {LEAST_SECONDS:g} to {MOST_SECONDS:g}")
    opened: list[DeviceOpened] = []
    troubles: list[str] = []
    client = AudioClient(setup, on_capture=lambda position, samples: None, on_happened=lambda *event: None,
                         on_device=opened.append, on_trouble=troubles.append)
    try:
        await client.start()
        flagged, end = client.status.xruns, asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            if client.standing_in or client.restarts:
                raise DeviceError(troubles[0] if troubles else "the audio device does not open, or vanished meanwhile")
            await asyncio.sleep(POLL_SECONDS)
        return Clocks(opened[-1], seconds, client.drift_ppm, client.status.drift_ppm, client.status.xruns - flagged)
    finally:
        await client.stop()
