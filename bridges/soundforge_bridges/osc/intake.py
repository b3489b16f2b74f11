"""From the receive thread's queue to messages that are due: worked off in slices, and kept until their timetag.

    receive thread -> fair queue -> event loop: read_packet -> now, or the schedule -> carry out

Packets are worked off in slices of a millisecond with a pause between them, so that a flood leaves the loop and the
processor to others; messages from the future wait in a bounded heap under one timer. Threading: the event loop, except
`queue.put` and `wake`, which are the receive thread's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from soundforge import SoundForgeError
from soundforge_bridges.osc.fair_queue import Address, FairQueue
from soundforge_bridges.osc.reader import Message, PacketError, read_packet
from soundforge_bridges.osc.schedule import Schedule, seconds_until

SLICE_SECONDS, PAUSE_SECONDS = 0.001, 0.002
"""The pause is the longer one: only in it does the receive thread get the interpreter's lock under a flood, and what
it does not read in time waits in the system's buffer, in front of the packets of everybody else."""

SLICE_PACKETS = 64
NOW_SECONDS = 0.0005
"""Timetags nearer than this are carried out at once; the loop's timer is no finer."""

log = logging.getLogger(__name__)


class Intake:
    """See the module.

    Args:
        carry_out: gets each message when it is due; must not raise.
        heard: told the host of each packet.
        complain: told `(sender, address, error)` of what cannot be read or kept.
    """

    def __init__(self, carry_out: Callable[[Message, Address], None], heard: Callable[[str], None],
                 complain: Callable[[Address, str, SoundForgeError], None]) -> None:
        self.queue = FairQueue()
        self.schedule = Schedule()
        self.malformed = 0
        """Datagrams that were no OSC."""
        self._carry_out, self._heard, self._complain = carry_out, heard, complain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False

    @property
    def dropped(self) -> int:
        """Packets that found no room, or were no OSC."""
        return self.queue.dropped + self.malformed

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def stop(self) -> None:
        """Carry out nothing more; what waits is forgotten. Safe to call twice."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.schedule.clear()

    def wake(self) -> None:
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
            packet = self.queue.take() if self._loop is not None else None
            if packet is None:
                self._draining = False  # a packet that comes from here on finds the queue empty and wakes us
                return
            self._on_packet(*packet)
            if time.perf_counter() > end:
                break
        if self._loop is not None:
            self._loop.call_later(PAUSE_SECONDS, self._drain)
        else:
            self._draining = False

    def _on_packet(self, data: bytes, sender: Address) -> None:
        self._heard(sender[0])
        try:
            messages = read_packet(data)
        except PacketError as error:
            self.malformed += 1
            self._complain(sender, "", error)
            return
        for message in messages:
            self._when_due(message, sender)

    def _when_due(self, message: Message, sender: Address) -> None:
        ahead = seconds_until(message.timetag)
        if ahead <= NOW_SECONDS:
            self._carry_out(message, sender)
            return
        try:
            self.schedule.add(message, sender, ahead)
        except SoundForgeError as error:
            self._complain(sender, message.address, error)
            return
        self._set_timer()

    def _set_timer(self) -> None:
        due = self.schedule.next_due()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        while (item := self.schedule.take_due()) is not None:
            self._carry_out(*item)
        self._set_timer()
