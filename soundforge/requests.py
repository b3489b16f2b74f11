"""What is asked for and what is reported, as frozen values that cross threads and processes.

A request carries everything that makes a clip (text, conditions, sampling, seed, length); nothing is set
on a model object, so two requests in flight cannot mix. Events travel the other way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal

from soundforge.blend import Blend
from soundforge.errors import CancelledError, RequestError
from soundforge.processing import processor_calls

DEFAULT_SECONDS = 8.0
MAX_SECONDS = 3600.0
MIN_BPM, MAX_BPM = 20.0, 999.0


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How a token is drawn from the logits (defaults are AudioCraft's).

    Args:
        temperature: divides the logits; 0 means argmax (greedy).
        top_k: keep the k most probable tokens (ties kept); 0 = off.
        top_p: keep the smallest set with this probability; 0 = off; takes precedence over `top_k`.
        cfg: classifier-free guidance weight in `null + cfg * (cond - null)`; 1 disables guidance.
        cfg_beta: double guidance, weight of text over the audio condition; None = ordinary guidance.
        two_step_cfg: run the two halves of guidance as separate passes, as AudioCraft's option does.
    """

    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 0.0
    cfg: float = 3.0
    cfg_beta: float | None = None
    two_step_cfg: bool = False

    def __post_init__(self) -> None:
        _in_range("temperature", self.temperature, 0.0, 100.0)
        _in_range("top_k", self.top_k, 0, 1_000_000)
        _in_range("top_p", self.top_p, 0.0, 1.0)
        _in_range("cfg", self.cfg, -100.0, 100.0)
        if self.cfg_beta is not None:
            _in_range("cfg_beta", self.cfg_beta, -100.0, 100.0)


def _in_range(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RequestError(f"{name} came as {value!r}, expected a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise RequestError(f"{name} came as {value:g}, expected {low:g} to {high:g}")


@dataclass(frozen=True)
class GenerateRequest:
    """One clip to be made.

    Args:
        text: description; None or "" = unconditional.
        seconds: length of NEW audio; ignored when `bars` is given.
        bars: length of new audio in bars of `beats_per_bar` beats at `bpm`; then `bpm` is needed.
        bpm: tempo in beats (quarter notes) per minute, or None when it is not known.
        beats_per_bar: beats in a bar.
        seed: None = drawn when the generation starts, and recorded in the clip.
        sampling: see `SamplingParams`.
        conditions: value by condition name; a value is a Waveform, a Clip, text, or what the plugin documents.
        condition_options: keyword options by condition name, such as `{"style": {"eval_q": 3}}`.
        guidance: weight by condition name, relative to 1 (see `docs/guidance.md`).
        window_seconds: context window, at most the checkpoint's own; None = the checkpoint's.
        stride_seconds: how far a window advances when the length exceeds it; None = the model's default.
        level_hold: keep the loudness of later windows at that of the first (mends the drift of long generations).
        options: keywords of the model that no other field holds, by the name its family documents
            (`{"decoding_steps": [20, 10, 10, 10]}`, `{"solver": "euler", "steps": 50}`).
        decoder: name of a registered decoder, or None for the codec's own.
        decoder_options: keywords of that decoder (`{"steps": 20}`).
        processors: clip processors that run on the finished clip, in this order: names, pairs of name and options,
            or text (see `soundforge.processing`); kept as pairs.
        noise: float array that replaces the noise drawn from the seed, for models and decoders that start from
            noise; its shape is theirs to say.
        splice: keep the prompt's own samples and crossfade (True), or decode everything afresh (False).
        only_new: leave the prompt out of the clip.
        crossfade_ms: length of the crossfade at a splice.
        tags: free record kept with the clip (live start beat, take id, ...).
    """

    text: str | None = None
    seconds: float | None = None
    bars: float | None = None
    bpm: float | None = None
    beats_per_bar: int = 4
    seed: int | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    condition_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guidance: Mapping[str, float] = field(default_factory=dict)
    window_seconds: float | None = None
    stride_seconds: float | None = None
    level_hold: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    decoder: str | None = None
    decoder_options: Mapping[str, Any] = field(default_factory=dict)
    processors: Any = ()
    noise: Any = None
    splice: bool = False
    only_new: bool = False
    crossfade_ms: float = 10.0
    tags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.text is not None and not isinstance(self.text, str):
            raise RequestError(f"text came as {type(self.text).__name__}, expected a string or None")
        if self.bars is not None:
            _in_range("bars", self.bars, 1 / 64, 10_000)
            if self.bpm is None:
                raise RequestError("bars came without bpm; give bpm=..., or seconds=... instead of bars")
        if self.seconds is not None:
            _in_range("seconds", self.seconds, 0.0, MAX_SECONDS)
        if self.bpm is not None:
            _in_range("bpm", self.bpm, MIN_BPM, MAX_BPM)
        _in_range("beats_per_bar", self.beats_per_bar, 1, 64)
        _in_range("crossfade_ms", self.crossfade_ms, 0.0, 1000.0)
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)
                                      or not -(2**63) <= self.seed < 2**63):
            raise RequestError(f"seed came as {self.seed!r}, expected a whole number of 64 bits or None")
        object.__setattr__(self, "processors", processor_calls(self.processors))
        for name, weight in self.guidance.items():
            _in_range(f"guidance[{name!r}]", weight, -100.0, 100.0)
        if self.new_seconds > MAX_SECONDS:
            raise RequestError(f"{self.new_seconds:g} s were asked for, expected at most {MAX_SECONDS:g}")

    @property
    def new_seconds(self) -> float:
        """Length of the new audio in seconds, from `bars` or `seconds`."""
        if self.bars is not None and self.bpm is not None:
            return self.bars * self.beats_per_bar * 60.0 / self.bpm
        return DEFAULT_SECONDS if self.seconds is None else self.seconds

    def with_seed(self, seed: int) -> GenerateRequest:
        return replace(self, seed=seed)

    def record(self) -> dict[str, Any]:
        """Everything but raw audio, fit for JSON; audio conditions are described by `describe_value`."""
        # The mappings are copied by hand: asdict would deep-copy the audio in them first.
        out: dict[str, Any] = {
            name: getattr(self, name) for name in self.__dataclass_fields__
            if name not in ("sampling", "conditions", "condition_options", "guidance", "tags", "options",
                            "decoder_options", "processors", "noise")
        }
        out["sampling"] = asdict(self.sampling)
        out["conditions"] = {k: describe_value(v) for k, v in self.conditions.items()}
        out["condition_options"] = {k: dict(v) for k, v in self.condition_options.items()}
        out["guidance"] = dict(self.guidance)
        out["tags"] = dict(self.tags)
        out["options"] = {k: describe_value(v) for k, v in self.options.items()}
        out["decoder_options"] = {k: describe_value(v) for k, v in self.decoder_options.items()}
        out["processors"] = [[name, describe_value(options)] for name, options in self.processors]
        out["noise"] = _describe_noise(self.noise)
        return out


