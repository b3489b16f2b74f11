"""JACK transport: the position that all clients of a JACK server share.

Needs the extra `jack` (JACK-Client). With a timebase master its bars, beats, tempo and signature count; without one the
server only counts frames, and beats are ours: frame 0 is beat 0 at our tempo. Start, stop and position go both ways.

A JACK client makes the sound of a frame in that frame's cycle, and it is heard an output latency later; the same is
done here. Threading: belongs to the event loop; connecting, which may block, is done on a thread. The client is never
activated: it has no process callback that a busy control process could hold the server up with.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from soundforge import RequestError
from soundforge.live.clock_line import ClockFilter
from soundforge_bridges.polled_clock import PolledClock, Stand
from soundforge_bridges.port import SessionPort

log = logging.getLogger(__name__)

SOURCE = "jack"
INSTALL = "JACK transport is not installed; install it with: pip install 'soundforge[jack]'"
CLIENT = "SoundForge transport"
RETRY_SECONDS, LOST_SECONDS = 2.0, 1.0
NEAR_SECONDS = 0.05      # two cycles of 1024 samples
REMEMBERED = 40          # differences: two seconds
JUMP_SECONDS = 0.02


def _clocks_apart() -> Iterator[float]:
    """By how much our clock is ahead of those that JACK may read, seconds."""
    yield 0.0
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    if raw is not None:
        yield time.perf_counter() - time.clock_gettime(raw)


def _abandon(client: Any) -> None:
    """Let go of a client whose server died without closing it: that hangs or ends the process.

    JACK-Client closes what it still holds when its object is collected, so it must hold nothing.
    """
    import jack

    client._ptr = jack._ffi.NULL


class JackClock(PolledClock):
    """See the module."""

    def __init__(self, session: SessionPort) -> None:
        super().__init__(session, SOURCE)
        self._client: Any = None
        self._has_tempo = False
        self._apart: deque[float] = deque(maxlen=REMEMBERED)
        self._line: ClockFilter | None = None
        self._cycle, self._cycle_seen = 0, 0.0

    def check(self) -> None:
        if importlib.util.find_spec("jack") is None:
            raise RequestError(INSTALL)

    async def connect(self) -> None:
        while self._client is None:
            self._client = await asyncio.to_thread(self._open)
            if self._client is None:
                self.say_once("server", "there is no JACK server to follow; the transport goes on by itself until "
                                        "one comes")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._told.discard("server")
                self._apart.clear()
                self._line, self._cycle_seen = None, time.perf_counter()

    def _open(self) -> Any:
        """On a thread: a client of the server, or None."""
        try:
            import jack

            return jack.Client(CLIENT, no_start_server=True)
        # JACK-Client raises its own errors without a server, and OSError without its library.
        except Exception as error:
            log.debug("no JACK server: %s", error)
            return None

    def ask(self) -> Stand | None:
        import jack

        state, position = self._client.transport_query()
        now, usecs = time.perf_counter(), int(position["usecs"])
        if usecs != self._cycle:
            self._cycle, self._cycle_seen = usecs, now
        elif now - self._cycle_seen > LOST_SECONDS:
            _abandon(self._client)
            self._client = None
            self.say_once("server", f"the JACK server is gone; the transport goes on at {self._bpm():.1f} beats per "
                                    "minute until it comes back")
            return None
        rolling = state == jack.ROLLING
        seconds = self._seconds(usecs, now)
        rate, frame = float(position["frame_rate"]), int(position["frame"])
        if rolling:
            seconds = self._smooth(frame, seconds, rate)
        else:
            self._line = None
        bpm, beat, signature = self._music(position, frame, rate)
        return Stand(bpm, beat, rolling, seconds + self._session.output_delay_seconds, signature)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # --- what users ask of the transport ---

    def set_tempo(self, bpm: float) -> bool:
        if self._client is not None and self._has_tempo:
            raise RequestError("the transport follows JACK's timebase master, so the tempo is its to change; change it "
                               "there, or choose another source (/soundforge/transport/source internal)")
        return False

    def roll(self) -> bool:
        if self._client is None:
            return False
        self._client.transport_start()
        return True

    def halt(self) -> bool:
        if self._client is None:
            return False
        self._client.transport_stop()
        return True

    def locate(self, beat: float) -> bool:
        """By the tempo of now; where the master's map has several tempos, that is near and not exact."""
        if self._client is None:
            return False
        bpm = self._bpm() if self._last is None else self._last.bpm
        self._client.transport_frame = max(0, round(beat * 60.0 / bpm * self._client.samplerate))
        return True

    # --- inside ---

    def _bpm(self) -> float:
        return float(self._session.timeline().transport.bpm)

    def _music(self, position: dict[str, Any], frame: int, rate: float
               ) -> tuple[float, float, tuple[int, int, float] | None]:
        """Tempo, beat (in quarter notes) and signature at the start of the cycle."""
        self._has_tempo = position.get("beats_per_minute", 0.0) > 0 and position.get("ticks_per_beat", 0.0) > 0
        if not self._has_tempo:
            bpm = self._bpm()
            return bpm, frame / rate * bpm / 60.0, None
        unit = 4.0 / position["beat_type"] if position["beat_type"] > 0 else 1.0
        ticks, per_bar = position["ticks_per_beat"], position["beats_per_bar"]
        in_bar = position["beat"] - 1 + position["tick"] / ticks
        started = position["bar_start_tick"] / ticks if position["bar_start_tick"] > 0 \
            else (position["bar"] - 1) * per_bar
        bpm = position["beats_per_minute"] * unit
        beat = (started + in_bar) * unit + position.get("bbt_offset", 0) / rate * bpm / 60.0
        signature = (int(per_bar), int(position["beat_type"]), started * unit)
        whole = per_bar == int(per_bar) and 1 <= per_bar <= 64 and position["beat_type"] in (1, 2, 4, 8, 16, 32)
        return bpm, beat, signature if whole else None

    def _seconds(self, usecs: int, now: float) -> float:
        """JACK's microseconds as our seconds.

        JACK reads a clock of the system, which may be another one than ours (on Linux the raw monotonic clock). The
        least difference of the last seconds is right to a part of a cycle; a clock of the system that lies that near
        is the one, and then the difference is known exactly.
        """
        self._apart.append(now - usecs * 1e-6)
        least = min(self._apart)
        near = [apart for apart in _clocks_apart() if abs(apart - least) < NEAR_SECONDS]
        return usecs * 1e-6 + (min(near, key=lambda apart: abs(apart - least)) if near else least)

    def _smooth(self, frame: int, seconds: float, rate: float) -> float:
        """When the cycle of a frame began, its wake-up's jitter filtered; anew after a jump."""
        if self._line is None or abs(self._line.line.time_of(frame) - seconds) > JUMP_SECONDS:
            self._line = ClockFilter(rate)
        self._line.observe(frame, seconds)
        return self._line.line.time_of(frame)
