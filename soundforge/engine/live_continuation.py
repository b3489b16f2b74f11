"""A continuation of a capture while it runs, and what it needs to know of the capture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from soundforge.audio import Samples, Waveform
from soundforge.engine.generate import Generation, Progress
from soundforge.engine.level_hold import LevelHold
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.render import new_length
from soundforge.engine.splice_match import COMPARED_SECONDS, SpliceMatch
from soundforge.engine.stream import AudioStream, stream_generation
from soundforge.engine.window import Window
from soundforge.interfaces import CodecStream, GeneratedChunk
from soundforge.requests import CancelToken, GenerateRequest

TAIL_SECONDS = COMPARED_SECONDS + 0.1
"""How much of a capture's end is kept as sound, own and decoded, for level, colour and crossfade."""
MOST_LEAD_SECONDS = 0.5


@dataclass(frozen=True)
class PromptSnapshot:
    """A capture at the moment when it is continued.

    Args:
        runtime: the model.
        request: what the capture was opened with.
        window: has run the capture, or its end; it is forked, not changed.
        codes: all known frames, `[1, K, n]`.
        first_frame: the window's, in frames of the capture.
        n_samples: captured, at the model's rate.
        stream: of the codec, own copy, which has decoded all known frames.
        own, decoded: the last samples of the capture, and of what the codec made of it, `[C, n]`.
        decoded_samples: how many came out of the codec in all.
        heard: the capture's own sound of the window's known frames.
    """

    runtime: LanguageModelRuntime
    request: GenerateRequest
    window: Window
    codes: Tensor
    first_frame: int
    n_samples: int
    stream: CodecStream
    own: Samples
    decoded: Samples
    decoded_samples: int
    heard: Waveform

    @property
    def n_frames(self) -> int:
        return self.codes.shape[-1]

    def decoded_from(self, start: int) -> Samples:
        """The capture as the codec gives it back, from sample `start` of the capture to what is decoded by now."""
        n = min(self.decoded_samples - start, self.decoded.shape[1])
        return self.decoded[:, self.decoded.shape[1] - n:] if n > 0 else self.decoded[:, :0]

    def splice_match(self) -> SpliceMatch:
        """What brings the codec's sound to the capture's own, from the end of both."""
        behind = self.n_samples - self.decoded_samples  # samples of the capture that are not decoded yet
        own = self.own[:, :self.own.shape[1] - behind] if behind else self.own
        return SpliceMatch.of(own, self.decoded, self.runtime.codec.sample_rate)


class LiveContinuation:
    """A continuation that runs; iterate over it for its sound. Not thread-safe.

    `changes` records what was changed while it ran, with the frame from which it held.
    """

    def __init__(self, prompt: PromptSnapshot, request: GenerateRequest, endless: bool, lead_samples: int,
                 cancel: CancelToken, progress: Progress | None) -> None:
        runtime, codec = prompt.runtime, prompt.runtime.codec
        rate = codec.frame_rate_hz
        tags = dict(request.tags)
        base = prompt.request
        if base.bpm is not None:
            # Counted from the first captured sample there (on beat 0 unless it is said), from the first new frame here.
            began = float(base.tags.get("start_beat", 0.0))
            tags["start_beat"] = began + prompt.n_frames / rate * base.bpm / 60.0
            request = replace(request, bpm=base.bpm, beats_per_bar=base.beats_per_bar, tags=tags)
        # The window is the one that has read the capture.
        request = replace(request, window_seconds=base.window_seconds, stride_seconds=base.stride_seconds)
        self.request = request
        self.changes: list[dict[str, Any]] = []
        self.match = prompt.splice_match()
        self.lead_samples = min(max(lead_samples, 0), prompt.n_samples, round(MOST_LEAD_SECONDS * codec.sample_rate))
        known_samples = prompt.n_frames * codec.hop_length
        overlap = prompt.n_samples - known_samples
        length = new_length(request, codec)
        samples = length.samples if length.samples is not None else length.frames * codec.hop_length
        # The overlap is generated on top, so that the new audio has its full length.
        frames = None if endless else -(-(overlap + samples + length.beyond) // codec.hop_length)
        self.n_samples = None if endless else samples + self.lead_samples
        self._level = LevelHold(codec) if request.level_hold else None
        self._generation = Generation(
            runtime, [request], prompt=prompt.codes[:, :, prompt.first_frame:], new_frames=frames, cancel=cancel,
            progress=progress, prompt_audio=prompt.heard, prefilled=prompt.window,
            on_shift=None if self._level is None else self._level.on_shift)
        unheard = base.bpm is not None and runtime.conditions.listens
        if unheard or _differs(request, base) or prompt.window.conditions.laid_out_in_time:
            # What has a place in time was laid out from the capture's start; it begins with the new audio. And what
            # conditioners find in a prompt (its level, its sound) they have not seen while one with a tempo grew.
            self._generation.update(conditions=_changed_conditions(runtime, base, request))
        # The decoder has seen the prompt; samples before the wanted start are dropped.
        start = prompt.n_samples - self.lead_samples
        self._first_sample = max(0, start - known_samples)
        self._before: Samples | None = prompt.decoded_from(start)
        self._matched = self.match.stream(prompt.decoded[:, :prompt.decoded.shape[1] - self._before.shape[1]])
        self._audio = AudioStream(prompt.stream, max(0, start - prompt.decoded_samples))
        self._codes: list[Any] = []
        self.prompt_codes = prompt.codes[0].clone()

    def __iter__(self) -> Iterator[GeneratedChunk]:
        """Chunks; the first sample stands `lead_samples` before the end of the capture."""
        left = self.n_samples
        piece, self._before = self._before, None
        if piece is not None and piece.shape[-1]:
            left = None if left is None else left - piece.shape[-1]
            yield GeneratedChunk(self._matched.apply(piece))
        for chunks in stream_generation(self._generation, self._audio, n_samples=left, level=self._level,
                                        first_sample=self._first_sample):
            for dropped in self._audio.dropped:
                self._matched.skip(dropped[0].cpu().float().numpy())
            self._audio.dropped.clear()
            if chunks[0].codes is not None:
                self._codes.append(chunks[0].codes)
            yield replace(chunks[0], samples=self._matched.apply(chunks[0].samples))

    @property
    def codes(self) -> Any:
        """Codes of the continuation so far, int64 `[K, n]`; its first frame follows the prompt's last known one."""
        empty = np.zeros((self.prompt_codes.shape[0], 0), dtype=np.int64)
        return np.concatenate([empty, *self._codes], axis=-1)

    @property
    def beyond(self) -> Samples:
        """At the end: what would have followed the last sample, `[C, n]`, as far as it was made."""
        made = self._audio.beyond
        return self._matched.apply(made) if made.size else made

    def update(self, **changes: Any) -> None:
        """Change `sampling`, `guidance` or `conditions` from the next step on; see `Generation.update`."""
        self._generation.update(**changes)
        self.changes.append({"frame": self._generation.done_frames, **changes})

    def stop(self) -> None:
        """End it with the frames that are complete."""
        self._generation.stop()


def _differs(request: GenerateRequest, base: GenerateRequest) -> bool:
    return request.text != base.text or request.conditions != base.conditions


def _changed_conditions(runtime: LanguageModelRuntime, base: GenerateRequest,
                        request: GenerateRequest) -> Mapping[str, Any]:
    old, new = runtime.conditions.collect(base), runtime.conditions.collect(request)
    return {**dict.fromkeys(old), **new}
