"""What the parts of a session share: audio, engine, library, parameters, listeners, workers.

Threading: belongs to the event loop; `on_disk` and `spawn` take work elsewhere and bring its failure back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from soundforge.errors import SoundForgeError
from soundforge.library import Library
from soundforge.live.audio_client import AudioClient
from soundforge.live.engine_client import EngineClient
from soundforge.live.params import ParamValues
from soundforge.live.transport import Transport
from soundforge.requests import Event, NoticeEvent

Listener = Callable[[Event, object | None], None]
END_SECONDS = 10.0


class Room:
    """See the module.

    Args:
        audio, engine, library: what the session was given.
        transport: at the start.
        tempo_known: somebody chose this tempo; otherwise models may find their own until one is set.
    """

    def __init__(self, audio: AudioClient, engine: EngineClient, library: Library, transport: Transport,
                 tempo_known: bool) -> None:
        self.audio, self.engine, self.library = audio, engine, library
        self.transport = transport
        self.tempo_known = tempo_known
        self.params = ParamValues()
        self.disk = ThreadPoolExecutor(1, "soundforge disk")
        self.reader = ThreadPoolExecutor(1, "soundforge reader")
        self.retimers: list[Callable[[], None]] = []
        """Called when the transport changed: what waits for its place on the grid moves with it."""
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: set[asyncio.Task[None]] = set()

    def set_transport(self, transport: Transport) -> None:
        """Another transport from now on."""
        self.transport = transport
        self.retime()

    def retime(self) -> None:
        """Let what waits for its place on the grid look where that is now."""
        for retime in self.retimers:
            retime()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """`listener(event, origin)` hears of everything from now on; call what is returned to end that."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def emit(self, event: Event, origin: object | None = None) -> None:
        """Tell all listeners. One that raises is told on as a notice, and the others are served."""
        for listener in list(self._listeners):
            try:
                listener(event, origin)
            except Exception as error:
                if isinstance(event, NoticeEvent):
                    raise  # a listener that cannot take notices would be told about itself for ever
                self.notice("error", f"a listener failed on {type(event).__name__}: {error!r}")

    def notice(self, level: Literal["info", "warning", "error"], what: str, origin: object | None = None) -> None:
        """A line for the user."""
        self.emit(NoticeEvent(level, what), origin)

    def spawn(self, work: Coroutine[object, object, None], failed: Callable[[str], None], *,
              keep: bool = False) -> asyncio.Task[None]:
        """Run a coroutine; `failed(what)` is called on the event loop when it raises. What is given may be cancelled.

        At the end of the session it is cancelled, or with `keep` (it writes what the user made) waited for.
        """

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                failed(str(error) if isinstance(error, SoundForgeError) else f"unexpected: {error!r}")

        task = asyncio.get_running_loop().create_task(guarded())
        tasks = self._kept if keep else self._tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that was cancelled before it began
        return task

    def on_disk(self, work: Callable[[], object], origin: object | None = None) -> None:
        """Do disk work on the worker, in order; a failure is a notice to who asked."""

        async def run() -> None:
            await asyncio.get_running_loop().run_in_executor(self.disk, work)

        self.spawn(run(), lambda what: self.notice("error", what, origin), keep=True)

    async def close(self) -> None:
        """Let the writing that was begun end, within reason; everything else is of no use any more."""
        for task in self._tasks:
            task.cancel()
        if self._kept:
            _, late = await asyncio.wait(self._kept, timeout=END_SECONDS)
            for task in late:
                task.cancel()
        self.disk.shutdown(wait=False, cancel_futures=True)
        self.reader.shutdown(wait=False, cancel_futures=True)
