"""The OSC bridge: datagrams in, session calls, replies and events out.

    socket -> receive thread -> fair queue -> event loop: read_packet -> table -> session -> replies

Packets are worked off in slices of a millisecond with a pause between them, so that a flood leaves the loop and the
processor to others; messages from the future wait in a bounded heap under one timer. Threading: everything here runs on
the event loop; the receive thread only touches the queue and `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from soundforge import RequestError, SoundForgeError
from soundforge.requests import Event, StatusEvent
from soundforge_bridges.osc.arguments import bind
from soundforge_bridges.osc.fair_queue import Address, FairQueue
from soundforge_bridges.osc.handlers import PREFIX
from soundforge_bridges.osc.outbox import Outbox
from soundforge_bridges.osc.peers import Access
from soundforge_bridges.osc.reader import Message, PacketError, read_packet
from soundforge_bridges.osc.receiver import Receiver
from soundforge_bridges.osc.replies import REPLIES, Outgoing, from_event
from soundforge_bridges.osc.schedule import Schedule, seconds_until
from soundforge_bridges.osc.table import COMMANDS, Command, find
from soundforge_bridges.port import SessionPort

SLICE_SECONDS, PAUSE_SECONDS = 0.001, 0.002
"""The pause is the longer one: only in it does the receive thread get the interpreter's lock under a flood, and what
it does not read in time waits in the system's buffer, in front of the packets of everybody else."""

SLICE_PACKETS = 64
NOW_SECONDS = 0.0005
"""Timetags nearer than this are carried out at once; the loop's timer is no finer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a job over OSC; the session hands it back with the job's events."""

    address: Address


