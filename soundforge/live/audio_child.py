"""One audio process and the pipe to its main thread: started when this is made, ended once.

Threading: belongs to the event loop, where nothing blocks but `end`, which is for a thread.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection

from soundforge.live import spawning
from soundforge.live.audio_process import audio_main
from soundforge.live.audio_protocol import AudioHandles, AudioSetup

log = logging.getLogger(__name__)


class AudioChild:
    """See the module.

    Args:
        setup: the device it opens.
        handles: the shared memory.
        position, clock: the sample clock stood at `position` at `clock` (time.perf_counter seconds).
    """

    def __init__(self, setup: AudioSetup, handles: AudioHandles, position: int, clock: float) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=audio_main, args=(theirs, setup, handles, position, clock),
                                        name="soundforge audio", daemon=True)
        spawning.start(self._process)
        theirs.close()
        self._pipe: Connection | None = ours

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def gone(self) -> bool:
        """It has ended, or does not listen any more."""
        return self._pipe is None or not self._process.is_alive()

    def send(self, message: object) -> None:
        """Tell it something; one that is gone hears nothing, and whoever watches it sees that."""
        if self._pipe is None:
            return
        try:
            self._pipe.send(message)
        except OSError:
            return  # another one is started, and gets all clips

    def messages(self) -> Iterator[object]:
        """Everything it has said by now."""
        while self._pipe is not None:
            try:
                if not self._pipe.poll():
                    return
                message = self._pipe.recv()
            except (EOFError, OSError):
                self._close_pipe()
                return
            yield message

    def end(self, patience: float) -> None:
        """Blocks: wait `patience` seconds for its end, then kill it. Safe to call twice."""
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            if patience:
                log.warning("the audio process did not end within %g s and was killed", patience)
        elif self._process.exitcode:
            log.warning("the audio process ended with exit code %d", self._process.exitcode)
        self._close_pipe()

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
