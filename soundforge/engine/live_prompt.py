"""A prompt that grows while it is captured, and is continued as often as one likes.

The codec and the network follow the capture, so the time from "continue" to the first new sound does not depend on
how long the capture is. A frame is known only when it is full (and, for codecs that look ahead, when what they look at
is there). So a continuation begins at the last known frame, a little in the past; what it makes of the time that was
captured meanwhile is dropped, and its first sample is the one right after the last captured one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundforge.audio import Samples, match_gain
from soundforge.engine.generate import Generation, Progress
from soundforge.engine.keywords import fill_request
from soundforge.engine.level_hold import LevelHold
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.render import new_length
from soundforge.engine.sampling import UniformStream
from soundforge.engine.stream import AudioStream, stream_generation
from soundforge.engine.threads import StepThreads
from soundforge.engine.window import Window
from soundforge.errors import AudioError
from soundforge.interfaces import GeneratedChunk
from soundforge.requests import CancelToken, GenerateRequest

FULL = 0.8
"""Share of the window that a prompt may fill; then its end is taken into a fresh window."""

PIECE_FRAMES = 5
"""Frames that are encoded and prefilled together: one run over five columns costs hardly more than over one. What is
short of it waits for more capture, or for a continuation, which takes it along in one run."""

TAIL_SECONDS = 1.0
"""How much of the prompt's end is kept as sound, own and decoded, for level and crossfade."""


