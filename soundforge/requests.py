"""What is asked for, as frozen values that cross threads and processes.

A request carries everything that makes a clip (text, conditions, sampling, seed, length); nothing is set
on a model object, so two requests in flight cannot mix. What is reported (`events`), asking to stop
(`cancel_token`) and how values are recorded (`request_record`) have modules of their own, and can be had from here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from soundforge.cancel_token import CancelToken
from soundforge.errors import InputError, RequestError
from soundforge.events import (
    CaptureEvent,
    ClipEvent,
    Event,
    JobEvent,
    JobKind,
    NoticeEvent,
    PadEvent,
    ParamEvent,
    StatusEvent,
    TransportEvent,
)
from soundforge.processing import processor_calls
from soundforge.request_record import describe_noise, describe_value

__all__ = [
    "DEFAULT_SECONDS", "MAX_BPM", "MAX_SECONDS", "MIN_BPM", "CancelToken", "CaptureEvent", "ClipEvent", "Event",
    "GenerateRequest", "JobEvent", "JobKind", "NoticeEvent", "PadEvent", "ParamEvent", "SamplingParams", "StatusEvent",
    "TempoChange", "TransportEvent", "check_number", "describe_value",
]

DEFAULT_SECONDS = 8.0
MAX_SECONDS = 3600.0
MIN_BPM, MAX_BPM = 20.0, 999.0
LARGEST = sys.float_info.max


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
        check_number("temperature", self.temperature, 0.0, 100.0)
        check_number("top_k", self.top_k, 0, 1_000_000)
        check_number("top_p", self.top_p, 0.0, 1.0)
        check_number("cfg", self.cfg, -100.0, 100.0)
        if self.cfg_beta is not None:
            check_number("cfg_beta", self.cfg_beta, -100.0, 100.0)


@dataclass(frozen=True, slots=True)
class TempoChange:
    """Another tempo while a generation runs. What runs at a tempo of its own keeps it.

    Args:
        bpm: from now on.
        before: the tempo that changes.
        ahead_seconds: how long before it is heard the generation makes its sound. Beats go on without a jump where the
            change is heard; what is made already is at the old tempo.
    """

    bpm: float
    before: float
    ahead_seconds: float = 0.0

    def __post_init__(self) -> None:
        check_number("bpm", self.bpm, MIN_BPM, MAX_BPM)


def check_number(name: str, value: Any, low: float, high: float, *, whole: bool = False,
                 error: type[InputError] = RequestError) -> None:
    """Raise `error` unless `value` is a number from `low` to `high`; `whole` = of type int."""
    kind = "a whole number" if whole else "a number"
    right = isinstance(value, int) if whole else isinstance(value, (int, float)) and abs(value) <= LARGEST  # NaN is not
    if isinstance(value, bool) or not right or (whole and not low <= value <= high):
        raise error(f"{name} came as {repr(value)[:60]}, expected {kind} from {low:g} to {high:g}")
    if not low <= value <= high:
        raise error(f"{name} came as {value:g}, expected {low:g} to {high:g}")


@dataclass(frozen=True)
class GenerateRequest:
    """One clip to be made.

    Args:
        text: description; None or "" = unconditional.
        seconds: length of NEW audio; ignored when `bars` is given.
        bars: length of new audio in bars of `beats_per_bar` beats at `bpm`; then `bpm` is needed.
        loop: `bars` that will be played round and round: what would have followed the last bar line fades into the
            first 10 ms, so the loop has no seam. For clips without their prompt; streams know no end beforehand.
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
    loop: bool = False
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
            check_number("bars", self.bars, 1 / 64, 10_000)
            if self.bpm is None:
                raise RequestError("bars came without bpm; give bpm=..., or seconds=... instead of bars")
        if self.loop and self.bars is None:
            raise RequestError("loop came without bars; give bars=... and bpm=..., or leave loop out")
        if self.seconds is not None:
            check_number("seconds", self.seconds, 0.0, MAX_SECONDS)
        if self.bpm is not None:
            check_number("bpm", self.bpm, MIN_BPM, MAX_BPM)
        check_number("beats_per_bar", self.beats_per_bar, 1, 64)
        check_number("crossfade_ms", self.crossfade_ms, 0.0, 1000.0)
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)
                                      or not -(2**63) <= self.seed < 2**63):
            raise RequestError(f"seed came as {self.seed!r}, expected a whole number of 64 bits or None")
        object.__setattr__(self, "processors", processor_calls(self.processors))
        if not isinstance(self.guidance, Mapping):
            raise RequestError(f"guidance came as {type(self.guidance).__name__}, expected a mapping such as "
                               "{'text': 2}")
        for name, weight in self.guidance.items():
            check_number(f"guidance[{name!r}]", weight, -100.0, 100.0)
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
        out["noise"] = describe_noise(self.noise)
        return out