def describe_value(value: Any) -> Any:
    """JSON-fit description of a condition's value: text and numbers as they are, audio and files by their hash."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe_value(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): describe_value(v) for k, v in value.items()}
    if isinstance(value, Blend):
        return {"blend": [describe_value(value.a), describe_value(value.b)], "amount": value.amount}
    if isinstance(value, PurePath):
        return _describe_file(value)
    samples = getattr(value, "samples", getattr(value, "waveform", None))
    if samples is not None:
        import hashlib

        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        return {"audio_sha256": digest, "n_samples": int(samples.shape[-1]), "channels": int(samples.shape[0]),
                "sample_rate": int(value.sample_rate)}
    return {"type": type(value).__name__, "repr": repr(value)[:200]}


def _describe_file(path: PurePath) -> dict[str, Any]:
    """A file that a condition reads itself (MIDI): its name, and the hash of what it holds."""
    import hashlib

    try:
        return {"file": path.name, "file_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    except OSError:
        return {"file": path.name}


def _describe_noise(noise: Any) -> dict[str, Any] | None:
    if noise is None:
        return None
    import hashlib

    import numpy as np

    array = np.ascontiguousarray(noise, dtype=np.float32)
    return {"noise_sha256": hashlib.sha256(array.tobytes()).hexdigest(), "shape": list(array.shape)}


class CancelToken:
    """Set from any thread, looked at once per step by the generation.

    Thread-safe: yes. Realtime-safe: yes (one attribute).
    """

    __slots__ = ("_cancelled",)

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Ask the generation to stop at its next step."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise CancelledError("the job was cancelled")


# --- events: from the session to bridges, plugins and the status line -----------------------------------

JobKind = Literal["accepted", "progress", "playing", "done", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something happened to a job. `fraction` 0..1, `beat` on the transport, `seconds` of the clip."""

    kind: JobKind
    job: str
    fraction: float = 0.0
    clip: str = ""
    beat: float = 0.0
    seconds: float = 0.0
    file: str = ""
    what: str = ""


@dataclass(frozen=True, slots=True)
class CaptureEvent:
    """A capture began (`started`) or its take is complete (`take`)."""

    kind: Literal["started", "take"]
    take: str
    seconds: float = 0.0
    peak_db: float = 0.0
    start_beat: float = 0.0


@dataclass(frozen=True, slots=True)
class ClipEvent:
    """A clip exists, was asked about, plays, stopped, or was deleted."""

    kind: Literal["info", "rendered", "playing", "stopped", "deleted"]
    clip: str
    seconds: float = 0.0
    bpm: float = 0.0
    file: str = ""


@dataclass(frozen=True, slots=True)
class TransportEvent:
    """State of the transport: source name, tempo, rolling or not, position in beats."""

    source: str
    bpm: float
    rolling: bool
    beat: float


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """What `/soundforge/status` says; `state` is the first that holds of error, loading, generating,
    capturing, playing, ready. `rtf` = seconds of audio per second of computing in the last job."""

    state: str
    model: str
    queued: int
    rtf: float
    underruns: int
    overruns: int
    dropped: int


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """A line for the user that belongs to no job: device lost, engine restarted, disk full."""

    level: Literal["info", "warning", "error"]
    what: str


@dataclass(frozen=True, slots=True)
class ParamEvent:
    """A parameter has another value, whoever changed it: OSC, MIDI, a model's defaults, panic."""

    name: str
    value: str | float | int | bool


@dataclass(frozen=True, slots=True)
class PadEvent:
    """A pad holds another clip or plays otherwise; `clip` "" = it is free."""

    pad: int
    clip: str
    loop: bool
    gain: float
    mode: str


Event = JobEvent | CaptureEvent | ClipEvent | TransportEvent | StatusEvent | NoticeEvent | ParamEvent | PadEvent
