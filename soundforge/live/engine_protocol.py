"""What crosses between control process and engine: frozen messages, by a pipe or as they are. It imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.clip import Clip
from soundforge.requests import GenerateRequest

DEFAULT_FACTORY = "soundforge.live.engine_process:load_model"


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """How the engine starts.

    Args:
        model: name or folder of the first model.
        device, quantize, codec_precision, plugins_dir, no_plugin: as of `soundforge.load`.
        threads: for torch; None = chosen so that the audio process keeps a core.
        plugin_seconds: how long one call of a third party's plugin may take; None = for ever.
        factory: `module:function`, called as `factory(setup, model_name)`, gives a `LiveModel`.
        options: further values for the factory (tests).
    """

    model: str = "starter"
    device: str = "auto"
    quantize: str | None = None
    codec_precision: str = "float32"
    threads: int | None = None
    plugins_dir: str | None = None
    no_plugin: tuple[str, ...] = ()
    plugin_seconds: float | None = None
    factory: str = DEFAULT_FACTORY
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load another model; the old one serves until the new one is there."""

    name: str


@dataclass(frozen=True, slots=True)
class OpenPrompt:
    """A capture begins, or an old take is wanted: `FeedPrompt`s with its audio follow.

    Args:
        prompt: id that jobs name.
        request: what continuations start from (text, conditions, tempo, tag `start_beat`).
        rate: of the audio that follows, Hz.
    """

    prompt: str
    request: GenerateRequest
    rate: int


@dataclass(frozen=True, eq=False, slots=True)
class FeedPrompt:
    """More audio `(n, channels)` of a prompt."""

    prompt: str
    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EndPrompt:
    """The prompt is complete: what the resampler and the codec hold back is theirs."""

    prompt: str


@dataclass(frozen=True, slots=True)
class DropPrompt:
    prompt: str


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """A playback ring: `RingBuffer(*handle)`, fed at `rate` Hz."""

    handle: tuple[int, int, str]
    rate: int


@dataclass(frozen=True, slots=True)
class StartJob:
    """Generate.

    Args:
        job: id.
        request: what to make; its seed is drawn by the engine when it is None.
        prompt: id of an open prompt to continue, or "".
        endless: until `StopJob`.
        target: ring for the sound, or None when it shall only become a clip.
        lead_seconds: stream so much of the prompt's end first (as the codec hears it), for a crossfade.
        begin: stream from this sample on, counted at the target's rate from the prompt's first one; what is made
            before it is dropped (takeover: the prompt is continued before it is complete). -1 = at the prompt's end.
        line: with `begin`, the sample at which the clip begins (and from which its length counts).
    """

    job: str
    request: GenerateRequest
    prompt: str = ""
    endless: bool = False
    target: StreamTarget | None = None
    lead_seconds: float = 0.0
    begin: int = -1
    line: int = -1


@dataclass(frozen=True, slots=True)
class UpdateJob:
    """Change a running job from its next step on; what its model cannot change stays."""

    job: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StopJob:
    """End a job in the ordinary way with what it has made."""

    job: str


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Drop a job, and what of its sound is not in the ring yet."""

    job: str


@dataclass(frozen=True, slots=True)
class MuteJob:
    """Write no more into the job's ring; the clip is still made."""

    job: str


@dataclass(frozen=True, slots=True)
class QuitEngine:
    """End, whatever runs."""


@dataclass(frozen=True, slots=True)
class EngineLoading:
    model: str


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The model serves. `defaults`: request keywords in which it differs from the contract's."""

    model: str
    sample_rate: int
    channels: int
    load_seconds: float
    slots: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """A model could not be loaded; `serving` = an older one still serves."""

    model: str
    what: str
    serving: bool


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine process died; it is being started again (made by the client, not by the engine).

    Args:
        what: one line for the user, and for its jobs.
        failing: it died several times before it was ready; something is wrong with it that will not go by itself.
        tell: False for what would only repeat the last line.
    """

    what: str
    failing: bool = False
    tell: bool = True


@dataclass(frozen=True, slots=True)
class JobStreaming:
    """Sound of a job is in its ring: it starts at ring count `count` with `lead_samples` of lead."""

    job: str
    count: int
    lead_samples: int


@dataclass(frozen=True, slots=True)
class JobMoved:
    """`seconds` of new audio are made, of `total_seconds` (0 = endless), at real-time factor `rtf`."""

    job: str
    seconds: float
    total_seconds: float
    rtf: float


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The engine writes no more into the job's ring."""

    job: str


@dataclass(frozen=True, eq=False, slots=True)
class JobFinished:
    """The clip is complete (its sound may still be on its way to the ring)."""

    job: str
    clip: Clip
    rtf: float


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job ended without a clip; `cancelled` on request. With `prompt_lost` it never began: its ring is free."""

    job: str
    what: str
    cancelled: bool = False
    prompt_lost: bool = False


@dataclass(frozen=True, slots=True)
class ChangeRefused:
    """An `UpdateJob` made no sense to the model; the job goes on unchanged."""

    job: str
    what: str


@dataclass(frozen=True, slots=True)
class PromptFailed:
    prompt: str
    what: str
