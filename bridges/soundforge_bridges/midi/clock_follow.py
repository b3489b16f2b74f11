"""The transport follows MIDI clock: from arriving messages to `Session.follow`, and what users hear when it is lost.

The driver's thread stamps each message and hands it over; the event loop filters (`MidiClock`) and follows. While a
clock is there, tempo and position are its sender's to change; when it is lost the transport goes on at the last tempo,
and may be changed here.

JACK's MIDI is time in the graph: a message at the same frame as a sound is meant for it, and that sound is heard an
output latency later. Other systems' MIDI is time in the room.

Threading: `put` on driver's threads, everything else on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from soundforge import RequestError, SoundForgeError
from soundforge_bridges.midi.clock import MidiClock
from soundforge_bridges.midi.inbox import Inbox
from soundforge_bridges.port import SessionPort

SOURCE = "midi"
CLOCK_TYPES = ("clock", "start", "stop", "continue", "songpos")
MAX_WAITING = 512
LOOK_SECONDS = 0.25


class ClockFollower:
    """Drives the session's transport by MIDI clock; a `TransportDriver`.

    Args:
        session: what is driven.
        report: hears of what a user should know, one line each.
        wake: called on a driver's thread when the first message waits.
    """

    def __init__(self, session: SessionPort, report: Callable[[str], None], wake: Callable[[], None]) -> None:
        self._session, self._report = session, report
        self._clock, self._inbox = MidiClock(), Inbox(wake, MAX_WAITING)
        self._lost = self._refused = False
        self._last = float("-inf")
        self.graph_time = False
        """Messages come in the time of an audio graph (JACK)."""

    @property
    def dropped(self) -> int:
        """Messages that found no room."""
        return self._inbox.dropped

    def put(self, message: Any) -> bool:
        """Take a message if it is a clock's; its time is its meaning, so it is stamped, unless it comes so."""
        if message.type not in CLOCK_TYPES:
            return False
        message.time = message.time or time.perf_counter()
        self._inbox.put(message)
        return True

    def carry_out(self) -> None:
        """Follow everything that came."""
        for message in self._inbox.take_all():
            self._on(message.type, message.time, getattr(message, "pos", 0))

    async def watch(self) -> None:
        """For ever: say when a clock that rolled is lost."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._clock.lost(time.perf_counter()) and self._session.source == SOURCE:
                self._lost = True
                self._report(f"the MIDI clock is lost; the transport goes on at {self._clock.bpm or 0.0:.1f} beats "
                             "per minute until it comes back")

    def _on(self, kind: str, seconds: float, position: int) -> None:
        self._last = max(self._last, seconds) if kind == "clock" else self._last
        followed = self._clock.on(kind, seconds, position)
        if followed is None:
            return
        if self._lost:
            self._lost = False
            self._report("the MIDI clock is back")
        delay = self._session.output_delay_seconds if self.graph_time else 0.0
        try:
            self._session.follow(SOURCE, bpm=followed.bpm, beat=followed.beat, rolling=followed.rolling,
                                 at_seconds=followed.at_seconds + delay, tell=followed.tell)
        except SoundForgeError as error:
            if not self._refused:
                self._report(f"the MIDI clock cannot be followed: {error}")
            self._refused = True
        else:
            self._refused = False

    # --- what users ask of the transport ---

    def activate(self) -> None:
        """It is listened to all the time."""

    def deactivate(self) -> None:
        """It is listened to all the time."""

    def set_tempo(self, bpm: float) -> bool:
        return self._leave("the tempo")

    def roll(self) -> bool:
        return self._leave("start and stop")

    def halt(self) -> bool:
        return self._leave("start and stop")

    def locate(self, beat: float) -> bool:
        return self._leave("the position")

    def _leave(self, what: str) -> bool:
        """False, the session may do it, while no clock comes."""
        if time.perf_counter() - self._last < 1.0:
            raise RequestError(f"the transport follows MIDI clock, so {what} is its sender's to change; change it "
                               "there, or choose another source (/soundforge/transport/source internal)")
        return False
