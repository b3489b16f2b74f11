"""Clips that the callback can play: blocks of shared memory, attached to the audio process by index.

They stay here when an audio process dies; the next one is given all of them.

Threading: belongs to the event loop; samples are copied on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import DeviceError
from soundforge.live.audio_protocol import AttachClip, ClipAttached, ClipRefused, DetachClip
from soundforge.live.shared_block import SharedBlock

MOST_CLIPS = 1024
"""As many as the mixer has places for."""


class AttachedClips:
    """See the module.

    Args:
        send: tells the audio process that runs now.
    """

    def __init__(self, send: Callable[[object], None]) -> None:
        self._send = send
        self._held: dict[int, tuple[SharedBlock, AttachClip, asyncio.Future[None]]] = {}
        self._free = list(range(MOST_CLIPS - 1, -1, -1))

    async def attach(self, samples: NDArray[np.float32]) -> int:
        """Share a clip `(n_samples, channels)`; gives its index when the callback can play it.

        Raises:
            DeviceError: no memory, or too many clips.
        """
        if not self._free:
            raise DeviceError(f"{MOST_CLIPS} clips are loaded already; delete some")
        index = self._free.pop()
        try:
            block = await asyncio.to_thread(_share, samples)
        except DeviceError:
            self._free.append(index)
            raise
        message = AttachClip(index, block.name, len(samples), samples.shape[1])
        done = asyncio.get_running_loop().create_future()
        self._held[index] = (block, message, done)
        self._send(message)
        await done
        return index

    def on_message(self, message: object) -> None:
        """The audio process has a clip, or cannot have it. One that was detached meanwhile is nobody's any more, and
        its index may be another's."""
        if not isinstance(message, (ClipAttached, ClipRefused)):
            return
        held = self._held.get(message.index)
        if held is None or held[1].name != message.name or held[2].done():
            return  # one that is refused after a restart keeps its index: who plays it hears that it has ended
        if isinstance(message, ClipAttached):
            held[2].set_result(None)
        else:
            self._let_go(message.index)
            held[2].set_exception(DeviceError(message.what))

    def detach(self, index: int) -> None:
        """Free a clip that no voice plays any more."""
        if index in self._held:
            self._send(DetachClip(index))
            self._let_go(index)

    def _let_go(self, index: int) -> None:
        self._held.pop(index)[0].close()
        self._free.append(index)

    def send_all(self) -> None:
        """Another audio process runs: it gets them all."""
        for _, message, _ in self._held.values():
            self._send(message)

    def close(self) -> None:
        """Free all; who still waits is cancelled. Safe to call twice."""
        for block, _, done in self._held.values():
            done.cancel()
            block.close()
        self._held.clear()


def _share(samples: NDArray[np.float32]) -> SharedBlock:
    block = SharedBlock(max(samples.nbytes, 4))
    block.array(samples.shape, np.float32)[...] = samples
    return block
