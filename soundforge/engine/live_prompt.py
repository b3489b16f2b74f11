"""A prompt that grows while it is captured, and is continued as often as one likes.

The codec and the network follow the capture, so the time from "continue" to the first new sound does not depend on
how long the capture is. A frame is known only when it is full (and, for codecs that look ahead, when what they look at
is there). So a continuation begins at the last known frame, a little in the past; what it makes of the time that was
captured meanwhile is dropped, and its first sample is the one right after the last captured one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from soundforge.audio import Samples, Waveform
from soundforge.engine.generate import Progress
from soundforge.engine.keywords import fill_request
from soundforge.engine.live_continuation import TAIL_SECONDS, LiveContinuation, PromptSnapshot
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.sampling import UniformStream
from soundforge.engine.threads import StepThreads
from soundforge.engine.window import Window
from soundforge.errors import AudioError
from soundforge.requests import CancelToken, GenerateRequest

FULL = 0.8
"""Share of the window that a prompt may fill; then its end is taken into a fresh window."""

PIECE_FRAMES = 5
"""Frames that are encoded and prefilled together: one run over five columns costs hardly more than over one. What is
short of it waits for more capture, or for a continuation, which takes it along in one run."""


LISTEN_SECONDS = 2.0
"""How often conditioners that listen are asked anew while a capture without a tempo grows."""


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
        self._listens = request.bpm is None and runtime.conditions.listens
        self._heard_frames = 0  # known frames when it was last listened to
        self._decoded_samples = 0
        self._decoded: Samples = np.zeros((runtime.codec.channels, 0), dtype=np.float32)  # its last second
        self._own: Samples = self._decoded  # the capture itself, as much of it as a window holds

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
        kept = self._window_frames * codec.hop_length + 2 * round(TAIL_SECONDS * codec.sample_rate)
        self._own = np.concatenate([self._own, samples], axis=1)[:, -kept:]
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
        due = self.n_frames - self._heard_frames >= LISTEN_SECONDS * self.runtime.codec.frame_rate_hz
        if self._window is not None and filled <= FULL * self._window_frames and not (self._listens and due):
            self._window.extend_prompt(codes.to(self.runtime.device))
            return
        if filled > FULL * self._window_frames:
            self._first_frame = self.n_frames - min(self._keep, int(FULL * self._window_frames))
        self._window = None  # let go before the next one is made
        self._window = self._open()

    def _heard(self) -> Waveform:
        """The capture's own sound of the window's known frames."""
        hop, end = self.runtime.codec.hop_length, self._own.shape[1]
        start = end - (self.n_samples - self._first_frame * hop)
        return Waveform(self._own[:, max(0, start):end - (self.n_samples - self.n_frames * hop)],
                        self.runtime.codec.sample_rate)

    def _open(self) -> Window:
        runtime = self.runtime
        rate = runtime.codec.frame_rate_hz
        self._heard_frames = self.n_frames
        # With a tempo, frame 0 is counted from; without one, the prompt's end is, where a listener knows the beat.
        known = self.n_frames - self._first_frame if self._listens else 0
        prompt = self._codes[:, :, self._first_frame:].to(runtime.device)
        with runtime.lock:
            conditions = runtime.prepare(
                [runtime.conditions.collect(self.request)], [self.request], n_frames=self._window_frames,
                prompt_frames=known, first_new_seconds=self._first_frame / rate, window_start_frames=None,
                prompt=self._heard() if self._listens else None, window_seconds=self._window_seconds,
                prompt_codes=prompt)
            streams = [UniformStream(0, runtime.n_codebooks)]
            window = Window(runtime.decoder, conditions, self.request.sampling, self.request.guidance, prompt,
                            self._window_frames, streams, grow=True)
        window.prefill()
        return window

    def change(self, request: GenerateRequest) -> None:
        """Other text, conditions or guidance for what is captured: runs it through the network again, while nobody
        waits. Continuations may differ as well, but understand the capture as it was understood here."""
        self.request = fill_request(request)
        self._listens = request.bpm is None and self.runtime.conditions.listens
        if self._window is not None:
            self._window = None
            self._window = self._open()

    def _snapshot(self) -> PromptSnapshot:
        assert self._window is not None
        return PromptSnapshot(self.runtime, self.request, self._window, self._codes, self._first_frame, self.n_samples,
                              self._stream.clone(), self._own, self._decoded, self._decoded_samples, self._heard())

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
        wanted = fill_request(request or replace(self.request, seed=None))
        return LiveContinuation(self._snapshot(), wanted, endless, lead_samples, cancel or CancelToken(), progress)
