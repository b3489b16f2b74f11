"""The OSC bridge: datagrams in, session calls, replies and events out.

    socket -> receive thread -> intake -> event loop: map -> table -> session -> outbox -> replies

Threading: everything here runs on the event loop; the receive thread only touches the intake's queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from soundforge import RequestError, SoundForgeError
from soundforge.requests import Event
from soundforge.tasks import end_task
from soundforge_bridges.osc.arguments import bind
from soundforge_bridges.osc.echoes import datagram_of
from soundforge_bridges.osc.fair_queue import Address
from soundforge_bridges.osc.handlers import PREFIX
from soundforge_bridges.osc.intake import Intake
from soundforge_bridges.osc.origin import Origin, split_reply_to
from soundforge_bridges.osc.outbox import Outbox
from soundforge_bridges.osc.peers import Access
from soundforge_bridges.osc.reader import Message
from soundforge_bridges.osc.receiver import Receiver
from soundforge_bridges.osc.remap import AddressMap
from soundforge_bridges.osc.remap_file import PARAM, read_address_map
from soundforge_bridges.osc.replies import REPLIES, Outgoing, from_event, param_reply
from soundforge_bridges.osc.table import COMMANDS, NAME, Command, find
from soundforge_bridges.port import SessionPort
from soundforge_bridges.watched_file import WatchedFile

LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class OscBridge:
    """OSC over UDP for one session.

    Args:
        session: what is driven.
        host: address to listen on.
        port: 0 = any free one, see `port` after `start`.
        allow: hosts besides this machine whose packets are read.
        map_file: TOML file with other programs' addresses (`osc.remap_file`), read again when it changes; None = none.
    """

    def __init__(self, session: SessionPort, host: str = "127.0.0.1", port: int = 9130,
                 allow: Iterable[str] = (), map_file: Path | None = None) -> None:
        self._session, self._host, self._wanted_port, self._allow = session, host, port, tuple(allow)
        self._out = Outbox(self._transmit)
        self._intake = Intake(self._on_message, self._out.subscribers.heard_from, self._out.error)
        self._access: Access | None = None
        self._receiver: Receiver | None = None
        self._undo: list[Callable[[], None]] = []
        self._map_file = None if map_file is None else WatchedFile(map_file, read_address_map)
        self._watcher: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._receiver.port if self._receiver else 0

    @property
    def malformed(self) -> int:
        """Datagrams that were no OSC."""
        return self._intake.malformed

    @property
    def dropped(self) -> int:
        """Packets that were not carried out: no room, not allowed, no OSC, and the system's own where it tells."""
        if self._receiver is None:
            return 0
        return self._intake.dropped + self._receiver.refused + self._receiver.kernel_drops()

    async def start(self) -> None:
        """Bind the port.

        Raises:
            DeviceError: busy port or foreign address.
            SettingsError: a host in `allow` cannot be looked up, or the map file is wrong.
        """
        loop = asyncio.get_running_loop()
        if self._map_file is not None:
            self._out.feedback.use(await loop.run_in_executor(None, self._map_file.read))
        self._access = await loop.run_in_executor(None, Access, self._allow, self._host)
        self._intake.start(loop)
        receiver = Receiver(self._intake.queue, self._access, self._intake.wake)
        receiver.open(self._host, self._wanted_port)
        self._receiver = receiver
        if self._map_file is not None:
            self._watcher = asyncio.create_task(self._watch_map(self._map_file))
        self._undo = [self._session.add_listener(self._on_event),
                      self._session.add_drop_counter(lambda: self.dropped)]

    async def stop(self) -> None:
        """Free the port; safe to call twice, and after a start that failed."""
        while self._undo:
            self._undo.pop()()
        self._intake.stop()
        watcher, self._watcher = self._watcher, None
        await end_task(watcher)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await asyncio.get_running_loop().run_in_executor(None, receiver.close)

    async def _watch_map(self, file: WatchedFile[AddressMap]) -> None:
        """Another content of the map file holds from then on; a wrong one is told of, and the old one stays."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                changed = await loop.run_in_executor(None, file.read_if_changed)
            except SoundForgeError as error:
                self._session.notice("warning", f"{error}; the map stays as it was")
                continue
            if changed is not None:
                self._out.feedback.use(changed)
                self._session.notice("info", f"the OSC map {str(file.path)!r} was read again")

    # --- in ------------------------------------------------------------------------------------------------

    def _on_message(self, message: Message, sender: Address) -> None:
        found = find(message.address)
        if found is not None:
            self._try(message.address, sender, lambda: self._carry_out(*found, message, sender))
        elif message.address in self._out.feedback.map.incoming:
            self._try(message.address, sender, lambda: self._translate(message, sender))
        elif (heard := self._session.claims.osc(message.address)) is not None:
            self._try(message.address, sender, lambda: self._for_plugin(heard, message, sender))
        elif message.address not in REPLIES:
            # Two programs that answer each other's answers would never stop.
            what = "no such address; /soundforge/commands lists all"
            self._out.error(sender, message.address, RequestError(what))

    def _try(self, address: str, sender: Address, act: Callable[[], None]) -> None:
        try:
            with self._out.one_command():
                act()
        except SoundForgeError as error:
            self._out.error(sender, address, error)
        except Exception as error:
            # A fault of ours must not take the server down; the sender and the log hear of it.
            log.exception("%s failed", address)
            self._out.error(sender, address, RequestError(f"internal error: {error}; see the log"))

    def _for_plugin(self, heard: Any, message: Message, sender: Address) -> None:
        """An address that a plugin's bridge declared."""
        for address, *values in heard(message.address, tuple(message.values)) or ():
            tags = "".join("i" if isinstance(v, int) else "f" if isinstance(v, float) else "s" for v in values)
            self._out.answer(Outgoing(address, tags, tuple(values)), Origin(sender))

    def _translate(self, message: Message, sender: Address) -> None:
        """One message of a surface that speaks through the map."""
        feedback = self._out.feedback
        new = feedback.heard(sender, message.address, message.values)
        for target in feedback.map.incoming[message.address]:
            try:
                values = target.values(message.values)
            except IndexError:
                raise RequestError(f"{len(message.values)} arguments came, and the OSC map asks for another one; "
                                   "see `argument` and `arguments` there") from None
            found = find(target.to)
            if values is not None and found is not None:
                self._call(*found, values, Origin(sender, silent=True))
        if new:
            params = [ours.removeprefix(PARAM) for ours in feedback.map.outgoing if ours.startswith(PARAM)]
            states = [param_reply(name, self._session.get_param(name)) for name in params]
            feedback.introduce(sender, [*states, from_event(self._session.status()),
                                        from_event(self._session.transport())])

    def _carry_out(self, command: Command, names: tuple[str, ...], message: Message, sender: Address) -> None:
        if command.any_arguments:
            self._out.send(datagram_of(message, f"{PREFIX}/pong"), sender)
            return
        named = command.reply.split(" ")[0].replace(NAME, "".join(names))
        if self._out.echoes.goes_round(message, sender):
            self._out.not_back_to(sender)
        values, origin = split_reply_to(message.values, sender, named, self._may_be_told)
        try:
            self._call(command, names, values, origin)
        except SoundForgeError as error:
            self._out.error(origin.address, message.address, error)

    def _may_be_told(self, host: str) -> bool:
        return self._access is not None and self._access.allows(host)

    def _call(self, command: Command, names: tuple[str, ...], values: Any, origin: Origin) -> None:
        bound = bind(command.arguments, values)
        if command.awaits:
            self._out.awaited.add(command.awaits, origin, command.awaits_seconds)
        if command.handler is None:
            self._connection(command, bound, origin)
            return
        for answer in command.handler(self._session, origin, *names, *bound):
            self._out.answer(answer if isinstance(answer, Outgoing) else from_event(answer), origin)
        if command.address == f"{PREFIX}/panic":
            self._intake.schedule.clear()

    def _connection(self, command: Command, values: list[Any], origin: Origin) -> None:
        """The addresses that concern the connection: commands, subscribe, unsubscribe."""
        if command.address == f"{PREFIX}/commands":
            for row in COMMANDS:
                self._out.answer(Outgoing(f"{PREFIX}/commands", "ssss",
                                          (row.address, row.signature, row.reply, row.doc)), origin)
            return
        address = (origin.address[0], values[0] or origin.address[1])
        if command.address == f"{PREFIX}/unsubscribe":
            if not self._out.subscribers.remove(address):
                raise RequestError(f"port {address[1]} of {address[0]} is not subscribed")
            self._out.answer(Outgoing(f"{PREFIX}/unsubscribed", "i", (address[1],)), origin)
            return
        for gone in self._out.subscribers.add(address):
            self._out.only(gone, Outgoing(f"{PREFIX}/unsubscribed", "i", (gone[1],)))
        self._out.answer(Outgoing(f"{PREFIX}/subscribed", "i", (address[1],)), origin)
        self._out.only(address, from_event(self._session.status()))

    # --- out -----------------------------------------------------------------------------------------------

    def _transmit(self, datagram: bytes, address: Address) -> None:
        if self._receiver is not None:
            self._receiver.send(datagram, address)

    def _on_event(self, event: Event, origin: Any) -> None:
        """From the session, on the event loop: to who asked and to every subscriber."""
        self._out.tell(from_event(event), *([origin] if isinstance(origin, Origin) else []))