class LivePrompt:
    """One capture. Not thread-safe; continuations that were begun are independent of it.

    Args:
        runtime: the model.
        request: text, conditions, sampling that continuations will start from. With `bpm` and the tag `start_beat`
            (transport position of the first captured sample) a conditioner that follows the beat knows where it is.
    """

    def __init__(self, runtime: LanguageModelRuntime, request: GenerateRequest) -> None:
        self.runtime = runtime
        self.request = fill_request(request)
        self.n_samples = 0
        self._waiting: list[Samples] = []
        self._n_waiting = 0
        self._stream = runtime.codec.stream(1)
        self._codes = torch.zeros(1, runtime.n_codebooks, 0, dtype=torch.long)
        self._window_seconds, self._window_frames, stride = runtime.window_and_stride(request)
        self._keep = self._window_frames - stride
        self._first_frame = 0  # of the window, in frames of the capture
        self._window: Window | None = None
        self._decoded_samples = 0
        self._decoded: Samples = np.zeros((runtime.codec.channels, 0), dtype=np.float32)  # its last second
        self._own: Samples = self._decoded  # the last second and a bit of the capture itself

    @property
    def n_frames(self) -> int:
        """Frames that are known and prefilled."""
        return self._codes.shape[-1]

    @property
    def codes(self) -> Tensor:
        """All known frames, int64 `[K, n_frames]`."""
        return self._codes[0]

    # --- capture --------------------------------------------------------------------------------------------

    def feed(self, samples: Samples) -> int:
        """More captured samples `[C, n]` at the model's rate and channels; gives the frames known by now (`flush`
        makes all of them known that can be).

        Raises:
            AudioError: another shape, or NaN.
        """
        codec = self.runtime.codec
        if samples.ndim != 2 or samples.shape[0] != codec.channels or not np.isfinite(samples).all():
            raise AudioError(f"captured audio came with shape {list(samples.shape)}, expected finite samples "
                             f"[{codec.channels}, n] at {codec.sample_rate} Hz")
        if samples.shape[1] == 0:
            return self.n_frames
        self.n_samples += samples.shape[1]
        tail = round(TAIL_SECONDS * codec.sample_rate)
        self._own = np.concatenate([self._own, samples], axis=1)[:, -2 * tail:]
        self._waiting.append(np.array(samples, dtype=np.float32))  # a copy: the caller may use its block again
        self._n_waiting += samples.shape[1]
        return self.flush() if self._n_waiting >= PIECE_FRAMES * codec.hop_length else self.n_frames

    def flush(self) -> int:
        """Encode and prefill what waits; gives the frames known by now."""
        if not self._waiting:
            return self.n_frames
        codec = self.runtime.codec
        tail = round(TAIL_SECONDS * codec.sample_rate)
        piece = torch.from_numpy(np.concatenate(self._waiting, axis=1))[None]
        self._waiting, self._n_waiting = [], 0
        with torch.inference_mode(), StepThreads(self.runtime.decoder.threads):
            codes = self._stream.encode(piece)[:, :self.runtime.n_codebooks].cpu()
            if codes.shape[-1]:
                decoded = self._stream.decode(codes)[0].cpu().float().numpy()
                self._decoded_samples += decoded.shape[-1]
                self._decoded = np.concatenate([self._decoded, decoded], axis=1)[:, -tail:]
        self._take(codes)
        return self.n_frames

    def _take(self, codes: Tensor) -> None:
        n = codes.shape[-1]
        if n == 0:
            return
        self._codes = torch.cat([self._codes, codes], dim=-1)
        filled = self.n_frames - self._first_frame
        if self._window is not None and filled <= FULL * self._window_frames:
            self._window.extend_prompt(codes.to(self.runtime.device))
            return
        if filled > FULL * self._window_frames:
            self._first_frame = self.n_frames - min(self._keep, int(FULL * self._window_frames))
        self._window = None  # let go before the next one is made
        self._window = self._open()

    def _open(self) -> Window:
        runtime = self.runtime
        rate = runtime.codec.frame_rate_hz
        with runtime.lock:
            conditions = runtime.prepare(
                [runtime.conditions.collect(self.request)], [self.request], n_frames=self._window_frames,
                prompt_frames=0, first_new_seconds=self._first_frame / rate, prompt=None, window_start_frames=None,
                window_seconds=self._window_seconds)
            streams = [UniformStream(0, runtime.n_codebooks)]
            prompt = self._codes[:, :, self._first_frame:].to(runtime.device)
            window = Window(runtime.decoder, conditions, self.request.sampling, self.request.guidance, prompt,
                            self._window_frames, streams)
        window.prefill()
        return window

    def change(self, request: GenerateRequest) -> None:
        """Other text, conditions or guidance for what is captured: runs it through the network again, while nobody
        waits. Continuations may differ as well, but understand the capture as it was understood here."""
        self.request = fill_request(request)
        if self._window is not None:
            self._window = None
            self._window = self._open()

    def decoded_from(self, start: int) -> Samples:
        """The capture as the codec gives it back, from sample `start` of the capture to what is decoded by now."""
        n = min(self._decoded_samples - start, self._decoded.shape[1])
        return self._decoded[:, self._decoded.shape[1] - n:] if n > 0 else self._decoded[:, :0]

    def splice_gain(self) -> float:
        """What brings the codec's level to the capture's own over the last second of both, within 3 dB."""
        behind = self.n_samples - self._decoded_samples  # samples of the capture that are not decoded yet
        own = self._own[:, :self._own.shape[1] - behind] if behind else self._own
        n = min(own.shape[1], self._decoded.shape[1])
        return match_gain(own[:, own.shape[1] - n:], self._decoded[:, self._decoded.shape[1] - n:], 3.0) if n else 1.0

    # --- continuation ---------------------------------------------------------------------------------------

    def continue_(self, request: GenerateRequest | None = None, *, endless: bool = False, lead_samples: int = 0,
                  cancel: CancelToken | None = None, progress: Progress | None = None) -> LiveContinuation:
        """Carry on from what is captured by now; may be called again (another seed) and while capture goes on.

        Args:
            request: changes to what the prompt was opened with: seed, length, sampling, text, conditions.
            endless: until `LiveContinuation.stop`.
            lead_samples: begin so many samples before the end of the capture, for a crossfade; at most half a second.
            cancel, progress: as of `Engine.generate`.

        Raises:
            AudioError: nothing was captured that could be continued.
        """
        self.flush()
        if self._window is None:
            frame = self.runtime.codec.hop_length / self.runtime.codec.sample_rate
            raise AudioError(f"{self.n_samples} samples are captured, expected at least one whole frame of {frame:g} s "
                             "(more for a codec that looks ahead); capture longer")
        return LiveContinuation(self, fill_request(request or replace(self.request, seed=None)), endless, lead_samples,
                                cancel or CancelToken(), progress)


