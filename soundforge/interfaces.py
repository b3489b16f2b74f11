"""The parts of SoundForge as Protocols and light descriptors. Shapes are stated here, once.

A plugin registers **descriptors**: a name, what the part feeds or makes, and a factory. The factory is called
in the engine process when the part is needed; it imports torch and the like and receives a `Host`, through
which it asks for other parts by name. Importing a plugin's module must not import torch.

Shapes: waveform `[B, C, T_samples]` float32 · codes `[B, K, T_frames]` int64 · features `[B, L, W]` float32 with
mask `[B, L]` bool (True = real). Units stand in the names (`_hz`, `_seconds`, `_frames`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from soundforge.audio import Waveform
from soundforge.requests import CancelToken, GenerateRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CONTRACT_VERSION = 1
"""Version of the plugin contract. A plugin module may set `SOUNDFORGE_CONTRACT = 1`; another major is refused."""

FuseMethod = Literal["cross", "prepend", "sum", "concat"]


# --- slots and conditions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """A trained input of a checkpoint that a conditioner feeds.

    Args:
        name: the condition's name for users ("text", "chroma", "style", "transport").
        conditioner: registered name of the conditioner that feeds it unless the user chooses another.
        width: feature width W that the slot's projection takes.
        fuse: how the projected features enter the network. `cross`: attended to; `prepend`: put before the
            tokens; `sum`: added to the token embeddings frame by frame; `concat`: beside them.
        frame_rate_hz: rate of the features when there is one value per frame (always for `sum`), else None.
        options: what the checkpoint says about the conditioner (chroma window, eval_q, maximum length, ...).
        source_name: the checkpoint's own name for it ("description", "self_wav").
    """

    name: str
    conditioner: str
    width: int
    fuse: FuseMethod
    frame_rate_hz: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    source_name: str = ""


@dataclass(frozen=True)
class Condition:
    """What a conditioner gives for a batch.

    Args:
        values: `[B, L, W]` float32 features before the slot's projection.
        mask: `[B, L]` bool, True where a feature is real; masked places are zeroed AFTER the projection.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class ConditionContext:
    """What a conditioner may know about the generation it serves.

    Args:
        sample_rate: of the model's codec, Hz.
        frame_rate_hz: codec frames per second.
        n_frames: frames of the whole sequence that will be generated, prompt included.
        prompt_frames: of these, frames that are prompt.
        prompt: the prompt's audio, or None (a conditioner may listen: tempo, key).
        bpm: tempo from the request, or None.
        beats_per_bar: from the request.
        start_beat: transport position in beats at frame `prompt_frames` (the first new one), or None.
        seed: the request's seed: anything random in a conditioner is derived from it.
        device: torch device of the model, as text.
        options: the request's `condition_options` for this condition.
        window_start_frames: None when the generation fits one window. Otherwise the first frame of the window
            that is made now, counted from the start of the whole sequence: a conditioner that takes audio then
            reads it on from there, periodically, for `window_seconds`.
        window_seconds: longest window of this generation (the checkpoint's, or the request's when shorter).
    """

    sample_rate: int
    frame_rate_hz: float
    n_frames: int
    prompt_frames: int = 0
    prompt: Waveform | None = None
    bpm: float | None = None
    beats_per_bar: int = 4
    start_beat: float | None = None
    seed: int = 0
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)
    window_start_frames: int | None = None
    window_seconds: float = 0.0


@runtime_checkable
class Conditioner(Protocol):
    """Turns a user's value into features for one slot.

    Threading: `prepare` may block (tokenise, read, resample); it runs in the engine process outside the step
    loop. `encode` must not block on disk or network; it runs just before the prefill, or between two steps when
    a condition changes while a generation streams. Neither is called for two requests at once.
    """

    def prepare(self, value: Any, context: ConditionContext) -> Any:
        """Check `value` (raise `ConditionError` naming what would be right) and do all slow work."""
        ...

    def encode(self, prepared: Sequence[Any | None], context: ConditionContext) -> Condition:
        """Features for a batch; an item that is None is the **null condition** used by guidance.

        The result for an item must not depend on the other items beyond padding.
        """
        ...


@dataclass(frozen=True)
class ConditionerSetup:
    """What a conditioner's factory is told.

    Args:
        slot: the slot it will feed.
        tensors: trained weights that the checkpoint holds for this conditioner (names relative to it), or {}.
        folder: the checkpoint's folder (for `text_encoder/`), or None.
        layout: "audiocraft", "transformers" or "native": layouts differ in padding rules.
        config: the checkpoint's configuration as plain dicts.
        codec: the model's codec.
        device: torch device as text.
    """

    slot: Slot
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    folder: Path | None = None
    layout: str = "native"
    config: Mapping[str, Any] = field(default_factory=dict)
    codec: Codec | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class ConditionerDescriptor:
    """A registered conditioner.

    Args:
        name: unique; what `Slot.conditioner` and users say.
        feeds: names of the slots it can feed ("text", "chroma", ...).
        factory: `factory(host, setup) -> Conditioner`, may be slow.
        takes: what values it takes, for error messages and listings ("text", "audio", "chords", ...).
        summary: one line.
        automatic: True when it can make features without a user's value (the transport from the tempo).
    """

    name: str
    feeds: tuple[str, ...]
    factory: Callable[[Host, ConditionerSetup], Conditioner]
    takes: str = ""
    summary: str = ""
    automatic: bool = False


# --- codecs ----------------------------------------------------------------------------------------------


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


# --- models ----------------------------------------------------------------------------------------------


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
    """A registered clip processor: `factory(host, options)` gives `process(waveform) -> waveform`, run in the
    engine process after rendering."""

    name: str
    factory: Callable[[Host, Mapping[str, Any]], Callable[[Waveform], Waveform]]
    summary: str = ""


# --- bridges and host ------------------------------------------------------------------------------------


@runtime_checkable
class Bridge(Protocol):
    """Connects the session to the outside (OSC, MIDI, ...). Lives on the control process's event loop."""

    async def start(self) -> None:
        """Open ports; raise a `SoundForgeError` whose text says what to do when that fails."""
        ...

    async def stop(self) -> None:
        """Close everything; safe to call twice."""
        ...


@dataclass(frozen=True)
class BridgeDescriptor:
    """A registered bridge; `factory(session, settings)` with `soundforge.live.session.Session` and `Settings`."""

    name: str
    factory: Callable[[Any, Any], Bridge]
    summary: str = ""
    default: bool = True


@runtime_checkable
class Host(Protocol):
    """What a factory may ask of the host. Every part it gives is loaded once and kept."""

    def codec(self, name: str, source: Path | None = None) -> Codec:
        """A codec by registered name, built from `source` when given; raises `CheckpointError`, `PluginError`."""
        ...

    def conditioner(self, name: str, setup: ConditionerSetup) -> Conditioner:
        """A fresh conditioner by registered name for one slot."""
        ...

    def resolve(self, name: str) -> Path:
        """The local folder of a checkpoint named by folder or hub name; raises `NotCachedError`."""
        ...
