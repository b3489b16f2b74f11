"""What is reported: events from the session to bridges, plugins and the status line, as frozen values.

They cross threads and processes; whoever listens gets them on the control process's event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
