"""Our transport as MIDI clock for others: 24 ticks a beat, Start, Stop, Continue, Song Position.

`ClockWriter` is arithmetic: which message is due when, by the session's timeline. `ClockOut` is the thread that waits
for those times. A tick is due when its beat is heard at the loudspeaker. A start in the middle of the song, or a jump,
is Song Position and Continue at the next sixteenth, as sequencers do it; ticks go on while the transport stands, so
that the other side knows the tempo.

Threading: `ClockOut` runs one thread, which reads `Session.timeline` (a value); `open` and `close` from any other.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from soundforge.live.priority import raise_thread
from soundforge_bridges.midi.clock import TICKS_PER_BEAT, TICKS_PER_SIXTEENTH

LONGEST_POSITION = 16383
JUMP_TICKS = 6
LOOK_SECONDS = 0.01     # how soon a change of the transport is noticed between two ticks
SWITCH_SECONDS = 0.0005  # how long the event loop may keep the interpreter from the ticking thread


class TransportLike(Protocol):
    @property
    def bpm(self) -> float: ...
    @property
    def rolling(self) -> bool: ...


class TimelineLike(Protocol):
    """`soundforge.live.session_transport.Timeline`."""

    @property
    def transport(self) -> TransportLike: ...
    def beat_at(self, seconds: float) -> float: ...
    def time_of(self, beat: float) -> float: ...


Due = tuple[float, str, int]
"""When (time.perf_counter), which message, and a songpos' position."""


class ClockWriter:
    """See the module."""

    def __init__(self) -> None:
        self._rolling = False
        self._tick = 0
        self._standing_at = 0.0

    def next(self, timeline: TimelineLike, now: float) -> list[Due]:
        """The messages to come next, in order; only the last may lie in the future."""
        if not timeline.transport.rolling:
            period = 60.0 / timeline.transport.bpm / TICKS_PER_BEAT
            out: list[Due] = [(now, "stop", 0)] if self._rolling else []
            self._rolling = False
            if not now - period < self._standing_at <= now + period:
                self._standing_at = now
            return [*out, (self._standing_at, "clock", 0)]
        reached = timeline.beat_at(now) * TICKS_PER_BEAT
        if not self._rolling:
            return self._begin(timeline, now, reached)
        if abs(reached - self._tick) > JUMP_TICKS:
            return [(now, "stop", 0), *self._begin(timeline, now, reached)]
        return [(timeline.time_of(self._tick / TICKS_PER_BEAT), "clock", 0)]

    def sent(self, timeline: TimelineLike) -> None:
        """The tick that `next` gave last has been sent."""
        if self._rolling:
            self._tick += 1
        else:
            self._standing_at += 60.0 / timeline.transport.bpm / TICKS_PER_BEAT

    def _begin(self, timeline: TimelineLike, now: float, reached: float) -> list[Due]:
        """Say where the next tick will be; it is the first one after Start or Continue."""
        sixteenth = max(0, math.ceil(reached / TICKS_PER_SIXTEENTH - 1e-6))
        self._rolling, self._tick = True, sixteenth * TICKS_PER_SIXTEENTH
        head: list[Due] = [(now, "start", 0)] if sixteenth == 0 else [(now, "continue", 0)]
        if 0 < sixteenth <= LONGEST_POSITION:
            head.insert(0, (now, "songpos", sixteenth))
        return [*head, (timeline.time_of(self._tick / TICKS_PER_BEAT), "clock", 0)]


class ClockOut:
    """Sends the clock to one port.

    Args:
        timeline: gives the transport against time, on the sending thread.
        advance: seconds by which ticks are sent earlier than their beat is heard.
    """

    def __init__(self, timeline: Callable[[], TimelineLike], advance: Callable[[], float] = lambda: 0.0) -> None:
        self._timeline, self._advance = timeline, advance
        self._thread: threading.Thread | None = None
        self._running = False
        self.failure = ""
        self.ticks = 0
        self.worst_late_seconds = 0.0

    @property
    def running(self) -> bool:
        """It sends; False also when the port refused a message."""
        return self._running and not self.failure

    def open(self, send: Callable[[Any], None]) -> None:
        """Send to `send(message)` from now on."""
        self.close()
        self.failure, self._running, self.ticks, self.worst_late_seconds = "", True, 0, 0.0
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        self._thread = threading.Thread(target=self._run, args=(send,), name="soundforge MIDI clock", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sending; a Stop goes out first when the transport rolls."""
        self._running = False
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(1.0)

    def _run(self, send: Callable[[Any], None]) -> None:
        import mido

        raise_thread()
        messages = {kind: mido.Message(kind) for kind in ("clock", "start", "stop", "continue")}
        writer, rolling = ClockWriter(), False
        try:
            while self._running:
                timeline, advance = self._timeline(), self._advance()
                now = time.perf_counter() + advance
                *head, (due, _, _) = writer.next(timeline, now)
                for _, kind, position in head:
                    send(mido.Message("songpos", pos=position) if kind == "songpos" else messages[kind])
                    rolling = kind != "stop"
                wait = due - advance - time.perf_counter()
                if wait > LOOK_SECONDS:
                    time.sleep(LOOK_SECONDS / 2)  # and look again: the transport may change meanwhile
                    continue
                if wait > 0:
                    time.sleep(wait)
                send(messages["clock"])
                late = time.perf_counter() - (due - advance)
                writer.sent(timeline)
                self.ticks += 1
                self.worst_late_seconds = max(self.worst_late_seconds, late)
            if rolling:
                send(messages["stop"])
        except (OSError, RuntimeError, ValueError) as error:
            self.failure = " ".join(str(error).split()) or type(error).__name__
