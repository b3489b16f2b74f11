"""The engine process: loads models through the Python door and serves the engine worker. The only live module that
knows torch and the engine room.

It is a process of its own so that the audio process never shares an interpreter with torch, and so that running out
of memory or a crash in here costs a job and not the sound.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundforge.clip import Clip
from soundforge.errors import RequestError
from soundforge.live.engine_protocol import EngineSetup, QuitEngine
from soundforge.live.engine_worker import EngineWorker
from soundforge.live.live_model import Continuation, LiveChunk, LiveModel, OpenedPrompt
from soundforge.live.priority import lower_process
from soundforge.requests import CancelToken, GenerateRequest

if TYPE_CHECKING:
    from soundforge.api import Engine
    from soundforge.host import PluginHost

WARM_SECONDS = 0.2
QUIT_SECONDS = 0.5


def engine_main(pipe: Connection, setup: EngineSetup) -> None:
    """Entry of the process. It ends when it is told to, and at once when the control process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the control process's to handle
    lower_process()
    lock = threading.Lock()

    def emit(event: object) -> None:
        try:
            with lock:
                pipe.send(event)
        except OSError:
            os._exit(0)  # nobody listens any more

    worker = EngineWorker(setup, emit)
    ended = threading.Event()

    def read() -> None:
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                os._exit(0)
            except BaseException as error:  # no memory to take it in: who waits for an answer gets one from the client
                print(f"the engine cannot read a message ({error!r})", file=sys.stderr, flush=True)
                os._exit(1)
            worker.post(message)
            if isinstance(message, QuitEngine):
                ended.wait(QUIT_SECONDS)
                os._exit(0)  # it was loading a model, or deep in a step: nobody waits for either any more

    threading.Thread(target=read, name="engine inbox", daemon=True).start()
    worker.run()
    ended.set()
    pipe.close()
    os._exit(0)  # the ordinary way takes an interpreter with torch in it a second or two, and gives nothing back


def choose_threads(wanted: int | None) -> int:
    """Threads for torch: as asked, else all cores but one, which the audio and control processes share."""
    return wanted or max(1, (os.cpu_count() or 2) - 1)


def load_model(setup: EngineSetup, name: str) -> LiveModel:
    """The default factory: `soundforge.load`, warmed up.

    Raises:
        CheckpointError, PluginError, NotCachedError, SettingsError: as of `soundforge.load`.
    """
    import torch

    from soundforge.api import load

    torch.set_num_threads(choose_threads(setup.threads))
    engine = load(name, setup.device, setup.quantize, codec_precision=setup.codec_precision,
                  host=_host(setup.plugins_dir, setup.no_plugin, setup.plugin_seconds))
    model = EngineModel(engine)
    model.warm_up()
    return model


@functools.cache
def _host(plugins_dir: str | None, no_plugin: tuple[str, ...], seconds: float | None) -> PluginHost:
    """One host for all models of the process, so that parts which several of them share are loaded once."""
    from soundforge.host import create_host

    return create_host(disabled=no_plugin, plugins_dir=Path(plugins_dir) if plugins_dir else None,
                       call_seconds=seconds)


class EngineModel:
    """An `Engine` as the worker drives it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self.sample_rate = engine.sample_rate
        self.channels = engine.channels
        self.slots = tuple(slot.name for slot in engine.slots)
        self.defaults: Mapping[str, Any] = dict(engine.defaults)

    def warm_up(self) -> None:
        """Run every path once: the first call of anything in torch is slow, and somebody waits for a first sound."""
        from soundforge.engine.model import LanguageModelRuntime

        request = GenerateRequest(seconds=WARM_SECONDS, seed=0,
                                  options=getattr(self._engine.model, "warm_up_options", {}))
        for _ in self.generate(request, endless=False, cancel=CancelToken()):
            pass
        if isinstance(self._engine.model, LanguageModelRuntime):
            prompt = self.open_prompt(request)
            noise = np.random.default_rng(0).uniform(-0.1, 0.1, (self.channels, self.sample_rate)).astype(np.float32)
            prompt.feed(noise)
            for _ in prompt.continue_(request, endless=False, lead_samples=0, cancel=CancelToken()):
                pass

    def open_prompt(self, request: GenerateRequest) -> OpenedPrompt:
        """A prompt that the codec and the network follow while it is captured."""
        from soundforge.engine.live_prompt import LivePrompt
        from soundforge.engine.model import LanguageModelRuntime

        model = self._engine.model
        if isinstance(model, LanguageModelRuntime):
            return LivePrompt(model, request)
        return WholePrompt(self._engine)

    def generate(self, request: GenerateRequest, *, endless: bool, cancel: CancelToken) -> Continuation:
        """New audio from nothing but the request."""
        return RequestStream(self._engine, request, None, cancel, endless=endless)

    def finisher(self, request: GenerateRequest) -> Callable[[Clip], Clip]:
        """The request's clip processors."""
        return self._engine.finisher(request)

    def close(self) -> None:
        self._engine.close()


class RequestStream:
    """`Engine.stream_request` as a continuation."""

    def __init__(self, engine: Engine, request: GenerateRequest, prompt: Any, cancel: CancelToken, *,
                 endless: bool = False) -> None:
        from soundforge.engine.model import LanguageModelRuntime

        self.request, self.lead_samples = request, 0
        self._changes_while_it_runs = isinstance(engine.model, LanguageModelRuntime)
        self._stream = engine.stream_request(request, prompt, None, cancel, endless=endless)

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What was changed while it ran, with the frame from which it held."""
        return self._stream.changes

    @property
    def beyond(self) -> Any:
        """At the end: what would have followed, `[C, n]`."""
        return self._stream.beyond

    def __iter__(self) -> Iterator[LiveChunk]:
        return self._stream

    def update(self, **changes: Any) -> None:
        """Change it from its next step on; a model that makes a clip as a whole keeps what it was asked for."""
        if self._changes_while_it_runs:
            self._stream.update(**changes)

    def stop(self) -> None:
        self._stream.stop()


class WholePrompt:
    """A prompt for models that take it in one piece when the continuation begins."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pieces: list[Any] = []
        self.n_samples = 0

    def feed(self, samples: Any) -> int:
        """Keep the samples `[C, n]`."""
        self._pieces.append(samples)
        self.n_samples += samples.shape[1]
        return self.n_samples

    def continue_(self, request: GenerateRequest, *, endless: bool, lead_samples: int,
                  cancel: CancelToken) -> Continuation:
        """Continue what was fed; raises AudioError for nothing, RequestError where the model cannot."""
        from soundforge.audio import Waveform

        if endless:
            raise RequestError(f"{self._engine.name!r} cannot go on endlessly; give bars_out")
        wave = Waveform(np.concatenate(self._pieces, axis=1), self._engine.sample_rate)
        return RequestStream(self._engine, replace(request, only_new=True), self._engine.make_prompt(wave), cancel)
