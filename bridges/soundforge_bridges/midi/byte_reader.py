"""From the bytes of one MIDI input to messages, whatever way they were packed.

Drivers should give one whole message at a time, and most do. Some senders leave out a status byte that repeats
(running status), put several messages into one packet (Csound does), or a clock between the bytes of a note. mido
drops all of these. What is no MIDI is skipped; system exclusive is not used here and skipped as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SYSEX, SYSEX_END, REALTIME = 0xF0, 0xF7, 0xF8
_COMMON = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0}
"""Data bytes of system common messages."""

_UNDEFINED = (0xF4, 0xF5, 0xF9, 0xFD)


class ByteReader:
    """One input. Not thread-safe: it belongs to the driver's thread."""

    def __init__(self) -> None:
        self._status = 0
        self._data: list[int] = []

    def feed(self, data: Iterable[int]) -> list[Any]:
        """The `mido.Message`s that these bytes complete."""
        from mido import Message

        messages = []
        for byte in data:
            if byte >= REALTIME:
                if byte not in _UNDEFINED:
                    messages.append(Message.from_bytes([byte]))
            elif byte >= 0x80:
                self._status, self._data = (0 if byte in (SYSEX_END, *_UNDEFINED) else byte), []
                if _COMMON.get(byte) == 0:
                    messages.append(Message.from_bytes([byte]))
                    self._status = 0
            elif self._status not in (0, SYSEX):
                self._data.append(byte)
                if len(self._data) == _length(self._status):
                    messages.append(Message.from_bytes([self._status, *self._data]))
                    self._data = []
                    if self._status >= SYSEX:
                        self._status = 0  # only channel messages run on
        return messages


def _length(status: int) -> int:
    """Data bytes of a message."""
    if status >= SYSEX:
        return _COMMON[status]
    return 1 if status & 0xF0 in (0xC0, 0xD0) else 2
