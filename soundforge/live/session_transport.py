"""The transport of a session: who drives it, and what changes it. Belongs to the event loop."""

from __future__ import annotations

from dataclasses import replace

from soundforge.errors import RequestError
from soundforge.live.session_room import Room
from soundforge.live.transport import Transport
from soundforge.requests import TransportEvent


class TransportPart:
    """See the module."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.source = "internal"
        self._sources = {"internal"}

    def event(self) -> TransportEvent:
        """Source, tempo, rolling or not, and the beat now."""
        transport = self._room.transport
        return TransportEvent(self.source, transport.bpm, transport.rolling, transport.beat_at(self._room.audio.now()))

    def set_tempo(self, bpm: float) -> None:
        self._change(self._room.transport.with_tempo(float(bpm), self._room.audio.now()))
        self._room.tempo_known = True

    def start(self) -> None:
        if not self._room.transport.rolling:
            self._change(self._room.transport.started(self._room.audio.now()))

    def stop(self) -> None:
        if self._room.transport.rolling:
            self._change(self._room.transport.stopped(self._room.audio.now()))

    def locate(self, beat: float) -> None:
        self._change(self._room.transport.located(float(beat), self._room.audio.now()))

    def set_signature(self, numerator: int, denominator: int) -> None:
        self._change(self._room.transport.with_signature(numerator, denominator))

    def choose(self, name: str) -> None:
        """Choose what drives the transport. Raises RequestError for one that is not there."""
        if name not in self._sources:
            raise RequestError(f"source came as {name[:80]!r}, expected one of {', '.join(sorted(self._sources))}")
        self.source = name
        self._room.emit(self.event())

    def add_source(self, name: str) -> None:
        self._sources.add(name)

    def follow(self, source: str, bpm: float, beat: float, rolling: bool, at_seconds: float, tell: bool) -> None:
        """See `Session.follow`."""
        if source != self.source:
            return
        position = self._room.audio.position_at(at_seconds)
        self._room.transport = replace(self._room.transport, bpm=bpm, rolling=rolling, anchor_position=position,
                                       anchor_beat=beat)
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

    def _change(self, transport: Transport) -> None:
        self._room.transport = transport
        self._room.emit(self.event())
