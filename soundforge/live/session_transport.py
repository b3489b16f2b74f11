"""The transport of a session: who drives it, and what changes it.

Positions of the transport are heard positions: it stands at a beat when that beat is heard. So a start is given out
earlier by the output's delay and a capture taken later by the input's, and the beats of another clock (MIDI, Link,
JACK) are compared with ours where people compare them, at the loudspeaker.

Threading: belongs to the event loop; a `Timeline` is a value that any thread may keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from soundforge.errors import RequestError
from soundforge.live.clock_line import ClockLine
from soundforge.live.session_room import Room
from soundforge.live.transport import Transport
from soundforge.requests import TransportEvent

INTERNAL = "internal"


class TransportDriver(Protocol):
    """A clock that the transport can follow. Called on the event loop; must not wait.

    While it is chosen it calls `Session.follow`, and what users ask of the transport is asked of it: True = done, and
    it will be followed; False = the transport may be changed here. What must not be it refuses with a RequestError.
    """

    def activate(self) -> None: ...
    def deactivate(self) -> None: ...
    def set_tempo(self, bpm: float) -> bool: ...
    def roll(self) -> bool: ...
    def halt(self) -> bool: ...
    def locate(self, beat: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Timeline:
    """The transport against the machine's clock (`time.perf_counter` seconds)."""

    transport: Transport
    line: ClockLine

    def beat_at(self, seconds: float) -> float:
        """The beat heard at a time."""
        return self.transport.beat_at(self.line.position_at(seconds))

    def time_of(self, beat: float) -> float:
        """When a beat is heard (as if rolling)."""
        return self.line.time_of(self.transport.position_of(beat))


class TransportPart:
    """See the module."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.source = INTERNAL
        self._drivers: dict[str, TransportDriver | None] = {INTERNAL: None}

    def event(self) -> TransportEvent:
        """Source, tempo, rolling or not, and the beat now."""
        transport = self._room.transport
        return TransportEvent(self.source, transport.bpm, transport.rolling, transport.beat_at(self._room.audio.now()))

    def timeline(self) -> Timeline:
        """As it stands. Thread-safe."""
        return Timeline(self._room.transport, self._room.audio.line)

    @property
    def sources(self) -> Mapping[str, TransportDriver | None]:
        """What can drive the transport, by name."""
        return self._drivers

    # --- asked by users ---

    def set_tempo(self, bpm: float) -> None:
        changed = self._room.transport.with_tempo(float(bpm), self._room.audio.now())  # checks the range
        if (driver := self._driver) is None or not driver.set_tempo(float(bpm)):
            self._change(changed)
        self._room.tempo_known = True

    def start(self) -> None:
        asked = (driver := self._driver) is not None and driver.roll()
        if not asked and not self._room.transport.rolling:
            self._change(self._room.transport.started(self._room.audio.now()))

    def stop(self) -> None:
        asked = (driver := self._driver) is not None and driver.halt()
        if not asked and self._room.transport.rolling:
            self._change(self._room.transport.stopped(self._room.audio.now()))

    def locate(self, beat: float) -> None:
        changed = self._room.transport.located(float(beat), self._room.audio.now())
        if (driver := self._driver) is None or not driver.locate(float(beat)):
            self._change(changed)

    def set_signature(self, numerator: int, denominator: int) -> None:
        self._change(self._room.transport.with_signature(numerator, denominator, self._room.audio.now()))

    def choose(self, name: str) -> None:
        """Choose what drives the transport. Raises RequestError for one that is not there, or cannot run."""
        if name not in self._drivers:
            raise RequestError(f"source came as {name[:80]!r}, expected one of {', '.join(sorted(self._drivers))}")
        if name != self.source:
            new = self._drivers[name]
            if new is not None:
                new.activate()
            if (old := self._driver) is not None:
                old.deactivate()
            self.source = name
        self._room.emit(self.event())

    # --- from the sources ---

    def add_source(self, name: str, driver: TransportDriver | None) -> None:
        self._drivers[name] = driver

    def follow(self, source: str, bpm: float, beat: float, rolling: bool, at_seconds: float, tell: bool,
               signature: tuple[int, int, float] | None) -> None:
        """See `Session.follow`."""
        if source != self.source:
            return
        position = self._room.audio.position_at(at_seconds)
        changed = replace(self._room.transport, bpm=bpm, rolling=rolling, anchor_position=position, anchor_beat=beat)
        if signature is not None:
            changed = replace(changed, numerator=signature[0], denominator=signature[1], bar_beat=signature[2])
        self._room.set_transport(changed)
        self._room.tempo_known = True
        if tell:
            self._room.emit(self.event())

    def device_opened(self, rate: int, first: bool) -> bool:
        """The sample clock runs at this rate from now on; True when that is the old one."""
        room = self._room
        if rate == room.transport.rate:
            return True
        position = 0 if first else room.audio.status.position
        room.transport = room.transport.with_rate(rate, position, position)
        return False

    @property
    def _driver(self) -> TransportDriver | None:
        return self._drivers[self.source]

    def _change(self, transport: Transport) -> None:
        self._room.set_transport(transport)
        self._room.emit(self.event())
