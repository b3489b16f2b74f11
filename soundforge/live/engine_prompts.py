"""The prompts that the engine holds: opened, fed while they are captured, continued by jobs.

Threading: belongs to the thread that owns the model. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from soundforge.audio import Samples, mix_channels
from soundforge.errors import JobError
from soundforge.live.engine_failures import PromptGoneError, one_line
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
        self._held: dict[str, Prompt] = {}
        self._failed: dict[str, str] = {}

    def hold(self, job: str, prompt: str) -> None:
        """Keep a prompt for a job that waits, also when it is dropped meanwhile."""
        if prompt in self._prompts:
            self._held[job] = self._prompts[prompt]

    def let_go(self, job: str) -> Prompt | None:
        """A job begins with what was kept for it, or is over."""
        return self._held.pop(job, None)

    def held(self, job: str, prompt: str) -> Prompt:
        """What was kept for a job that begins. Raises JobError: why it failed. PromptGoneError: it is not there."""
        found = self.let_go(job)
        if found is None and prompt in self._failed:
            raise JobError(self._failed[prompt])
        if found is None:
            raise PromptGoneError(f"the engine does not hold the prompt {prompt!r} any more; ask again")
        return found

    def drop(self, prompt: str) -> None:
        """Let go of one; does nothing when it is not held."""
        self._prompts.pop(prompt, None)

    def clear(self) -> None:
        """Let go of all: another model has other states."""
        for shelf in (self._prompts, self._held, self._failed):
            shelf.clear()

    def handle(self, message: OpenPrompt | FeedPrompt | EndPrompt) -> None:
        """Open, feed or complete one; what goes wrong is told as `PromptFailed`, and the prompt is gone."""
        try:
            if isinstance(message, OpenPrompt):
                self._failed.pop(message.prompt, None)
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
            lost = self._prompts.pop(message.prompt, None)
            self._held = {job: prompt for job, prompt in self._held.items() if prompt is not lost}
            self._failed[message.prompt] = one_line(error)
            while len(self._failed) > MAX_PROMPTS:
                self._failed.pop(next(iter(self._failed)))
            self._emit(PromptFailed(message.prompt, one_line(error)))
