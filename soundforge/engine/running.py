"""A stream that runs: iterate over it for its chunks, change it or stop it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from soundforge.audio import Samples
from soundforge.engine.generate import Generation
from soundforge.engine.stream import AudioStream
from soundforge.errors import RequestError
from soundforge.interfaces import GeneratedChunk
from soundforge.requests import GenerateRequest


class RunningStream:
    """An iterator of chunks. Not thread-safe: the thread that iterates also changes and stops.

    Args:
        chunks: what is handed on.
        request: what it makes, its seed set.
        generation: what makes it, or None for a model that runs itself and takes no changes.
        audio: what makes sound of it, which knows what lies beyond the end.

    `changes` records what was changed while it ran, with the frame from which it held.
    """

    def __init__(self, chunks: Iterator[GeneratedChunk], request: GenerateRequest,
                 generation: Generation | None, audio: AudioStream | None = None) -> None:
        self.request = request
        self.changes: list[dict[str, Any]] = []
        self._chunks = chunks
        self._generation = generation
        self._audio = audio
        self._stopped = False

    def __iter__(self) -> RunningStream:
        return self

    def __next__(self) -> GeneratedChunk:
        if self._stopped and self._generation is None:
            raise StopIteration
        return next(self._chunks)

    @property
    def beyond(self) -> Samples:
        """At the end: what would have followed the last sample, `[C, n]`, as far as it was made."""
        return np.zeros((1, 0), np.float32) if self._audio is None else self._audio.beyond

    def update(self, **changes: Any) -> None:
        """Change `sampling`, `guidance` or `conditions` from the next step on; see `Generation.update`.

        Raises:
            ConditionError: an unknown condition or a bad value; nothing is changed then.
            RequestError: this model takes no changes while it runs.
        """
        if self._generation is None:
            raise RequestError("this model makes a clip as a whole and takes no changes while it runs; "
                               "change the next request")
        self._generation.update(**changes)
        self.changes.append({"frame": self._generation.done_frames, **changes})

    def stop(self) -> None:
        """End it: what is complete is still handed on."""
        self._stopped = True
        if self._generation is not None:
            self._generation.stop()
