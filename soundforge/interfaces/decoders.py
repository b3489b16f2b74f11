"""Decoders and clip processors: what comes after the codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from soundforge.audio import Waveform
from soundforge.requests import CancelToken

if TYPE_CHECKING:
    from torch import Tensor

    from soundforge.interfaces.codecs import Codec
    from soundforge.interfaces.host import Host


@runtime_checkable
class Decoder(Protocol):
    """Codes to waveform by another road than the codec's own decoder (MultiBandDiffusion). Thread-safe."""

    def decode(self, codes: Tensor, *, seed: int | Sequence[int], cancel: CancelToken,
               progress: Callable[[int, int], None] | None = None, noise: Any = None,
               options: Mapping[str, Any] | None = None) -> Tensor:
        """Codes `[B, K, T]`, or latents `[B, D, T]` (floating), to `[B, C, T * hop_length]`.

        Args:
            codes: int64 codes, or the codec's quantised latents.
            seed: of the noise; one for all items, or one per item.
            cancel: looked at before every network evaluation; raises `CancelledError`.
            progress: `progress(done_frames, total_frames)`, frames as a share of the work done.
            noise: replaces the noise drawn from the seed; its shape is the decoder's to say.
            options: `GenerateRequest.decoder_options`.
        """
        ...


@dataclass(frozen=True)
class DecoderSetup:
    """What a decoder's factory is told.

    Args:
        codec: the codec whose codes it will take.
        codec_name: its registered or published name ("encodec_32khz"), "" when it is not known.
        folder: of the model's checkpoint (its own weights may lie there), or None.
        device: torch device as text.
    """

    codec: Codec
    codec_name: str = ""
    folder: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class DecoderDescriptor:
    """A registered decoder; `codecs` names the codecs whose codes it takes; `factory(host, setup)` raises
    `CheckpointError` when its weights are missing or were trained for another codec."""

    name: str
    codecs: tuple[str, ...]
    factory: Callable[[Host, DecoderSetup], Decoder]
    summary: str = ""


@dataclass(frozen=True)
class ClipProcessorDescriptor:
    """A registered clip processor: waveform to waveform, on the finished clip, before it is written.

    `process` runs in the engine process, on the caller's thread (a third party's on a thread of its own): it may take
    its time, and other jobs wait for it. It gives a new `Waveform` with at least one sample and as many channels, at
    any rate, does not write to its input, and gives the same for the same. It raises `AudioError` for sound that it
    cannot take.

    Args:
        name: what requests say (`processors="loudness:lufs=-14"`).
        factory: `factory(host, options) -> process`; raises `RequestError` for an option that it does not take.
        summary: one line, with its options and their defaults.
        takes_tempo: its options `bpm` and `beats_per_bar` are the clip's unless the request gives them.
    """

    name: str
    factory: Callable[[Host, Mapping[str, Any]], Callable[[Waveform], Waveform]]
    summary: str = ""
    takes_tempo: bool = False
