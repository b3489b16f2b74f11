"""Our own strict reader of OSC datagrams: any bytes give messages or one `PacketError`, in bounded time and memory.

Nothing from the network reaches python-osc: one packet can hang its parser (an element size of -4), exhaust the stack
(deep nesting) or shift arguments silently (unknown type tags). Here every size is positive, a multiple of four and
inside its packet, so each step moves on; depth, messages, arguments and strings are limited.

A type tag string may hold OSC 1.0's and 1.1's: i f s S b h d t T F N I c r m [ ].
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from soundforge import InputError

IMMEDIATELY = 1
"""The timetag that means "now"."""

MAX_PACKET_BYTES = 65_507
MAX_DEPTH = 8
MAX_MESSAGES = 1000
MAX_ARGUMENTS = 256
MAX_ADDRESS_BYTES = 255

Value = int | float | str | bytes | bool | None | tuple["Value", ...]

_BUNDLE = b"#bundle\0"
_INT, _TIME = struct.Struct(">i"), struct.Struct(">Q")
_FIXED = {"i": struct.Struct(">i"), "f": struct.Struct(">f"), "h": struct.Struct(">q"), "d": struct.Struct(">d"),
          "t": struct.Struct(">Q"), "r": struct.Struct(">I"), "c": struct.Struct(">I")}
_CONSTANT: dict[str, Value] = {"T": True, "F": False, "N": None, "I": float("inf")}


class PacketError(InputError):
    """A datagram is no OSC packet, or is beyond the limits of this reader."""


@dataclass(frozen=True, slots=True)
class Message:
    """One OSC message.

    Args:
        address: as sent.
        values: arguments; arrays are tuples, `c` a text, `m` and `b` bytes, `t` and `r` whole numbers.
        timetag: 64-bit NTP time of the innermost bundle, never before an outer one's; 1 = immediately.
        tags: type tags without the comma.
        payload: the arguments' bytes as sent.
    """

    address: str
    values: tuple[Value, ...] = ()
    timetag: int = IMMEDIATELY
    tags: str = ""
    payload: bytes = b""


def read_packet(data: bytes) -> list[Message]:
    """All messages of a datagram, in order.

    Raises:
        PacketError: says which rule was broken, and nothing else is ever raised.
    """
    if not data:
        raise PacketError("an empty datagram came, expected an OSC message or bundle")
    if len(data) > MAX_PACKET_BYTES:
        raise PacketError(f"a packet of {len(data)} bytes came, expected at most {MAX_PACKET_BYTES}")
    if len(data) % 4:
        raise PacketError(f"a packet of {len(data)} bytes came, expected a multiple of 4")
    messages: list[Message] = []
    _read_element(data, IMMEDIATELY, 0, messages)
    return messages


def _read_element(data: bytes, timetag: int, depth: int, into: list[Message]) -> None:
    if not data.startswith(b"#"):
        if len(into) >= MAX_MESSAGES:
            raise PacketError(f"a packet of more than {MAX_MESSAGES} messages came; send them in several")
        into.append(_read_message(data, timetag))
        return
    if not data.startswith(_BUNDLE) or len(data) < 16:
        raise PacketError("a packet starts with '#' and is no bundle, expected '#bundle', a timetag and elements")
    if depth >= MAX_DEPTH:
        raise PacketError(f"bundles nested deeper than {MAX_DEPTH} came; send them side by side")
    timetag = max(timetag, _TIME.unpack_from(data, 8)[0])
    at = 16
    while at < len(data):
        # A multiple of four is left, because every size was one: four bytes are always there.
        size = _INT.unpack_from(data, at)[0]
        at += 4
        if size <= 0 or size % 4 or at + size > len(data):
            raise PacketError(f"a bundle element claims {size} bytes where {len(data) - at} are left, "
                              "expected a positive multiple of 4 inside the packet")
        _read_element(data[at:at + size], timetag, depth + 1, into)
        at += size


def _read_message(data: bytes, timetag: int) -> Message:
    address, at = _read_text(data, 0, "address")
    if not address.startswith("/") or not address.isprintable() or " " in address:
        raise PacketError(f"address came as {_short(address)}, expected '/' and printable characters without spaces")
    if at > MAX_ADDRESS_BYTES:
        raise PacketError(f"an address of {len(address)} characters came, expected at most {MAX_ADDRESS_BYTES}")
    if at == len(data):
        return Message(address, (), timetag)  # old senders leave the type tags out when there are no arguments
    tags, at = _read_text(data, at, "type tag string")
    if not tags.startswith(","):
        raise PacketError(f"type tags of {_short(address)} came as {_short(tags)}, expected ',' first")
    if len(tags) - 1 > MAX_ARGUMENTS:
        raise PacketError(f"{_short(address)} came with {len(tags) - 1} arguments, expected at most {MAX_ARGUMENTS}")
    payload = data[at:]
    values, end = _read_arguments(payload, tags[1:], address)
    if end != len(payload):
        raise PacketError(f"{_short(address)} came with {len(payload) - end} bytes after its last argument")
    return Message(address, values, timetag, tags[1:], payload)


def _read_arguments(data: bytes, tags: str, address: str) -> tuple[tuple[Value, ...], int]:
    """Values and how many bytes they took. Arrays are a stack, not recursion: their depth costs nothing."""
    stack: list[list[Value]] = [[]]
    at = 0
    for tag in tags:
        if tag in _FIXED:
            if at + _FIXED[tag].size > len(data):
                raise PacketError(f"{_short(address)} ends inside an argument of type {tag!r}")
            number = _FIXED[tag].unpack_from(data, at)[0]
            at += _FIXED[tag].size
            stack[-1].append(_character(number, address) if tag == "c" else number)
        elif tag in "sS":
            text, at = _read_text(data, at, f"a text of {_short(address)}")
            stack[-1].append(text)
        elif tag in "bm":
            blob, at = _read_blob(data, at, tag, address)
            stack[-1].append(blob)
        elif tag in _CONSTANT:
            stack[-1].append(_CONSTANT[tag])
        elif tag == "[":
            if len(stack) > MAX_DEPTH:
                raise PacketError(f"{_short(address)} came with arrays nested deeper than {MAX_DEPTH}")
            stack.append([])
        elif tag == "]" and len(stack) > 1:
            array = tuple(stack.pop())
            stack[-1].append(array)
        else:
            raise PacketError(f"{_short(address)} came with the type tag {tag!r}, expected i f s b h d t T F N I c r m "
                              "or arrays in [ ]")
    if len(stack) > 1:
        raise PacketError(f"{_short(address)} came with an array that is not closed by ']'")
    return tuple(stack[0]), at


def _read_text(data: bytes, at: int, what: str) -> tuple[str, int]:
    """A zero-terminated text padded to four bytes, and where it ends."""
    end = data.find(b"\0", at)
    if end < 0:
        raise PacketError(f"{what} has no terminating zero")
    after = end + 4 - (end - at) % 4
    if after > len(data):
        raise PacketError(f"{what} is not padded to four bytes")
    try:
        return data[at:end].decode("utf-8"), after
    except UnicodeDecodeError:
        raise PacketError(f"{what} is no UTF-8") from None


def _read_blob(data: bytes, at: int, tag: str, address: str) -> tuple[bytes, int]:
    """A blob (size first) or a MIDI message (four bytes), and where it ends."""
    size = 4
    if tag == "b":
        if at + 4 > len(data):
            raise PacketError(f"{_short(address)} ends inside an argument of type 'b'")
        size = _INT.unpack_from(data, at)[0]
        at += 4
    after = at + size + -size % 4
    if size < 0 or after > len(data):
        raise PacketError(f"{_short(address)} claims {size} bytes for an argument where {len(data) - at} are left")
    return data[at:at + size], after


def _character(number: int, address: str) -> str:
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise PacketError(f"{_short(address)} came with the character {number}, expected a Unicode code point")
    return chr(number)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
