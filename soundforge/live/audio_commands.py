"""What the callback can be told: each method puts one record into the command ring, and never waits.

Positions are samples of the sample clock at which a sound is given out; NOW (-1) is the next block.

Threading: belongs to the event loop, the ring's one writer.
"""

from __future__ import annotations

from collections.abc import Callable

from soundforge.live.audio_protocol import Command
from soundforge.live.ring_buffer import RecordRing


class AudioCommands:
    """See the module.

    Args:
        ring: to the callback.
        on_trouble: one line for the user.
    """

    def __init__(self, ring: RecordRing, on_trouble: Callable[[str], None]) -> None:
        self._ring, self._refused = ring, on_trouble

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

    def _command(self, kind: Command, *rest: float) -> None:
        if not self._ring.put((int(kind), *rest)):
            self._refused("the audio process takes no commands; it is watched, and started again if it hangs")
