"""Codes become sound while the network still runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from soundforge.audio import Samples
from soundforge.engine.generate import Generation
from soundforge.engine.level_hold import LevelHold
from soundforge.engine.threads import StepThreads
from soundforge.interfaces import Codec, CodecStream, GeneratedChunk

FIRST_FRAMES = 3
"""Frames of the first chunk: small, because somebody waits for it."""

MOST_FRAMES = 16
"""Frames of a chunk once sound flows: larger ones cost less per frame; 320 ms at 50 Hz."""


class AudioStream:
    """Decodes the frames of one generation in growing chunks. Not thread-safe.

    Args:
        stream: fresh, or one that has decoded the prompt already.
        skip_samples: samples per channel to be dropped before the first one handed out (the prompt's, which the
            decoder needs as context); `dropped` has them. `beyond` has what came after the end that was wanted.
    """

    def __init__(self, stream: CodecStream, skip_samples: int = 0) -> None:
        self._stream = stream
        self._skip = skip_samples
        self.dropped: list[Tensor] = []
        self._beyond: list[Samples] = []
        self._waiting: list[Tensor] = []
        self._n_waiting = 0
        self._wanted = FIRST_FRAMES

    def feed(self, codes: Tensor) -> Tensor | None:
        """Take frames `[B, K, n]`; give samples `[B, C, m]` when enough have come together, else None."""
        if codes.shape[-1]:
            self._waiting.append(codes)
            self._n_waiting += codes.shape[-1]
        if self._n_waiting < self._wanted:
            return None
        self._wanted = min(MOST_FRAMES, 2 * self._wanted)
        return self._decode()

    def finish(self) -> Tensor:
        """All samples still held back, `[B, C, m]`."""
        pieces = [piece for piece in (self._decode(), self._drop(self._stream.finish_decode())) if piece is not None]
        return torch.cat(pieces, dim=-1)

    @property
    def beyond(self) -> Samples:
        """What came after the end that was wanted, `[C, n]`, of the first item."""
        return np.concatenate(self._beyond, axis=-1) if self._beyond else np.zeros((1, 0), np.float32)

    def keep_beyond(self, samples: Samples) -> None:
        """More of it."""
        self._beyond.append(samples)

    def _decode(self) -> Tensor | None:
        if not self._waiting:
            return None
        codes = torch.cat(self._waiting, dim=-1)
        self._waiting, self._n_waiting = [], 0
        return self._drop(self._stream.decode(codes))

    def _drop(self, samples: Tensor) -> Tensor:
        dropped = min(self._skip, samples.shape[-1])
        self._skip -= dropped
        if dropped:
            self.dropped.append(samples[..., :dropped])
        return samples[..., dropped:]


def primed_stream(codec: Codec, prompt: Tensor | None, batch_size: int) -> tuple[CodecStream, int]:
    """A codec stream that has the prompt `[B, K, P]` behind it, and the samples of it that are still to come out."""
    stream = codec.stream(batch_size)
    if prompt is None or prompt.shape[-1] == 0:
        return stream, 0
    made = stream.decode(prompt.expand(batch_size, -1, -1)).shape[-1]
    return stream, prompt.shape[-1] * codec.hop_length - made


def stream_generation(generation: Generation, audio: AudioStream, *, n_samples: int | None = None,
                      level: LevelHold | None = None, first_sample: int = 0) -> Iterator[list[GeneratedChunk]]:
    """Run a generation; yield, for each item, its new samples and the codes that became known with them.

    Args:
        n_samples: cut the whole after so many samples (whole bars), or None.
        level: gains of later windows.
        first_sample: where in the new audio the first sample stands that `audio` hands out.
    """
    hop = generation.runtime.codec.hop_length
    threads = generation.runtime.decoder.threads
    left = n_samples
    codes_since: list[Tensor] = []
    made = first_sample
    while True:
        done = generation.done
        if done:
            with StepThreads(threads):
                samples: Tensor | None = audio.finish()
        else:
            codes = generation.step()
            codes_since.append(codes)
            with StepThreads(threads):
                samples = audio.feed(codes)
        if samples is not None and (samples.shape[-1] or done):
            pieces = samples.cpu().float().numpy()
            if level is not None:
                pieces = level.apply(pieces, made, hop)
            made += pieces.shape[-1]
            if left is not None:
                if pieces.shape[-1] > left:
                    audio.keep_beyond(pieces[0][:, left:])
                pieces = pieces[..., :left]
                left -= pieces.shape[-1]
            known = torch.cat(codes_since, dim=-1).cpu().numpy() if codes_since else None
            codes_since = []
            if pieces.shape[-1] or (known is not None and known.shape[-1]):
                yield [GeneratedChunk(np.ascontiguousarray(pieces[i]), None if known is None else known[i])
                       for i in range(pieces.shape[0])]
        if done:
            return


def to_samples(decoded: Tensor) -> list[Samples]:
    """Decoded audio `[B, C, T]` as one float32 array `[C, T]` per item."""
    array = decoded.detach().cpu().float().numpy()
    return [np.ascontiguousarray(item) for item in array]
