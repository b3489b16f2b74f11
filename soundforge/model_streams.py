"""A request as a stream: chunks while the model generates, or one chunk where only a whole can be made.

Threading: streams of language models run beside each other on their readers' threads; models that make clips as a whole
wait for each other, and for `Engine.run`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from soundforge.clip import Clip
from soundforge.engine.cancelling import AnyToken
from soundforge.engine.generate import Generation, Progress
from soundforge.engine.level_hold import LevelHold
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.prompt import Prompt
from soundforge.engine.render import check_no_options, new_length
from soundforge.engine.render_other import stream_new
from soundforge.engine.running import RunningStream
from soundforge.engine.stream import AudioStream, primed_stream, stream_generation
from soundforge.errors import RequestError
from soundforge.interfaces import GeneratedChunk
from soundforge.model_loading import Model
from soundforge.requests import CancelToken, GenerateRequest

Whole = Callable[[GenerateRequest, Prompt | None, Progress | None, CancelToken | None], Clip]


def refuse_wholes(request: GenerateRequest) -> None:
    """Raises RequestError for a request with parts that only a whole clip can go through."""
    if request.decoder is not None:
        raise RequestError(f"decoder came as {request.decoder!r} for a stream, but a decoder of its own needs the "
                           "whole; use generate")
    if request.loop:
        raise RequestError("loop came for a stream, but the beginning of a loop depends on its end; use generate")
    if request.processors:
        raise RequestError(f"processors came for a stream ({request.processors[0][0]!r}, ...), but they need the "
                           "whole clip; use generate")


class ModelStreams:
    """See the module.

    Args:
        queue: held while a whole is made.
        closing: ends every stream.
        whole: makes a clip as a whole, for requests with a decoder of their own.
    """

    def __init__(self, queue: threading.Lock, closing: CancelToken, whole: Whole) -> None:
        self._queue, self._closing, self._whole = queue, closing, whole

    def begin(self, model: Model, request: GenerateRequest, prompt: Prompt | None, progress: Progress | None,
              cancel: CancelToken | None, endless: bool) -> RunningStream:
        """A stream that runs while it is iterated over; the request is complete (`fill_request`).

        Raises:
            RequestError, ConditionError: what was asked for cannot be.
        """
        if request.decoder is not None and not endless:
            return RunningStream(self._stream_whole(request, prompt, progress, cancel), request, None)
        token = AnyToken(cancel, self._closing)
        if isinstance(model, LanguageModelRuntime):
            return _stream_language(model, request, prompt, progress, token, endless)
        if endless:
            raise RequestError(f"{model.name!r} makes clips as a whole and cannot go on endlessly; give a length")
        return RunningStream(self._stream_other(model, request, prompt, progress, token), request, None)

    def _stream_other(self, model: Any, request: GenerateRequest, prompt: Prompt | None, progress: Progress | None,
                      token: CancelToken) -> Iterator[GeneratedChunk]:
        with self._queue:
            yield from stream_new(model, request, prompt, token, progress)

    def _stream_whole(self, request: GenerateRequest, prompt: Prompt | None, progress: Progress | None,
                      cancel: CancelToken | None) -> Iterator[GeneratedChunk]:
        # Clip processors are for whoever puts the stream together, see `Engine.finisher`.
        clip = self._whole(replace(request, processors=(), only_new=True), prompt, progress, cancel)
        yield GeneratedChunk(clip.waveform, clip.codes)


def _stream_language(model: LanguageModelRuntime, request: GenerateRequest, prompt: Prompt | None,
                     progress: Progress | None, token: CancelToken, endless: bool) -> RunningStream:
    check_no_options(request, model.name)
    length = new_length(request, model.codec)
    level = LevelHold(model.codec) if request.level_hold else None
    codes = None if prompt is None else prompt.codes[:1]
    generation = Generation(model, [request], prompt=codes, new_frames=None if endless else length.frames,
                            cancel=token, progress=progress, prompt_audio=None if prompt is None else prompt.audio,
                            on_shift=None if level is None else level.on_shift)
    stream, skip = primed_stream(model.codec, codes, 1)
    audio = AudioStream(stream, skip)
    pieces = stream_generation(generation, audio, level=level,
                               n_samples=None if endless else length.samples)
    return RunningStream((chunks[0] for chunks in pieces), request, generation, audio)