class OscBridge:
    """OSC over UDP for one session.

    Args:
        session: what is driven.
        host: address to listen on.
        port: 0 = any free one, see `port` after `start`.
        allow: hosts besides this machine whose packets are read.
    """

    def __init__(self, session: SessionPort, host: str = "127.0.0.1", port: int = 9130,
                 allow: Iterable[str] = ()) -> None:
        self._session, self._host, self._wanted_port, self._allow = session, host, port, tuple(allow)
        self._queue = FairQueue()
        self._schedule = Schedule()
        self._out = Outbox(self._transmit)
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._remove_listener: Any = None
        self._draining = False
        self.malformed = 0
        """Datagrams that were no OSC."""

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._receiver.port if self._receiver else 0

    @property
    def dropped(self) -> int:
        """Packets that were not carried out: no room, not allowed, no OSC, and the system's own where it tells."""
        if self._receiver is None:
            return 0
        return self._queue.dropped + self._receiver.refused + self.malformed + self._receiver.kernel_drops()

    async def start(self) -> None:
        """Bind the port.

        Raises:
            DeviceError: busy port or foreign address.
            SettingsError: a host in `allow` cannot be looked up.
        """
        loop = self._loop = asyncio.get_running_loop()
        access = await loop.run_in_executor(None, Access, self._allow, self._host)
        receiver = Receiver(self._queue, access, self._wake)
        receiver.open(self._host, self._wanted_port)
        self._receiver = receiver
        self._remove_listener = self._session.add_listener(self._on_event)

    async def stop(self) -> None:
        """Free the port; safe to call twice."""
        if self._remove_listener is not None:
            self._remove_listener()
            self._remove_listener = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._schedule.clear()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await asyncio.get_running_loop().run_in_executor(None, receiver.close)

    # --- in ------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """On the receive thread: the queue was empty and holds a packet."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(self._start_draining)
        except RuntimeError:
            log.debug("a packet came while the event loop closed")

    def _start_draining(self) -> None:
        if not self._draining:
            self._draining = True
            self._drain()

    def _drain(self) -> None:
        """Carry out packets for one slice of time, then let others run."""
        end = time.perf_counter() + SLICE_SECONDS
        for _ in range(SLICE_PACKETS):
            packet = self._queue.take() if self._receiver else None
            if packet is None:
                self._draining = False  # a packet that comes from here on finds the queue empty and wakes us
                return
            self._on_packet(*packet)
            if time.perf_counter() > end:
                break
        if self._loop is not None:
            self._loop.call_later(PAUSE_SECONDS, self._drain)

    def _on_packet(self, data: bytes, sender: Address) -> None:
        if len(self._out.subscribers):
            self._out.subscribers.heard_from(sender[0])
        try:
            messages = read_packet(data)
        except PacketError as error:
            self.malformed += 1
            self._out.error(sender, "", error)
            return
        for message in messages:
            self._when_due(message, sender)

    def _when_due(self, message: Message, sender: Address) -> None:
        ahead = seconds_until(message.timetag)
        if ahead <= NOW_SECONDS:
            self._on_message(message, sender)
            return
        try:
            self._schedule.add(message, sender, ahead)
        except SoundForgeError as error:
            self._out.error(sender, message.address, error)
            return
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._schedule.next_due()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        while (item := self._schedule.take_due()) is not None:
            self._on_message(*item)
        self._set_timer()

    def _on_message(self, message: Message, sender: Address) -> None:
        found = find(message.address)
        if found is None:
            # Two programs that answer each other's answers would never stop.
            if message.address not in REPLIES:
                what = "no such address; /soundforge/commands lists all"
                self._out.error(sender, message.address, RequestError(what))
            return
        command, names = found
        try:
            with self._out.one_command():
                self._carry_out(command, names, message, sender)
        except SoundForgeError as error:
            self._out.error(sender, message.address, error)
        except Exception as error:
            # A fault of ours must not take the server down; the sender and the log hear of it.
            log.exception("%s failed", message.address)
            self._out.error(sender, message.address, RequestError(f"internal error: {error}; see the log"))

    def _carry_out(self, command: Command, names: tuple[str, ...], message: Message, sender: Address) -> None:
        if command.any_arguments:
            self._out.send(_pong(message), sender)
            return
        values = bind(command.arguments, message.values)
        if command.awaits:
            self._out.awaited.add(command.awaits, sender, command.awaits_seconds)
        if command.handler is None:
            self._connection(command, values, sender)
            return
        for answer in command.handler(self._session, Origin(sender), *names, *values):
            self._out.answer(answer if isinstance(answer, Outgoing) else self._message(answer), sender)
        if command.address == f"{PREFIX}/panic":
            self._schedule.clear()

    def _connection(self, command: Command, values: list[Any], sender: Address) -> None:
        """The addresses that concern the connection: commands, subscribe, unsubscribe."""
        if command.address == f"{PREFIX}/commands":
            for row in COMMANDS:
                self._out.answer(Outgoing(f"{PREFIX}/commands", "ssss",
                                          (row.address, row.signature, row.reply, row.doc)), sender)
            return
        address = (sender[0], values[0] or sender[1])
        if command.address == f"{PREFIX}/unsubscribe":
            if not self._out.subscribers.remove(address):
                raise RequestError(f"port {address[1]} of {address[0]} is not subscribed")
            self._out.answer(Outgoing(f"{PREFIX}/unsubscribed", "i", (address[1],)), sender)
            return
        for gone in self._out.subscribers.add(address):
            self._out.only(gone, Outgoing(f"{PREFIX}/unsubscribed", "i", (gone[1],)))
        self._out.answer(Outgoing(f"{PREFIX}/subscribed", "i", (address[1],)), sender)
        self._out.only(address, self._message(self._session.status()))

    # --- out -----------------------------------------------------------------------------------------------

    def _transmit(self, datagram: bytes, address: Address) -> None:
        if self._receiver is not None:
            self._receiver.send(datagram, address)

    def _on_event(self, event: Event, origin: Any) -> None:
        """From the session, on the event loop: to who asked and to every subscriber."""
        message = self._message(event)
        self._out.tell(message, *([origin.address] if isinstance(origin, Origin) else []))

    def _message(self, event: Event) -> Outgoing:
        if isinstance(event, StatusEvent):
            event = replace(event, dropped=event.dropped + self.dropped)
        return from_event(event)


def _pong(message: Message) -> bytes:
    """The arguments exactly as they came: same types, same bytes."""
    tags = f",{message.tags}".encode()
    address = f"{PREFIX}/pong".encode()
    return (address + b"\0" * (4 - len(address) % 4) + tags + b"\0" * (4 - len(tags) % 4) + message.payload)
