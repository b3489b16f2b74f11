"""All memory that control and audio process share, made once by the control process.

It outlives every audio process: one that is started again goes on in the same rings at the same sample clock.

Threading: made and closed on the event loop; who may touch which side of a ring stands with `RingBuffer`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from soundforge.live.audio_protocol import COMMAND, EVENT, STREAM_VOICES, AudioHandles, Happened
from soundforge.live.audio_status import AudioStatus
from soundforge.live.ring_buffer import RecordRing, RingBuffer

STREAM_SAMPLES = 2**18   # 5.5 s at 48 kHz, 2 MiB in stereo
CAPTURE_SAMPLES = 2**18
RECORDS = 1024


class AudioMemory:
    """See the module.

    Args:
        input_channels: of what is captured.
        output_channels: of streams.

    Raises:
        DeviceError: there is no room for it.
    """

    def __init__(self, input_channels: int, output_channels: int) -> None:
        self.status = AudioStatus()
        self.commands = RecordRing(RECORDS, COMMAND)
        self.events = RecordRing(RECORDS, EVENT)
        self.capture = RingBuffer(CAPTURE_SAMPLES, input_channels)
        self.streams = [RingBuffer(STREAM_SAMPLES, output_channels) for _ in range(STREAM_VOICES)]

    def handles(self) -> AudioHandles:
        """By which an audio process finds it."""
        return AudioHandles(self.status.name, self.commands.handle(), self.events.handle(), self.capture.handle(),
                            tuple(ring.handle() for ring in self.streams))

    def pass_to_next(self) -> None:
        """An audio process is gone and another will come: forget the commands it left, mend its last tick."""
        while self.commands.get() is not None:
            pass
        self.status.mend()

    def happened(self) -> Iterator[tuple[Happened, int, int, int]]:
        """Everything that the callback has told by now: what, voice, position, token."""
        while (record := self.events.get()) is not None:
            what, voice, position, token = (int(value) for value in record)
            yield Happened(what), voice, position, token

    def captured(self) -> tuple[int, NDArray[np.float32]] | None:
        """What was captured since the last call, `(n, channels)`, and its first position; None = nothing."""
        if not (n := self.capture.available):
            return None
        position, out = self.capture.position, np.empty((n, self.capture.channels), np.float32)
        self.capture.read(out)
        return position, out

    def close(self) -> None:
        """Free it. Safe to call twice."""
        for ring in (self.capture, *self.streams):
            ring.close()
        for records in (self.commands, self.events):
            records.close()
        self.status.close()
