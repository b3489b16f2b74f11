"""Models: what a model family hands to the engine, and models that run themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from soundforge.interfaces.codecs import Codec
from soundforge.interfaces.conditions import Slot
from soundforge.requests import CancelToken, GenerateRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from soundforge.interfaces.host import Host


@dataclass(frozen=True)
class SlotWeights:
    """A slot with the trained projection from its features to the network's width.

    Args:
        slot: its description.
        weight: `[d_model, W]`, or None when features have the network's width already.
        bias: `[d_model]` or None.
        tensors: further trained weights of the conditioner that sits in front (style), names relative to it.
    """

    slot: Slot
    weight: Tensor | None = None
    bias: Tensor | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class RestLimits:
    """How long a model may rest (see `soundforge.engine.rests`).

    Args:
        codes: entries of the first codebook that are silent.
        first_frames: most of them before anything has sounded, where there is no prompt.
        frames: most of them in a row later on, or behind a prompt that does not rest longer itself.
    """

    codes: Sequence[int]
    first_frames: int
    frames: int


@dataclass(frozen=True)
class LanguageModelParts:
    """What a model family hands to the engine for a decoder LM over codes (MusicGen, AudioGen, starter, ...).

    Args:
        name: of the checkpoint.
        lm: a `soundforge.nn.language_model.LanguageModel`.
        codec: its codec (for stereo checkpoints the interleaving wrapper).
        slots: in the order in which `prepend` slots stand in the sequence.
        delays: per codebook, sorted, in frames.
        window_seconds: longest sequence it was trained on.
        stride_seconds: default advance in generation beyond the window.
        defaults: request keywords that differ from the contract's (temperature, top_k, cfg, seconds).
        layout: "audiocraft", "transformers" or "native".
        folder: where it came from, or None.
        config: the checkpoint's configuration as plain dicts.
        licence: of the weights.
        rests: how long it may rest, or None = as long as it likes.
    """

    name: str
    lm: torch.nn.Module
    codec: Codec
    slots: Sequence[SlotWeights]
    delays: Sequence[int]
    window_seconds: float
    stride_seconds: float
    defaults: Mapping[str, Any] = field(default_factory=dict)
    layout: str = "native"
    folder: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    rests: RestLimits | None = None


@dataclass(frozen=True)
class LoadOptions:
    """How a checkpoint is loaded: `device` ("auto", "cpu", "cuda", "mps"), `quantize` None, "int8", "int4"."""

    device: str = "cpu"
    quantize: str | None = None


@dataclass(frozen=True)
class GeneratedChunk:
    """A piece of a generation that streams.

    Args:
        samples: `[C, n]` float32 numpy at the model's rate.
        codes: `[K, m]` int64 numpy that became known since the last chunk, or None for a model without codes.
        latents: `[D, m]` float32 numpy, what a model without codes made for its codec's decoder; a decoder other
            than the codec's own takes them as it takes codes.
    """

    samples: Any
    codes: Any = None
    latents: Any = None


@runtime_checkable
class GenerativeModel(Protocol):
    """A model that is not a decoder LM over codes (flow matching, masked decoding, ...) and runs itself.

    `stream` yields for each request of the batch a list of chunks; it looks at `cancel` at least once per network
    evaluation and calls `progress(done_frames, total_frames)`. Not thread-safe: the engine queues its callers.

    Attributes:
        name: of the checkpoint.
        codec: what turns its codes or latents into sound; `sample_rate`, `channels`, `frame_rate_hz` are the codec's.
        slots: the conditions it takes.
        defaults: request keywords that differ from the contract's ("temperature", "top_p", "cfg", "seconds").
        window_seconds: longest clip that it makes; `stream` raises `RequestError` beyond it.
        continues: whether it can carry on from a prompt; `stream` raises `RequestError` for a prompt otherwise.

    Two more it may have: `starts_from_noise` (bool, False without it): a request's `noise` is the model's, not a
    decoder's; `warm_up_options` (mapping): `options` with which a first request costs least, for a server's start.
    """

    name: str
    codec: Codec
    sample_rate: int
    channels: int
    frame_rate_hz: float
    slots: Sequence[Slot]
    defaults: Mapping[str, Any]
    window_seconds: float
    continues: bool

    def stream(self, requests: Sequence[GenerateRequest], *, cancel: CancelToken, prompt: Tensor | None = None,
               progress: Callable[[int, int], None] | None = None) -> Iterator[list[GeneratedChunk]]:
        """Generate a batch; every request has its seed set.

        Args:
            requests: one per clip; `conditions`, `options` and `noise` as the model documents.
            cancel: looked at before every network evaluation; raises `CancelledError`.
            prompt: codes `[B, K, P]` (or `[1, K, P]` for all) to carry on from; chunks then hold prompt and
                continuation together.
            progress: `progress(done_frames, total_frames)`, frames as a share of the work done.
        """
        ...


@dataclass(frozen=True)
class ModelFamilyDescriptor:
    """A registered model family.

    Args:
        name: "musicgen", "starter", ...
        recognises: `recognises(folder) -> bool`: looks at file names and configuration only, never loads weights
            and never imports torch.
        load: `load(host, folder, options)`; `folder` None = the family's embedded checkpoint.
        embedded: names of checkpoints inside the plugin's own package ("starter").
        summary: one line.
    """

    name: str
    recognises: Callable[[Path], bool]
    load: Callable[[Host, Path | None, LoadOptions], LanguageModelParts | GenerativeModel]
    embedded: tuple[str, ...] = ()
    summary: str = ""