class LiveContinuation:
    """A continuation that runs; iterate over it for its sound. Not thread-safe.

    `changes` records what was changed while it ran, with the frame from which it held.
    """

    def __init__(self, prompt: LivePrompt, request: GenerateRequest, endless: bool, lead_samples: int,
                 cancel: CancelToken, progress: Progress | None) -> None:
        runtime, codec = prompt.runtime, prompt.runtime.codec
        window = prompt._window
        assert window is not None
        rate = codec.frame_rate_hz
        tags = dict(request.tags)
        base = prompt.request
        if base.bpm is not None and "start_beat" in base.tags:
            # Counted from the first captured sample there, from the first new frame here.
            tags["start_beat"] = float(base.tags["start_beat"]) + prompt.n_frames / rate * base.bpm / 60.0
            request = replace(request, bpm=base.bpm, beats_per_bar=base.beats_per_bar, tags=tags)
        self.request = request
        self.changes: list[dict[str, Any]] = []
        self.gain = prompt.splice_gain()
        self.lead_samples = min(max(lead_samples, 0), prompt.n_samples, round(TAIL_SECONDS * codec.sample_rate) // 2)
        known_samples = prompt.n_frames * codec.hop_length
        overlap = prompt.n_samples - known_samples
        length = new_length(request, codec)
        samples = length.samples if length.samples is not None else length.frames * codec.hop_length
        # The overlap is generated on top, so that the new audio has its full length.
        frames = None if endless else -(-(overlap + samples) // codec.hop_length)
        self.n_samples = None if endless else samples + self.lead_samples
        self._level = LevelHold(codec) if request.level_hold else None
        self._generation = Generation(
            runtime, [request], prompt=prompt._codes[:, :, prompt._first_frame:], new_frames=frames, cancel=cancel,
            progress=progress, prefilled=window, on_shift=None if self._level is None else self._level.on_shift)
        if _differs(request, base):
            self._generation.update(conditions=_changed_conditions(runtime, base, request))
        # The decoder has seen the prompt; samples before the wanted start are dropped.
        stream = prompt._stream.clone()
        start = prompt.n_samples - self.lead_samples
        self._first_sample = max(0, start - known_samples)
        self._before: Samples | None = prompt.decoded_from(start)
        self._audio = AudioStream(stream, max(0, start - prompt._decoded_samples))
        self._codes: list[Any] = []
        self.prompt_codes = prompt.codes.clone()

    def __iter__(self) -> Iterator[GeneratedChunk]:
        """Chunks; the first sample stands `lead_samples` before the end of the capture."""
        left = self.n_samples
        piece, self._before = self._before, None
        if piece is not None and piece.shape[-1]:
            left = None if left is None else left - piece.shape[-1]
            yield GeneratedChunk(piece * np.float32(self.gain))
        for chunks in stream_generation(self._generation, self._audio, n_samples=left, level=self._level,
                                        first_sample=self._first_sample):
            if chunks[0].codes is not None:
                self._codes.append(chunks[0].codes)
            yield replace(chunks[0], samples=chunks[0].samples * np.float32(self.gain))

    @property
    def codes(self) -> Any:
        """Codes of the continuation so far, int64 `[K, n]`; its first frame follows the prompt's last known one."""
        empty = np.zeros((self.prompt_codes.shape[0], 0), dtype=np.int64)
        return np.concatenate([empty, *self._codes], axis=-1)

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
