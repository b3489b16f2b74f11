"""Conditions: slots of a checkpoint, and the conditioners that feed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from soundforge.audio import Waveform

if TYPE_CHECKING:
    from torch import Tensor

    from soundforge.interfaces.codecs import Codec
    from soundforge.interfaces.host import Host

FuseMethod = Literal["cross", "prepend", "sum", "concat"]


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
