"""What the callback can be told: each method puts one record into the command ring, and never waits.

Positions are samples of the sample clock at which a sound is given out; NOW (-1) is the next block. A network can give
commands faster than the callback takes them (64 a block): what finds the ring full waits here, in its order, and a gain
or a place that is overtaken by a newer one is sent once. So no start and no stop is lost.

Threading: belongs to the event loop, the ring's one writer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from soundforge.live.audio_protocol import Command
from soundforge.live.ring_buffer import RecordRing

Record = tuple[float, ...]

MOST_WAITING = 4096
OVERTAKEN = (Command.MASTER, Command.GAIN, Command.MOVE)
"""Of these the newest one for a voice says all."""


class AudioCommands:
    """See the module.

    Args:
        ring: to the callback.
        on_trouble: one line for the user.
    """

    def __init__(self, ring: RecordRing, on_trouble: Callable[[str], None]) -> None:
        self._ring, self._refused = ring, on_trouble
        self._waiting: OrderedDict[tuple[float, ...], Record] = OrderedDict()
        self._last = 0

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
        """Move a voice to another gain."""
        self._command(Command.GAIN, voice, 0, 0, 0, 0, gain, 0.0)

    def set_master(self, gain: float) -> None:
        """Move the gain of everything."""
        self._command(Command.MASTER, 0, 0, 0, 0, 0, gain, 0.0)

    def set_monitor(self, gain: float, at: int, n_samples: int) -> None:
        """Move the gain with which the input is heard, within `n_samples` from position `at` on."""
        self._command(Command.MONITOR, 0, at, 0, n_samples, 0, gain, 0.0)

    def panic(self) -> None:
        """Everything silent within 3 ms."""
        self._command(Command.PANIC, 0, 0, 0, 0, 0, 0.0, 0.0)

    def send_waiting(self) -> None:
        """What found the ring full goes out as there is room; whoever runs the audio process calls it all the time."""
        while self._waiting and self._ring.put(next(iter(self._waiting.values()))):
            self._waiting.popitem(last=False)

    def forget_waiting(self) -> None:
        """Another audio process runs: it knows nothing of what was said to the last one."""
        self._waiting.clear()

    def _command(self, kind: Command, voice: int, at: int, a: int, b: int, token: int, x: float, y: float) -> None:
        record = (int(kind), voice, at, a, b, token, x, y)
        if not self._waiting and self._ring.put(record):
            return
        self._last += 1
        key = (int(kind), voice, token) if kind in OVERTAKEN else (self._last,)
        if len(self._waiting) >= MOST_WAITING and key not in self._waiting:
            self._refused("the audio process takes no commands; it is watched, and started again if it hangs")
            return
        self._waiting[key] = record
