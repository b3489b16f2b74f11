"""Datagrams of somebody who means no good: the table's own commands and worse, mutated; and forged senders."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from osc_peer import build
from test_osc_reader import SEEDS, bundle, message, nest

from soundforge_bridges.osc.arguments import Argument
from soundforge_bridges.osc.schedule import timetag_at
from soundforge_bridges.osc.table import COMMANDS, NAME

YEAR_SECONDS = 365 * 86_400
PARAMS = ("cfg", "text", "gain", "monitor", "quantum", "crossfade_ms", "processors", "guidance/chords")
OTHERS_PORTS = (1, 7, 65_535)  # nobody listens there, or nobody who minds

WORST = [*SEEDS, build("/soundforge/continue", "t", 4.0, "id"), build("/soundforge/param/cfg", 2.0),
         bundle(message(b"/soundforge/panic", b""), timetag=2**63), nest(390),
         bundle(b"\0" * 8, sizes=[-4]), message(b"/" + b"*" * 24 + b"Q", b""),
         message(b"/soundforge/generate", b"s", b"x" * 60_000 + b"\0\0\0\0"),
         message(b"/soundforge/generate", b"b", struct.pack(">i", 64_000) + bytes(64_000))]


def a_year_ahead() -> bytes:
    return bundle(build("/soundforge/panic"), timetag=timetag_at(time.time() + YEAR_SECONDS))


def value_of(argument: Argument) -> Any:
    """One that is in range."""
    if argument.kind == "whole":
        return int(max(argument.low, min(argument.high, 2)))
    if argument.kind == "number":
        return float(max(argument.low, min(argument.high, 2.5)))
    return 2.5 if argument.kind == "value" else "x"


def from_the_table(server_port: int) -> list[bytes]:
    """Every command with all its arguments and with none, as it is and with an answer wished at somebody's port."""
    packets = []
    for command in COMMANDS:
        for name in PARAMS if command.named else ("",):
            address = command.address.replace(NAME, name)
            values = [value_of(argument) for argument in command.arguments]
            packets += [build(address), build(address, *values)]
            for port in (server_port, *OTHERS_PORTS):
                packets.append(build(address, *values, f"osc.udp://127.0.0.1:{port}/", address))
            packets.append(build(address, *values, "osc.udp://192.0.2.1:9130/", "/x"))
    return [*packets, *(build("/soundforge/subscribe", port) for port in (server_port, *OTHERS_PORTS)), a_year_ahead()]


def mutated(sources: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Random bytes, and packets with up to four places changed."""
    source = random.Random(seed)
    for _ in range(count):
        if source.random() < 0.2:
            yield source.randbytes(source.randrange(64))
            continue
        packet = bytearray(source.choice(sources))
        for _ in range(source.randint(0, 4)):
            at = source.randrange(len(packet) + 1)
            packet[at:at + source.choice([0, 1, 4])] = source.choice(
                [source.randbytes(4), struct.pack(">I", source.choice([0, 2**31 - 1, 2**31, 2**32 - 1])), b""])
        if source.random() < 0.8:
            packet += b"\0" * (-len(packet) % 4)  # past the first check, so that the others have something to do
        yield bytes(packet[:65_000])


def send_forged(server_port: int, packet: bytes, senders_port: int) -> bool:
    """A datagram of this machine whose sender's port is a lie; False where the system does not let us."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        header = struct.pack(">HHHH", senders_port, server_port, 8 + len(packet), 0)
        raw.sendto(header + packet, ("127.0.0.1", 0))
        return True
    return False
