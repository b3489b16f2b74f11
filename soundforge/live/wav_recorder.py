"""Record an endless stream into a WAV file whose header is right at every moment.

Blocks are handed over in the audio thread and written by a thread of their own, so a slow disk cannot hold the
sound up. After each batch the sizes in the header are brought up to date: kill the process at any time and the
file plays up to the last batch.
"""

from __future__ import annotations

import queue
import struct
import threading
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import LibraryError

HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")
MAX_DATA_BYTES = 2**32 - 4096
BATCH_SECONDS = 0.2
WAVE_FORMAT_IEEE_FLOAT = 3


def float_wav_header(rate: int, channels: int, data_bytes: int) -> bytes:
    """Header of a 32-bit float WAV with `fmt`, `fact` and `data` chunks."""
    block = 4 * channels
    return HEADER.pack(b"RIFF", HEADER.size - 8 + data_bytes, b"WAVE", b"fmt ", 18, WAVE_FORMAT_IEEE_FLOAT, channels,
                       rate, rate * block, block, 32, 0, b"fact", 4, data_bytes // block, b"data", data_bytes)


class WavRecorder:
    """Writes what `push` is given to `path`.

    Threading: `push` from one audio thread (it copies the block and never waits); `close` from any.
    `failure` tells why writing ended early (full disk, 4 GiB reached), or is "".

    Raises:
        LibraryError: the file cannot be made.
    """

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self.path, self.failure = path, ""
        self._rate, self._channels, self._bytes = rate, channels, 0
        self._queue: queue.SimpleQueue[NDArray[np.float32] | None] = queue.SimpleQueue()
        try:
            self._file: IO[bytes] = path.open("wb")
            self._file.write(float_wav_header(rate, channels, 0))
            self._file.flush()
        except OSError as error:
            raise LibraryError(f"cannot record to {str(path)!r} ({error}); "
                               "choose a folder that can be written") from error
        self._thread = threading.Thread(target=self._run, name="wav recorder", daemon=True)
        self._thread.start()

    def push(self, block: NDArray[np.float32]) -> None:
        """Hand over a block `(n, channels)`."""
        if not self.failure:
            self._queue.put(block.copy())

    def close(self) -> None:
        """Write what is left and close. Safe to call twice."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        try:
            while going:
                batch: list[NDArray[np.float32]] = []
                while going and sum(map(len, batch)) < self._rate * BATCH_SECONDS:
                    block = self._queue.get()
                    going = block is not None
                    if block is not None:
                        batch.append(block)
                self._append(batch)
        except OSError as error:
            self.failure = f"recording to {str(self.path)!r} ended ({error})"
        finally:
            self._file.close()

    def _append(self, batch: list[NDArray[np.float32]]) -> None:
        data = b"".join(block.tobytes() for block in batch)
        if self._bytes + len(data) > MAX_DATA_BYTES:
            raise OSError("a WAV file holds at most 4 GiB")
        self._file.seek(0, 2)
        self._file.write(data)
        self._bytes += len(data)
        self._file.seek(0)
        self._file.write(float_wav_header(self._rate, self._channels, self._bytes))
        self._file.flush()
