"""A loaded model at work: clips, continuations and streams, from as many threads as one likes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, overload

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.clip_processing import processed, processing_for
from soundforge.engine.cancelling import AnyToken
from soundforge.engine.generate import Progress
from soundforge.engine.keywords import (
    Text,
    build_requests,
    check_alike,
    check_progress,
    fill_request,
    is_single,
    with_tempo,
)
from soundforge.engine.live_prompt import LivePrompt
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.prompt import Prompt, make_prompt
from soundforge.engine.redecode import redecode
from soundforge.engine.render import render
from soundforge.engine.render_other import render_other
from soundforge.engine.running import RunningStream
from soundforge.errors import RequestError
from soundforge.host import PluginHost
from soundforge.loaded_model import LoadedModel, device_of
from soundforge.model_loading import DecoderFinder, Model
from soundforge.model_streams import ModelStreams, refuse_wholes
from soundforge.requests import CancelToken, GenerateRequest


class Engine(LoadedModel):
    """A loaded model. Thread-safe: `generate` and `extend` queue; streams run beside each other.

    A context manager; `close` ends what runs and lets go of the memory. All keywords are in `docs/engine.md`.
    """

    def __init__(self, model: Model, host: PluginHost) -> None:
        super().__init__(model)
        self.host = host
        self._queue = threading.Lock()
        self._closing = CancelToken()
        self._streams = ModelStreams(self._queue, self._closing, self._whole)
        folder = model.parts.folder if isinstance(model, LanguageModelRuntime) else getattr(model, "folder", None)
        codec_name = str(getattr(model.codec, "name", ""))
        self._find_decoder = DecoderFinder(host, model.codec, codec_name, folder, str(device_of(model)))

    # --- making clips ---------------------------------------------------------------------------------------

    @overload
    def generate(self, text: str | None = None, *, progress: Progress | None = None,
                 cancel: CancelToken | None = None, **keywords: Any) -> Clip: ...

    @overload
    def generate(self, text: Sequence[str | None], *, progress: Progress | None = None,
                 cancel: CancelToken | None = None, **keywords: Any) -> list[Clip]: ...

    def generate(self, text: Text = None, *, progress: Progress | None = None, cancel: CancelToken | None = None,
                 **keywords: Any) -> Clip | list[Clip]:
        """A clip from a text, or a list of clips from a list of texts (one batch, as the reference computes it).

        Args:
            text: description; None or "" = unconditional.
            progress: called with (frames done, frames wanted), also when nothing is printed.
            cancel: ends it within one step.
            **keywords: `seconds` or `bars` with `bpm` (and `loop`), `seed`, `temperature`, `top_k`, `top_p`, `cfg`,
                `cfg_beta`, `two_step_cfg`, `conditions`, `condition_options`, `guidance`, `window_seconds`,
                `stride_seconds`, `level_hold`, `decoder`, `processors`, `noise`, ...: the fields of `GenerateRequest`
                and `SamplingParams`.

        Raises:
            RequestError, ConditionError: what was asked for cannot be.
            CancelledError: `cancel` was set.
        """
        requests = build_requests(text, keywords, self.defaults)
        clips = self.run(requests, None, progress, cancel)
        return clips[0] if is_single(text, requests) else clips

    @overload
    def extend(self, prompt: Any, text: str | None = None, *, progress: Progress | None = None,
               cancel: CancelToken | None = None, **keywords: Any) -> Clip: ...

    @overload
    def extend(self, prompt: Any, text: Sequence[str | None], *, progress: Progress | None = None,
               cancel: CancelToken | None = None, **keywords: Any) -> list[Clip]: ...

    def extend(self, prompt: Any, text: Text = None, *, progress: Progress | None = None,
               cancel: CancelToken | None = None, **keywords: Any) -> Clip | list[Clip]:
        """Continue a Clip, a Take, a Waveform, or codes `[K, T]` (or `[B, K, T]`: a batch).

        Args:
            prompt: cut at its START to whole frames; one that exceeds the window keeps its end, with a warning.
            text, progress, cancel: as of `generate`.
            **keywords: those of `generate`; `bpm` is the prompt's where that is known; `seconds` is the length of the
                NEW audio. `only_new=True` leaves the prompt out. `splice=True` keeps the prompt's own samples and
                crossfades over `crossfade_ms` (at its level); otherwise everything is decoded afresh, as the
                references do.

        Raises:
            AudioError: a prompt that is too short or no audio.
            RequestError, ConditionError, CancelledError: as of `generate`.
        """
        made = self.make_prompt(prompt)
        batch = made.codes.shape[0]
        requests = build_requests(text, with_tempo(keywords, made.bpm), self.defaults, batch if batch > 1 else None)
        clips = self.run(requests, made, progress, cancel)
        return clips[0] if batch == 1 and is_single(text, requests) else clips

    def run(self, requests: Sequence[GenerateRequest], prompt: Prompt | None = None, progress: Progress | None = None,
            cancel: CancelToken | None = None) -> list[Clip]:
        """Run requests as one batch; they may differ in text, conditions and seed only. Blocks while others run.

        Raises:
            RequestError: they differ in more.
        """
        check_progress(progress)
        requests = [fill_request(request) for request in requests]
        check_alike(requests)
        steps = processing_for(self.host, requests[0])
        token = AnyToken(cancel, self._closing)
        with self._queue:
            token.raise_if_cancelled()
            model = self.model
            if isinstance(model, LanguageModelRuntime):
                clips = render(model, requests, prompt=prompt, cancel=token, progress=progress,
                               find_decoder=self._find_decoder)
            else:
                clips = render_other(model, requests, prompt=prompt, cancel=token, progress=progress,
                                     find_decoder=self._find_decoder)
            return [processed(clip, steps) for clip in clips]

    def finisher(self, request: GenerateRequest) -> Callable[[Clip], Clip]:
        """What `run` does with a clip at the end, for one that was streamed: the request's clip processors.

        Raises:
            RequestError, PluginError: a processor that cannot be.
        """
        steps = processing_for(self.host, request)
        return lambda clip: processed(clip, steps)

    def redecode(self, clip: Clip, decoder: str | None = None, *, seed: int | None = None, noise: Any = None,
                 options: Mapping[str, Any] | None = None, progress: Progress | None = None,
                 cancel: CancelToken | None = None) -> Clip:
        """A clip of this model with its codes decoded anew (and what its request's processors make of that).

        Args:
            clip: with codes.
            decoder: a registered decoder such as "mbd"; None = the codec's own.
            seed: of the decoder's noise; None = the clip's.
            noise, options: the decoder's own, as `noise` and `decoder_options` of `generate`.

        Raises:
            AudioError: the clip carries no codes, or another codec's.
            RequestError: an unknown decoder, or options that it does not take.
            CancelledError: `cancel` was set.
        """
        token = AnyToken(cancel, self._closing)
        with self._queue:
            token.raise_if_cancelled()
            made = redecode(self.model.codec, clip, decoder, self._find_decoder, seed=seed, cancel=token,
                            progress=progress, noise=noise, options=options)
            return processed(made, processing_for(self.host, made.request))

    def make_prompt(self, value: Any) -> Prompt:
        """A Clip, Waveform or codes as a prompt of this model; raises AudioError."""
        model = self.model
        if isinstance(model, LanguageModelRuntime):
            return make_prompt(value, model.codec, model.n_codebooks, model.name)
        if not model.continues:
            raise RequestError(f"a prompt came, but {model.name!r} cannot continue audio; use generate, "
                               "or a model that can")
        return make_prompt(value, model.codec, model.codec.n_codebooks, model.name)

    # --- streaming ------------------------------------------------------------------------------------------

    def stream(self, text: str | None = None, *, prompt: Any = None, progress: Progress | None = None,
               cancel: CancelToken | None = None, **keywords: Any) -> Iterator[Waveform]:
        """Waveform chunks while it generates, the first after a few frames.

        Put together they are what `generate` gives for the same seed (with `prompt`: what `extend` gives with
        `only_new=True`). Leaving the loop ends the generation. Keywords as of `generate`.
        """
        made = None if prompt is None else self.make_prompt(prompt)
        requests = build_requests(text, with_tempo(keywords, None if made is None else made.bpm), self.defaults)
        if len(requests) > 1:
            raise RequestError(f"stream came with {len(requests)} texts, expected one; generate takes a list")
        request = requests[0]
        refuse_wholes(request)
        chunks = self.stream_request(request, made, progress, cancel)
        rate = self.sample_rate
        return (Waveform(chunk.samples, rate) for chunk in chunks if chunk.samples.shape[-1])

    def stream_request(self, request: GenerateRequest, prompt: Prompt | None = None, progress: Progress | None = None,
                       cancel: CancelToken | None = None, *, endless: bool = False) -> RunningStream:
        """The same for a request, with the codes beside the samples; checked now, run while iterated over.

        What comes back can be changed and stopped while it runs. With `endless` it goes on until it is stopped. With a
        decoder of its own it is one chunk, when all is done.
        """
        check_progress(progress)
        return self._streams.begin(self.model, fill_request(request), prompt, progress, cancel, endless)

    def open_prompt(self, text: str | None = None, **keywords: Any) -> LivePrompt:
        """A prompt that is fed while it is captured and continued many times; see `LivePrompt`. Keywords as of
        `generate`; they are what continuations start from.

        Raises:
            RequestError: this model cannot continue audio.
        """
        model = self.model
        if not isinstance(model, LanguageModelRuntime):
            raise RequestError(f"{model.name!r} is no model that can follow a capture; load a decoder language model")
        return LivePrompt(model, build_requests(text, keywords, self.defaults)[0])

    def _whole(self, request: GenerateRequest, prompt: Prompt | None, progress: Progress | None,
               cancel: CancelToken | None) -> Clip:
        return self.run([request], prompt, progress, cancel)[0]

    # --- end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End what runs (its callers get CancelledError) and let go of the model; safe to call twice."""
        self._closing.cancel()
        with self._queue:
            self._model = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
