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
from soundforge.live.audio_protocol import AttachClip, DetachClip
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
        block = await asyncio.to_thread(_share, samples)
        index = self._free.pop()
        message = AttachClip(index, block.name, len(samples), samples.shape[1])
        done = asyncio.get_running_loop().create_future()
        self._held[index] = (block, message, done)
        self._send(message)
        await done
        return index

    def attached(self, index: int) -> None:
        """The audio process has it."""
        if index in self._held:
            done = self._held[index][2]
            if not done.done():
                done.set_result(None)

    def detach(self, index: int) -> None:
        """Free a clip that no voice plays any more."""
        found = self._held.pop(index, None)
        if found is not None:
            self._send(DetachClip(index))
            found[0].close()
            self._free.append(index)

    def send_all(self) -> None:
        """Another audio process runs: it gets them all."""
        for _, message, _ in self._held.values():
            self._send(message)

    def close(self) -> None:
        """Free all. Safe to call twice."""
        for block, _, _ in self._held.values():
            block.close()
        self._held.clear()


def _share(samples: NDArray[np.float32]) -> SharedBlock:
    block = SharedBlock(max(samples.nbytes, 4))
    block.array(samples.shape, np.float32)[...] = samples
    return block
