"""How the session talks to the engine, wherever that runs: one interface, two implementations.

`LocalEngine` is a process of its own, watched and started again when it dies; `InProcessEngine` is a thread, for
tests and for use as a library. Nothing above knows which one it talks to.

Threading: all methods belong to the event loop and never block; events are delivered on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

from soundforge.live import spawning
from soundforge.live.engine_inbox import EngineInbox
from soundforge.live.engine_process import engine_main
from soundforge.live.engine_protocol import EngineFailed, EngineLost, EngineReady, EngineSetup, LoadModel, QuitEngine
from soundforge.live.engine_worker import EngineWorker

OnEvent = Callable[[object], None]

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 30.0
DEATHS_BEFORE_READY = 3  # more of them are no accident
GRACE_SECONDS = 1.5  # to end by itself: it needs no time, unless it is stuck


class EngineClient(Protocol):
    """See the module; messages and events are those of `engine_protocol`."""

    async def start(self, on_event: OnEvent) -> None:
        """Start it and return at once; `EngineLoading` and `EngineReady` or `EngineFailed` follow."""
        ...

    def send(self, message: object) -> None:
        """Hand over a message; one sent while the engine is away is lost, as its jobs are (`EngineLost`)."""
        ...

    async def stop(self) -> None:
        """End it. Safe to call twice."""
        ...


class InProcessEngine:
    """The engine worker on a thread of this process."""

    def __init__(self, setup: EngineSetup) -> None:
        self._setup = setup
        self._worker: EngineWorker | None = None
        self._thread: threading.Thread | None = None

    async def start(self, on_event: OnEvent) -> None:
        """See `EngineClient`."""
        loop = asyncio.get_running_loop()

        def emit(event: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(on_event, event)

        self._worker = EngineWorker(self._setup, emit)
        self._thread = threading.Thread(target=self._worker.run, name="engine", daemon=True)
        self._thread.start()

    def send(self, message: object) -> None:
        """See `EngineClient`."""
        assert self._worker is not None, "the engine was not started"
        self._worker.post(message)

    async def stop(self) -> None:
        """See `EngineClient`."""
        if self._worker is not None and self._thread is not None:
            self._worker.post(QuitEngine())
            await asyncio.to_thread(self._thread.join)
            self._worker = None


class LocalEngine:
    """The engine in a process of its own."""

    def __init__(self, setup: EngineSetup) -> None:
        self._setup = setup
        self._on_event: OnEvent = lambda event: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: Any = None
        self._outbox = EngineInbox()
        self._stopping = False
        self._wanted_model = ""
        self._backoff = 0.0
        self._deaths = 0  # since it was last ready
        self._restart: asyncio.TimerHandle | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the engine process."""
        return self._process.pid if self._process is not None else None

    async def start(self, on_event: OnEvent) -> None:
        """See `EngineClient`."""
        self._loop, self._on_event = asyncio.get_running_loop(), on_event
        self._launch()

    def send(self, message: object) -> None:
        """See `EngineClient`. A thread does the sending: a pipe that is full would hold the event loop up."""
        if isinstance(message, LoadModel):
            self._wanted_model = message.name
            if self._restart is not None:
                self._backoff = 0.0
                self._restart.cancel()
                self._setup = replace(self._setup, model=message.name)
                self._launch()
                return
        self._outbox.put(message)

    async def stop(self) -> None:
        """See `EngineClient`."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._process is not None:
            self._outbox.put(QuitEngine())
            await asyncio.to_thread(self._end)
            self._process = None

    def _end(self) -> None:
        self._process.join(GRACE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _launch(self) -> None:
        assert self._loop is not None
        self._restart = None
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=engine_main, args=(theirs, self._setup), name="soundforge engine",
                                        daemon=True)
        spawning.start(self._process)
        theirs.close()
        for work, name in ((self._write, "engine outbox"), (self._read, "engine events")):
            threading.Thread(target=work, args=(ours, self._process, self._outbox), name=name, daemon=True).start()

    def _write(self, pipe: Connection, process: Any, outbox: EngineInbox) -> None:
        while (message := outbox.get()) is not None:
            try:
                pipe.send(message)
            except OSError:
                return  # the reading thread sees the end as well, and tells
            except Exception:  # no memory to pickle it, most likely: half of it may be in the pipe
                log.exception("a message to the engine was not sent; the engine is started again")
                process.kill()
                return

    def _read(self, pipe: Connection, process: Any, outbox: EngineInbox) -> None:
        loop = self._loop
        assert loop is not None
        while True:
            try:
                event = pipe.recv()
            except (EOFError, OSError):
                break
            except Exception:
                log.exception("an event of the engine was not read; the engine is started again")
                process.kill()
                break
            self._deliver(loop, event)
        process.join()
        outbox.put(None)
        pipe.close()
        if not self._stopping:
            self._deliver(loop, EngineLost(how_it_ended(process.exitcode)))

    def _deliver(self, loop: asyncio.AbstractEventLoop, event: object) -> None:
        try:
            loop.call_soon_threadsafe(self._receive, event)
        except RuntimeError:
            return  # the loop is closed: the server is ending

    def _receive(self, event: object) -> None:
        if isinstance(event, EngineReady):
            self._backoff, self._deaths = 0.0, 0
            # After a crash it comes back with the model that could be loaded last.
            self._setup = replace(self._setup, model=self._wanted_model or self._setup.model)
            self._wanted_model = ""
        elif isinstance(event, EngineFailed):
            self._wanted_model = ""
        elif isinstance(event, EngineLost):
            # What is sent from here on is for the next process, and waits for it.
            self._outbox = EngineInbox()
            event = self._schedule_restart(event.what)
        self._on_event(event)

    def _schedule_restart(self, how: str) -> EngineLost:
        assert self._loop is not None
        self._deaths += 1
        if self._stopping:
            return EngineLost(f"the engine process ended ({how})")
        self.restarts += 1
        self._restart = self._loop.call_later(self._backoff, self._launch)
        what = f"the engine process ended ({how}); it is started again"
        failing = self._deaths > DEATHS_BEFORE_READY
        if failing:
            what = (f"the engine process ended {self._deaths} times before it was ready ({how}); it is tried again "
                    f"every {MAX_BACKOFF_SECONDS:g} s at last; load another model with /soundforge/model, or see the "
                    "log")
        # One that served comes back at once; one that dies again before it is ready waits longer each time.
        self._backoff = min(MAX_BACKOFF_SECONDS, max(FIRST_BACKOFF_SECONDS, 2 * self._backoff))
        return EngineLost(what, failing, tell=self._deaths <= DEATHS_BEFORE_READY + 1)


def how_it_ended(code: int | None) -> str:
    """An exit status in words."""
    if code is None or code >= 0:
        return f"exit status {code}"
    if -code == getattr(signal, "SIGKILL", None):
        return f"signal {-code}: it was killed, perhaps because the machine ran out of memory"
    return f"signal {-code}"
