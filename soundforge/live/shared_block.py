"""A named block of shared memory, viewed as numpy arrays, that every process may come and go from.

The control process creates each block and alone unlinks it; audio and engine attach by name. Spawned children
share their parent's resource tracker, so a control process that is killed leaves no block behind: the tracker
unlinks what is left when the last of them is gone.

Threading: creating, attaching and closing allocate and may block; never in the audio callback.
"""

from __future__ import annotations

import math
import platform
import threading
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import DeviceError

# x86 makes stores visible in program order. ARM does not, and Python has no fence of its own.
STRONG_ORDER = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686", "x86")


def make_fence() -> Callable[[], None]:
    """A store/load barrier for one thread: nothing on x86, two rounds of a private lock elsewhere.

    The lock belongs to the caller alone and is never contended, so nobody waits; acquiring it after releasing
    it orders every access before against every access after.
    """
    if STRONG_ORDER:
        return lambda: None
    lock = threading.Lock()

    def fence() -> None:
        with lock:
            pass
        with lock:
            pass

    return fence


class SharedBlock:
    """`n_bytes` of shared memory under a name.

    Args:
        n_bytes: size when creating; 0 = attach to the existing block `name`.
        name: of the block to attach to; "" when creating (the system picks one).

    Raises:
        DeviceError: no such block, or no room for it (a container's /dev/shm may be small).
    """

    def __init__(self, n_bytes: int = 0, name: str = "") -> None:
        self.owner = n_bytes > 0
        try:
            self._memory: SharedMemory | None = (
                SharedMemory(create=True, size=n_bytes) if self.owner else SharedMemory(name=name))
        except (OSError, ValueError) as error:
            what = f"create {n_bytes} bytes of" if self.owner else f"find the block {name!r} of"
            raise DeviceError(f"cannot {what} shared memory ({error}); "
                              "free some, or give the container a larger --shm-size") from error
        self.name = self._memory.name

    def array(self, shape: tuple[int, ...], dtype: Any, offset: int = 0) -> NDArray[Any]:
        """A view of the block, which keeps the memory mapped for as long as it lives, `close` or not.

        Not `np.ndarray(buffer=...)`: that does not say to the mapping that it looks at it, and whoever uses the view
        after the mapping is gone ends the process.
        """
        assert self._memory is not None, "the block is closed"
        buffer = self._memory.buf
        assert buffer is not None
        return np.frombuffer(buffer, dtype, math.prod(shape), offset).reshape(shape)

    def close(self) -> None:
        """Give the block up, and unlink it when this process made it. Safe to call twice.

        A view that is still held keeps the mapping until it goes.
        """
        memory, self._memory = self._memory, None
        if memory is None:
            return
        if self.owner:
            memory.unlink()
        try:
            memory.close()
        except BufferError:
            # A view lives on: the mapping goes with it. Without this its finaliser would complain again, and closing
            # once more closes the file.
            memory._buf = None  # type: ignore[attr-defined]
            memory._mmap = None  # type: ignore[attr-defined]
            memory.close()
