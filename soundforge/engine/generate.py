"""A generation that runs: windows one after the other, frames handed out as they become complete.

Beyond the window this is AudioCraft's algorithm to the last token: each window starts again at position 0 with the
end of the one before it as prompt; it advances by a stride; the last one is as short as what is missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.engine.model import LanguageModelRuntime, start_beat
from soundforge.engine.prepared_conditions import PreparedConditions
from soundforge.engine.sampling import UniformStream
from soundforge.engine.window import Window
from soundforge.errors import RequestError
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams, TempoChange

Progress = Callable[[int, int], None]
SAME_TEMPO = 0.01


class Generation:
    """One batch being generated. Not thread-safe: one thread steps it.

    Args:
        runtime: the model.
        requests: one per item, all with the same sampling, length, window, guidance; seeds are set.
        prompt: codes int64 `[B, K, P]` or None.
        new_frames: frames to make after the prompt; None = endless (`stop` ends it).
        cancel: looked at once per step.
        progress: called with (new frames done, new frames wanted, 0 when endless) when frames become complete.
        prompt_audio: for conditioners that listen.
        prefilled: a window that has run the prompt already, to be forked instead of prefilling again.
        on_shift: given the prompt codes of a later window and the new frames so far, may replace them (level hold).

    Raises:
        RequestError: nothing to generate.
        ConditionError: see the conditions.
    """

    def __init__(self, runtime: LanguageModelRuntime, requests: Sequence[GenerateRequest], *,
                 prompt: Tensor | None, new_frames: int | None, cancel: CancelToken | None = None,
                 progress: Progress | None = None, prompt_audio: Waveform | None = None,
                 prefilled: Window | None = None, on_shift: Callable[[Tensor, int], Tensor] | None = None) -> None:
        if new_frames is not None and new_frames < 1:
            rate = runtime.codec.frame_rate_hz
            raise RequestError(f"{requests[0].new_seconds:g} s were asked for, expected at least one frame of "
                               f"{1 / rate:g} s")
        self.runtime = runtime
        self.requests = list(requests)
        self.new_frames = new_frames
        self.cancel = cancel or CancelToken()
        self._progress = progress
        self._prompt_audio = prompt_audio
        self._on_shift = on_shift
        self._values = [runtime.conditions.collect(request) for request in requests]
        self._sampling = requests[0].sampling
        self._weights = dict(requests[0].guidance)
        self._window_seconds, self._window_frames, self._stride = runtime.window_and_stride(requests[0])
        self._streams = [UniformStream(request.seed or 0, runtime.n_codebooks) for request in requests]
        if prompt is None:
            prompt = torch.zeros(len(requests), runtime.n_codebooks, 0, dtype=torch.long, device=runtime.device)
        prompt = self._cut(prompt.to(runtime.device))
        self._prompt_codes = prompt
        # Rounded: a prompt's length plus the new one is to be the decimal number that a user would write.
        self._duration = round(requests[0].new_seconds + prompt.shape[-1] / runtime.codec.frame_rate_hz, 9)
        self._offset = 0  # of the current window, in frames after the start of the (cut) prompt
        self._prompt_frames = prompt.shape[-1]
        self.done_frames = 0
        self._stopped = False
        self._own_conditions = prefilled is None  # else those of the capture, which knew nothing of this request
        self._window = self._open(prompt, prefilled)
        self._handed_out = self._prompt_frames  # frames of the current window

    def _cut(self, prompt: Tensor) -> Tensor:
        """Keep the end of a prompt that leaves no room in the window."""
        length = prompt.shape[-1]
        if length < self._window_frames:
            return prompt
        keep = self._window_frames - self._stride
        rate = self.runtime.codec.frame_rate_hz
        warnings.warn(f"the prompt has {length / rate:g} s, but the window of {self.runtime.name!r} holds "
                      f"{self._window_frames / rate:g} s; its last {keep / rate:g} s are continued", stacklevel=4)
        return prompt[:, :, length - keep:]

    @property
    def _total(self) -> int | None:
        """Frames from the start of the (cut) prompt to the end, None when endless."""
        return None if self.new_frames is None else self._prompt_frames + self.new_frames

    @property
    def window(self) -> Window:
        """The current window."""
        return self._window

    @property
    def done(self) -> bool:
        return self._stopped or (self.new_frames is not None and self.done_frames >= self.new_frames)

    def stop(self) -> None:
        """End after the frames that are complete (an endless generation, or any)."""
        self._stopped = True

    # --- running --------------------------------------------------------------------------------------------

    def step(self) -> Tensor:
        """One step of the network; frames that became complete, `[B, K, n]` (n is 0 or more).

        Raises:
            CancelledError: `cancel` was set.
        """
        self.cancel.raise_if_cancelled()
        if self._window.done and not self.done:
            self._shift()
        self._window.step()
        complete = self._window.complete_frames
        codes = self._window.codes(self._handed_out, complete)
        self._handed_out = complete
        self.done_frames += codes.shape[-1]
        if codes.shape[-1] and self._progress is not None:
            self._progress(self.done_frames, self.new_frames or 0)
        return codes

    def run(self) -> Tensor:
        """All that is still to come, `[B, K, n]`."""
        pieces = []
        while not self.done:
            pieces.append(self.step())
        if not pieces:
            return torch.zeros(len(self.requests), self.runtime.n_codebooks, 0, dtype=torch.long)
        return torch.cat(pieces, dim=-1)

    # --- windows --------------------------------------------------------------------------------------------

    def _frames_of_window(self, prompt_frames: int) -> int:
        total = self._total
        if total is None:
            return self._window_frames
        exact = min(total - self._offset, self._window_frames)
        if total <= self._window_frames:
            return exact
        # The reference measures the last window in seconds, and the float's rounding may make it a frame shorter
        # (5.0 - 3.2 s at 50 Hz are 89 frames) and then adds another window. That changes tokens, so it is kept,
        # except where the reference fails or ends a frame early: no new frame, or no prompt for that other window.
        rate = self.runtime.codec.frame_rate_hz
        rounded = int(min(self._duration - self._offset / rate, self._window_seconds) * rate)
        return rounded if max(prompt_frames, self._stride) < rounded <= exact else exact

    def _open(self, prompt: Tensor, prefilled: Window | None = None) -> Window:
        n_frames = self._frames_of_window(prompt.shape[-1])
        with self.runtime.lock:
            if prefilled is not None:
                return prefilled.fork(n_frames, self._streams, self._sampling, self._weights)
            return Window(self.runtime.decoder, self._prepare(n_frames, prompt.shape[-1]), self._sampling,
                          self._weights, prompt, n_frames, self._streams)

    def _prepare(self, n_frames: int, prompt_frames: int, previous: PreparedConditions | None = None,
                 changed: Collection[str] | None = None) -> PreparedConditions:
        rate = self.runtime.codec.frame_rate_hz
        total = self._total
        long = total is None or total > self._window_frames
        new_before = self._offset + prompt_frames - self._prompt_frames
        return self.runtime.prepare(self._values, self.requests, n_frames=n_frames, prompt_frames=prompt_frames,
                                    first_new_seconds=new_before / rate, prompt=self._prompt_audio,
                                    window_start_frames=self._offset if long else None,
                                    window_seconds=self._window_seconds,
                                    new_start_frames=self._prompt_frames - self._offset, previous=previous,
                                    changed=changed, prompt_codes=self._prompt_codes)

    def _shift(self) -> None:
        """The next window: its prompt is the end of the last one."""
        old = self._window
        prompt = old.codes(self._stride, old.n_frames)
        if self._on_shift is not None:
            prompt = self._on_shift(prompt, self.done_frames)
        self._offset += self._stride
        # The old state is let go before the new one is made: they are the largest things there are.
        previous = old.conditions
        del old
        del self._window
        n_frames = self._frames_of_window(prompt.shape[-1])
        with self.runtime.lock:
            conditions = self._prepare(n_frames, prompt.shape[-1], previous)
            self._window = Window(self.runtime.decoder, conditions, self._sampling, self._weights, prompt, n_frames,
                                  self._streams)
        self._own_conditions = True
        self._handed_out = prompt.shape[-1]

    # --- changes while it runs ------------------------------------------------------------------------------

    def update(self, *, sampling: SamplingParams | None = None, guidance: Mapping[str, float] | None = None,
               conditions: Mapping[str, Any] | None = None, tempo: TempoChange | None = None) -> None:
        """Change parameters or conditions from the next step on (see `Window.update` for how each enters).

        Args:
            sampling: replaces all sampling parameters.
            guidance: replaces all weights.
            conditions: by name; a name with None or "" is cleared, names not given stay.
            tempo: what follows the beat (features per frame, conditioners that need no value) is laid out anew, from
                `start_beat` and `bpm` of its context; a generation of another tempo, or of none, stays as it is.

        Raises:
            ConditionError: an unknown condition or a bad value; nothing is changed then.
        """
        prepared, previous = None, (self._values, self.requests)
        anew = set(conditions or ())
        if tempo is not None and (retimed := self._retimed(tempo)) is not None:
            self.requests = retimed
            anew |= self._window.conditions.follows_the_beat
        if conditions is not None:
            values = [dict(item) for item in self._values]
            for item in values:
                for name, value in conditions.items():
                    if value is None or value == "":
                        item.pop(name, None)
                    else:
                        item[name] = value
            self._values = values
        try:
            with self.runtime.lock:
                if conditions is not None or anew:
                    old = self._window.conditions if self._own_conditions else None
                    prepared = self._prepare(self._window.n_frames, self._window.prompt_frames, old, anew)
                    self._own_conditions = True
                self._window.update(sampling=sampling, weights=guidance, conditions=prepared)
        except Exception:
            self._values, self.requests = previous
            raise
        self._sampling = sampling or self._sampling
        self._weights = self._weights if guidance is None else dict(guidance)
        self.requests = [replace(r, sampling=self._sampling, guidance=self._weights) for r in self.requests]

    def _retimed(self, tempo: TempoChange) -> list[GenerateRequest] | None:
        """The requests at another tempo, on the beat that was reached where the change is heard; None = they stay."""
        old = self.requests[0].bpm
        if old is None or old == tempo.bpm or abs(old / tempo.before - 1.0) > SAME_TEMPO:
            return None
        heard = max(0.0, self.done_frames / self.runtime.codec.frame_rate_hz - tempo.ahead_seconds)
        first = start_beat(self.requests[0], self._prompt_audio, 0.0) or 0.0
        tags = {"start_beat": first + heard * (old - tempo.bpm) / 60.0}
        return [replace(request, bpm=tempo.bpm, tags={**request.tags, **tags}) for request in self.requests]
