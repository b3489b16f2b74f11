"""The prompts that the engine holds: opened, fed while they are captured, continued by jobs.

Threading: belongs to the thread that owns the model. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from soundforge.audio import Samples, mix_channels
from soundforge.errors import JobError
from soundforge.live.engine_failures import one_line
from soundforge.live.engine_protocol import EndPrompt, FeedPrompt, OpenPrompt, PromptFailed
from soundforge.live.live_model import LiveModel, OpenedPrompt
from soundforge.live.stream_feeder import StreamingResampler

MAX_PROMPTS = 8


class Prompt:
    """A prompt with the resampler in front of it."""

    def __init__(self, opened: OpenedPrompt, model: LiveModel, rate: int) -> None:
        self.opened, self._model, self._rate = opened, model, rate
        self._resampler: StreamingResampler | None = None

    def feed(self, samples: Samples, last: bool = False) -> None:
        """Take `(n, channels)` at the capture's rate."""
        wave = mix_channels(samples.T, self._model.channels)
        if self._resampler is None:
            self._resampler = StreamingResampler(self._rate, self._model.sample_rate, self._model.channels)
        self.opened.feed(self._resampler.push(wave, last))


class PromptShelf:
    """The last few prompts, by their ids.

    Args:
        serving: gives the model that serves, or raises JobError.
        emit: takes events.
    """

    def __init__(self, serving: Callable[[], LiveModel], emit: Callable[[object], None]) -> None:
        self._serving, self._emit = serving, emit
        self._prompts: dict[str, Prompt] = {}

    def find(self, prompt: str) -> Prompt:
        """Raises JobError."""
        if prompt not in self._prompts:
            raise JobError(f"the engine does not hold the prompt {prompt!r} any more; ask again")
        return self._prompts[prompt]

    def drop(self, prompt: str) -> None:
        """Let go of one; does nothing when it is not held."""
        self._prompts.pop(prompt, None)

    def clear(self) -> None:
        """Let go of all: another model has other states."""
        self._prompts.clear()

    def handle(self, message: OpenPrompt | FeedPrompt | EndPrompt) -> None:
        """Open, feed or complete one; what goes wrong is told as `PromptFailed`, and the prompt is gone."""
        try:
            if isinstance(message, OpenPrompt):
                model = self._serving()
                while len(self._prompts) >= MAX_PROMPTS:
                    self._prompts.pop(next(iter(self._prompts)))
                self._prompts[message.prompt] = Prompt(model.open_prompt(message.request), model, message.rate)
            elif message.prompt in self._prompts:
                prompt = self._prompts[message.prompt]
                if isinstance(message, FeedPrompt):
                    prompt.feed(message.samples)
                else:
                    prompt.feed(np.zeros((0, 1), np.float32), last=True)
        except Exception as error:
            self._prompts.pop(message.prompt, None)
            self._emit(PromptFailed(message.prompt, one_line(error)))
