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
        options: what the checkpoint says about the conditioner (chroma window, eval_q, maximum length, ...), and about
            its guidance: `guided` (False = also on in the null row), `weight` (where a request states none).
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
        prompt_codes: the prompt as the model reads it, int64 `[K, n]` with the codebooks of the model, or None without
            one. Of a capture that is still running what is known of it by now, also where its sound is not given.
        bpm: tempo from the request, or None.
        beats_per_bar: from the request.
        start_beat: transport position in beats at frame `prompt_frames` (the first new one), or None.
        seed: the request's seed: anything random in a conditioner is derived from it.
        device: torch device of the model, as text.
        options: the request's `condition_options` for this condition.
        window_start_frames: None when the generation fits one window. Otherwise the first frame of the window
            that is made now, counted from the start of the whole sequence: a conditioner that takes audio then
            reads it on from there, periodically, for `window_seconds`.
        new_start_frames: where the new audio begins, in frames of this window: `prompt_frames` in the first window,
            less in later ones (below 0 where it began before the window). What has a place in time (a melody, a
            curve) is laid out from here, so that all windows together are one piece. None = at `prompt_frames`.
        window_seconds: longest window of this generation (the checkpoint's, or the request's when shorter).
        given: names of the slots for which this request has a value. A conditioner with an attribute `watches`, a
            frozenset of such names, prepares its value again when one of them is given or taken away while it plays.
    """

    sample_rate: int
    frame_rate_hz: float
    n_frames: int
    prompt_frames: int = 0
    prompt: Waveform | None = None
    prompt_codes: Tensor | None = None
    bpm: float | None = None
    beats_per_bar: int = 4
    start_beat: float | None = None
    seed: int = 0
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)
    window_start_frames: int | None = None
    window_seconds: float = 0.0
    new_start_frames: int | None = None
    given: frozenset[str] = frozenset()

    @property
    def new_start(self) -> int:
        """`new_start_frames`, or `prompt_frames` where it is not known."""
        return self.prompt_frames if self.new_start_frames is None else self.new_start_frames


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
class Projection:
    """Trained weights that a conditioner brings along, from its features to the network's width.

    Args:
        weight: `[d_model, W]` float32.
        bias: `[d_model]` or None.
    """

    weight: Tensor
    bias: Tensor | None = None


@runtime_checkable
class BringsProjection(Protocol):
    """A conditioner with trained projection weights of its own. They take the place of the checkpoint's for the slot
    that it feeds, or make a slot of its own possible (`ConditionerDescriptor.brings`)."""

    def projection(self) -> Projection:
        """The weights; asked for once, when the conditioner was built. `ConditionerSetup.d_model` and `model` say
        what they must fit; raise `CheckpointError` when they do not."""
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
        model: the checkpoint's name.
        d_model: the network's width; 0 when it is not a decoder language model.
    """

    slot: Slot
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    folder: Path | None = None
    layout: str = "native"
    config: Mapping[str, Any] = field(default_factory=dict)
    codec: Codec | None = None
    device: str = "cpu"
    model: str = ""
    d_model: int = 0


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
        fuse: how the slots that it can feed enter the network; None = any way.
        width: width of its features; None = whatever the slot takes.
        frame_rate_hz: rate of its features for slots that have one; None = whatever the slot takes.
        brings: a slot of its own, for checkpoints that have none of `feeds`: its conditioner then has the method
            `projection()`, which gives the trained weights from its features to the network.
        examples: values that a user would give, at least two different ones, for `plugin check` and `plugin bench`; a
            function that gives them where they are too large to be made for a listing (sound).
    """

    name: str
    feeds: tuple[str, ...]
    factory: Callable[[Host, ConditionerSetup], Conditioner]
    takes: str = ""
    summary: str = ""
    automatic: bool = False
    fuse: FuseMethod | None = None
    width: int | None = None
    frame_rate_hz: float | None = None
    brings: Slot | None = None
    examples: tuple[Any, ...] | Callable[[], tuple[Any, ...]] = ()

    def example_values(self) -> tuple[Any, ...]:
        """The examples, made now where they are a function."""
        return tuple(self.examples() if callable(self.examples) else self.examples)

    def misfit(self, slot: Slot) -> str:
        """Why it cannot feed a slot, both sides named; "" when it can."""
        own = self.brings is not None and slot.name == self.brings.name
        fits = (own or slot.name in self.feeds) and self.fuse in (None, slot.fuse) and \
            self.width in (None, slot.width) and (self.frame_rate_hz is None or slot.frame_rate_hz is None
                                                  or abs(self.frame_rate_hz - slot.frame_rate_hz) < 1e-6)
        return "" if fits else f"feeds {self.describe()}, and the model's slot is {describe_slot(slot)}"

    def describe(self) -> str:
        """What it feeds, for messages: `chroma (sum, width 12)`."""
        stated = [self.fuse or "", f"width {self.width}" if self.width else "",
                  f"{self.frame_rate_hz:g} Hz" if self.frame_rate_hz else ""]
        details = ", ".join(part for part in stated if part)
        return " or ".join(self.feeds) + (f" ({details})" if details else "")


def describe_slot(slot: Slot) -> str:
    """A slot for messages: `chroma (sum, width 12, 50 Hz)`."""
    rate = f", {slot.frame_rate_hz:g} Hz" if slot.frame_rate_hz else ""
    return f"{slot.name} ({slot.fuse}, width {slot.width}{rate})"
