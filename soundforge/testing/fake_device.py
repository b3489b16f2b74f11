"""A sound device for tests: the real mixer with real rings, driven block by block by hand, no process, no clock.

    with FakeDevice() as device:
        device.command(Command.PLAY_STREAM, voice=0, at=1000, a=-1, x=1.0, token=7)
        sound = device.run(4096)          # float32 (4096, channels)
        device.events()                   # [(Happened.STARTED, voice, position, token), ...]
"""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from soundforge.live.audio_protocol import COMMAND, EVENT, NOW, STREAM_VOICES, Command, Happened
from soundforge.live.audio_status import AudioStatus
from soundforge.live.mixer import Mixer
from soundforge.live.ring_buffer import RecordRing, RingBuffer

Block = NDArray[np.float32]


class FakeDevice:
    """See the module. The clock is `position`, and moves only in `run`.

    Args:
        rate: Hz.
        channels: of input and output.
        block: samples per block; `run` takes any number of samples and cuts it into blocks of this size.
        stream_samples: capacity of each stream ring.
    """

    def __init__(self, rate: int = 48_000, channels: int = 2, block: int = 256, stream_samples: int = 2**16) -> None:
        self.block, self.channels = block, channels
        self.status = AudioStatus()
        self.commands, self._events = RecordRing(256, COMMAND), RecordRing(256, EVENT)
        self.capture = RingBuffer(2**16, channels)
        self.streams = [RingBuffer(stream_samples, channels) for _ in range(STREAM_VOICES)]
        self.mixer = Mixer(rate, channels, self.commands, self._events, self.capture, self.streams, self.status)

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @property
    def position(self) -> int:
        return self.mixer.position

    def command(self, kind: Command, *, voice: int = 0, at: int = NOW, a: int = 0, b: int = 0, token: int = 0,
                x: float = 0.0, y: float = 0.0) -> None:
        """Send one command to the callback."""
        assert self.commands.put((int(kind), voice, at, a, b, token, x, y)), "the command ring is full"

    def run(self, n_samples: int, inputs: Block | None = None) -> Block:
        """Let `n_samples` go by; gives the output. `inputs` `(n_samples, channels)` is heard meanwhile."""
        out = np.full((n_samples, self.channels), np.nan, np.float32)
        for first in range(0, n_samples, self.block):
            part = out[first:first + self.block]
            self.mixer.process(None if inputs is None else inputs[first:first + self.block], part)
        return out

    def events(self) -> list[tuple[Happened, int, int, int]]:
        """What happened since the last call: `(what, voice, position, token)`."""
        found = []
        while (record := self._events.get()) is not None:
            what, voice, position, token = (int(value) for value in record)
            found.append((Happened(what), voice, position, token))
        return found

    def close(self) -> None:
        """Free the shared memory."""
        self.mixer.clips.clear()
        for ring in (self.capture, *self.streams):
            ring.close()
        for records in (self.commands, self._events):
            records.close()
        self.status.close()
