"""Codecs: waveform to codes and back, in one go and as a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from soundforge.audio import Waveform

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from soundforge.interfaces.host import Host


@dataclass(frozen=True)
class EncodedAudio:
    """Audio as codes.

    Args:
        codes: int64 `[B, K, T_frames]` (for chunked codecs the chunks follow each other along T).
        scales: float32 `[B, n_chunks]` or None for codecs that do not normalise.
        chunk_frames: frames of one chunk, or None when there is one chunk.
        n_samples: samples per channel before padding, at the codec's rate; `decode` trims to it.
    """

    codes: Tensor
    scales: Tensor | None = None
    chunk_frames: int | None = None
    n_samples: int = 0


@runtime_checkable
class CodecStream(Protocol):
    """State of one stream of a codec. Concatenated output equals the one-shot result for any chunking.

    Not thread-safe; one stream belongs to one thread at a time.
    """

    lookahead_frames: int
    """Frames of right-hand context that a decoded frame waits for; 0 for causal codecs."""

    def encode(self, samples: Tensor) -> Tensor:
        """Samples `[B, C, n]` (any n) to the codes `[B, K, m]` that are complete by now (m may be 0)."""
        ...

    def finish_encode(self) -> Tensor:
        """The codes still held back, as if the audio ended here: `[B, K, m]`."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[B, K, n]` (any n) to the samples `[B, C, m]` that are final by now (m may be 0)."""
        ...

    def finish_decode(self) -> Tensor:
        """The samples still held back: `[B, C, m]`."""
        ...

    def clone(self) -> CodecStream:
        """An independent copy of the state (a captured prompt is continued many times)."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Waveform to codes and back. Thread-safe for `encode` / `decode`; streams are not."""

    sample_rate: int
    channels: int
    frame_rate_hz: float
    hop_length: int
    n_codebooks: int
    codebook_size: int

    def encode(self, wave: Waveform | Tensor, n_codebooks: int | None = None) -> EncodedAudio:
        """Audio to codes. A `Waveform` is resampled and mixed to the codec's rate and channels first; a tensor
        `[B, C, T]` must have them already.

        Raises:
            AudioError: wrong rank, channels, or NaN.
        """
        ...

    def decode(self, encoded: EncodedAudio | Tensor) -> Tensor:
        """`EncodedAudio` to `[B, C, n_samples]`; bare codes `[B, K, T]` to `[B, C, T * hop_length]`."""
        ...

    def decode_latent(self, codes: Tensor) -> Tensor:
        """Codes `[B, K, T]` to the quantised latent `[B, D, T]` that the decoder network takes."""
        ...

    def stream(self, batch_size: int = 1) -> CodecStream:
        """A fresh stream."""
        ...

    def to(self, device: torch.device | str) -> Codec:
        """Move the weights; returns itself."""
        ...


@dataclass(frozen=True)
class CodecDescriptor:
    """A registered codec. `factory(host, source)` builds it from a folder, or from the package or the hub when
    `source` is None; raises `CheckpointError`."""

    name: str
    factory: Callable[[Host, Path | None], Codec]
    sample_rate: int
    channels: int
    frame_rate_hz: float
    n_codebooks: int
    codebook_size: int
    summary: str = ""
    hub_name: str = ""
    licence: str = ""
