"""Takes in memory and as prompts in the engine.

The last few takes stay in memory, so that continuing one does not read the disk; the engine holds the last few as
prompts that its codec and network have followed, so that continuing one does not compute them again.

Threading: belongs to the event loop; `load` reads on the executor.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from soundforge.library import Library
from soundforge.live.capture import Block, Capture
from soundforge.live.engine_protocol import DropPrompt, EndPrompt, FeedPrompt, OpenPrompt
from soundforge.requests import GenerateRequest
from soundforge.take import Take

IN_MEMORY, IN_MEMORY_BYTES = 4, 2**28  # of long takes fewer: the last one, and what fits
PROMPTS = 4
FEED_SECONDS = 0.08  # of capture go to the engine at a time: small enough to be done in no time at the end


class TakeStore:
    """See the module.

    Args:
        library, executor: where takes are written, and where that is done.
        send: takes messages for the engine.
    """

    def __init__(self, library: Library, executor: Executor, send: Callable[[object], None]) -> None:
        self._library, self._executor, self._send = library, executor, send
        self._takes: OrderedDict[str, Take] = OrderedDict()
        self._prompts: OrderedDict[str, None] = OrderedDict()
        self._waiting: list[Block] = []
        self._n_waiting = 0
        self.last = ""

    # --- while capturing ---

    def follow(self, capture: Capture, request: GenerateRequest) -> None:
        """A capture begins: the engine follows it from the first sample."""
        self._waiting, self._n_waiting = [], 0
        self._open(capture.take, request, capture.rate)

    def feed(self, capture: Capture, block: Block) -> None:
        """A piece of a capture."""
        self._waiting.append(block)
        self._n_waiting += len(block)
        if self._n_waiting >= FEED_SECONDS * capture.rate:
            self.flush(capture.take)

    def flush(self, take: str) -> None:
        """Hand on what was gathered."""
        if self._waiting and take in self._prompts:
            self._prompts.move_to_end(take)  # jobs with other takes do not push it out meanwhile
            self._send(FeedPrompt(take, np.concatenate(self._waiting)))
        self._waiting, self._n_waiting = [], 0

    def complete(self, name: str, take: Take) -> None:
        """The capture is a take now."""
        self.flush(name)
        if name in self._prompts:
            self._send(EndPrompt(name))
        self.last = name
        self._keep(name, take)

    def discard(self, name: str) -> None:
        """The capture came to nothing."""
        self._waiting, self._n_waiting = [], 0
        if name in self._prompts:
            del self._prompts[name]
            self._send(DropPrompt(name))

    # --- for jobs ---

    def has_prompt(self, take: str) -> bool:
        return take in self._prompts

    def forget(self, take: str) -> None:
        """Its file is gone."""
        self._takes.pop(take, None)
        self.discard(take)
        if self.last == take:
            self.last = ""

    def prompt_failed(self, take: str) -> None:
        self._prompts.pop(take, None)

    def engine_forgot(self) -> None:
        """The engine was started anew, or has another model: it holds no prompts."""
        self._prompts.clear()

    def known(self, take: str) -> bool:
        """It is in memory or on disk."""
        return take in self._takes or any(entry.id == take for entry in self._library.list("take"))

    async def load(self, take: str) -> Take:
        """A take from memory or disk; raises LibraryError, AudioError."""
        if take not in self._takes:
            loop = asyncio.get_running_loop()
            self._keep(take, await loop.run_in_executor(self._executor, self._library.load_take, take))
        self._takes.move_to_end(take)
        return self._takes[take]

    async def ensure_prompt(self, name: str, request: GenerateRequest) -> None:
        """Have the engine hold a complete take as a prompt; raises LibraryError, AudioError."""
        if name in self._prompts:
            self._prompts.move_to_end(name)
            return
        take = await self.load(name)
        self._open(name, request, take.sample_rate)
        self._send(FeedPrompt(name, np.ascontiguousarray(take.waveform.samples.T)))
        self._send(EndPrompt(name))

    def _open(self, name: str, request: GenerateRequest, rate: int) -> None:
        self._prompts[name] = None
        self._prompts.move_to_end(name)
        while len(self._prompts) > PROMPTS:
            oldest, _ = self._prompts.popitem(last=False)
            self._send(DropPrompt(oldest))
        self._send(OpenPrompt(name, request, rate))

    def _keep(self, name: str, take: Take) -> None:
        self._takes[name] = take
        self._takes.move_to_end(name)
        while len(self._takes) > IN_MEMORY or (len(self._takes) > 1 and self._n_bytes() > IN_MEMORY_BYTES):
            self._takes.popitem(last=False)

    def _n_bytes(self) -> int:
        return sum(take.waveform.samples.nbytes for take in self._takes.values())
