"""What a model must be able to do to be driven by the engine worker, from one thread. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from soundforge.audio import Samples
from soundforge.cancel_token import CancelToken
from soundforge.clip import Clip
from soundforge.requests import GenerateRequest


class LiveChunk(Protocol):
    """Samples `[C, n]` float32 at the model's rate, and codes `[K, m]` int64 or None."""

    @property
    def samples(self) -> Any: ...
    @property
    def codes(self) -> Any: ...


class Continuation(Protocol):
    """A generation that runs while it is iterated over. The first `lead_samples` repeat the prompt's end."""

    request: GenerateRequest
    lead_samples: int

    def __iter__(self) -> Iterator[LiveChunk]: ...
    def update(self, **changes: Any) -> None: ...
    def stop(self) -> None: ...


class OpenedPrompt(Protocol):
    """A prompt that grows and can be continued many times."""

    n_samples: int

    def feed(self, samples: Samples) -> int: ...
    def continue_(self, request: GenerateRequest, *, endless: bool, lead_samples: int,
                  cancel: CancelToken) -> Continuation: ...


class LiveModel(Protocol):
    """A loaded model."""

    name: str
    sample_rate: int
    channels: int
    slots: tuple[str, ...]
    defaults: Mapping[str, Any]

    def open_prompt(self, request: GenerateRequest) -> OpenedPrompt: ...
    def generate(self, request: GenerateRequest, *, endless: bool, cancel: CancelToken) -> Continuation: ...
    def finisher(self, request: GenerateRequest) -> Callable[[Clip], Clip]: ...
    def close(self) -> None: ...
