"""What SoundForge sends over OSC: every address once, and the way from an event to a message."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pythonosc.osc_message_builder import OscMessageBuilder

from soundforge.requests import (
    CaptureEvent,
    ClipEvent,
    Event,
    JobEvent,
    NoticeEvent,
    PadEvent,
    ParamEvent,
    StatusEvent,
    TransportEvent,
)

MAX_TEXT_BYTES = 4000
_FLOAT32_MAX = 3.4028234663852886e38


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent: address, type tags (i, h, f, s) and as many values."""

    address: str
    tags: str
    values: tuple[Any, ...]

    def encode(self) -> bytes:
        """The datagram. Values are forced into their types: an answer must never fail to be sent."""
        builder = OscMessageBuilder(self.address)
        for tag, value in zip(self.tags, self.values, strict=True):
            if tag == "s":
                builder.add_arg(_text(value), "s")
            elif tag in "ih":
                limit = 2**31 if tag == "i" else 2**63
                builder.add_arg(max(-limit, min(limit - 1, int(value))), tag)
            else:
                number = float(value)
                builder.add_arg(0.0 if math.isnan(number) else max(-_FLOAT32_MAX, min(_FLOAT32_MAX, number)), "f")
        datagram: bytes = builder.build().dgram
        return datagram


REPLIES: dict[str, tuple[str, str]] = {
    "/soundforge/pong": ("...", "Answer to ping, with its arguments."),
    "/soundforge/commands": ("s:address s:arguments s:reply s:doc", "One row of the table of addresses."),
    "/soundforge/subscribed": ("i:port", "A subscription stands; the status follows."),
    "/soundforge/unsubscribed": ("i:port", "A subscription ended, by wish, by age, or because too many came after it."),
    "/soundforge/status": ("s:state s:model i:queued f:rtf i:underruns i:overruns i:dropped",
                           "`rtf` = seconds of audio made per second of computing; `dropped` = packets not read."),
    "/soundforge/device": ("s:name i:rate i:block f:input_ms f:output_ms s:latency_from f:clock_ppm f:drift_ppm",
                           "`latency_from` = reported (the driver says so), calibrated (measured) or settings; "
                           "`clock_ppm` = how much faster than nominal the device runs by the machine's clock, "
                           "`drift_ppm` = the input device against the output device, where they are two."),
    "/soundforge/param/NAME": ("value", "A parameter's value."),
    "/soundforge/condition/NAME": ("s:source", "A condition's source."),
    "/soundforge/capture/started": ("s:take", "Recording has begun."),
    "/soundforge/take": ("s:take f:seconds f:peak_db", "A take is complete."),
    "/soundforge/job/accepted": ("s:id", "The job waits or runs."),
    "/soundforge/job/progress": ("s:id f:fraction", "How much is done, 0 to 1."),
    "/soundforge/job/playing": ("s:id s:clip f:beat", "Its sound starts at this beat."),
    "/soundforge/job/done": ("s:id s:clip f:seconds s:file", "The clip is complete and on disk."),
    "/soundforge/job/error": ("s:id s:what", "The job failed."),
    "/soundforge/job/cancelled": ("s:id", "The job was cancelled."),
    "/soundforge/clip": ("s:clip f:seconds f:bpm s:file", "A clip exists, or was asked about; bpm 0 = not known."),
    "/soundforge/clip/listed": ("i:count", "End of the answer to `/soundforge/clip/list`."),
    "/soundforge/clip/playing": ("s:clip", "A clip has started to sound."),
    "/soundforge/clip/stopped": ("s:clip", "A clip has ended."),
    "/soundforge/clip/deleted": ("s:clip", "A clip is gone."),
    "/soundforge/pad": ("i:pad s:clip i:loop f:gain s:mode", "What is on a pad, and how it plays; clip empty = free."),
    "/soundforge/transport": ("s:source f:bpm i:rolling f:beat", "The transport."),
    "/soundforge/notice": ("s:level s:what", "Something that belongs to no job: device lost, engine restarted."),
    "/soundforge/error": ("s:address s:what", "What came, what was expected, what to do."),
}
"""Address to (arguments, meaning) of everything that is ever sent."""

_JOB = {"accepted": ("s", ("job",)), "progress": ("sf", ("job", "fraction")),
        "playing": ("ssf", ("job", "clip", "beat")), "done": ("ssfs", ("job", "clip", "seconds", "file")),
        "error": ("ss", ("job", "what")), "cancelled": ("s", ("job",))}


def from_event(event: Event) -> Outgoing:
    """The message that tells of an event."""
    if isinstance(event, JobEvent):
        tags, names = _JOB[event.kind]
        return Outgoing(f"/soundforge/job/{event.kind}", tags, tuple(getattr(event, name) for name in names))
    if isinstance(event, CaptureEvent):
        if event.kind == "started":
            return Outgoing("/soundforge/capture/started", "s", (event.take,))
        return Outgoing("/soundforge/take", "sff", (event.take, event.seconds, event.peak_db))
    if isinstance(event, ClipEvent):
        if event.kind in ("info", "rendered"):
            return clip_reply(event)
        return Outgoing(f"/soundforge/clip/{event.kind}", "s", (event.clip,))
    if isinstance(event, TransportEvent):
        return Outgoing("/soundforge/transport", "sfif", (event.source, event.bpm, event.rolling, event.beat))
    if isinstance(event, StatusEvent):
        return Outgoing("/soundforge/status", "ssifiii", (event.state, event.model, event.queued, event.rtf,
                                                          event.underruns, event.overruns, event.dropped))
    if isinstance(event, ParamEvent):
        return param_reply(event.name, event.value)
    if isinstance(event, PadEvent):
        return Outgoing("/soundforge/pad", "isifs", (event.pad, event.clip, event.loop, event.gain, event.mode))
    return notice(event)


def notice(event: NoticeEvent) -> Outgoing:
    return Outgoing("/soundforge/notice", "ss", (event.level, event.what))


def clip_reply(event: ClipEvent) -> Outgoing:
    return Outgoing("/soundforge/clip", "sffs", (event.clip, event.seconds, event.bpm, event.file))


def param_reply(name: str, value: float | str) -> Outgoing:
    """A text as `s`, whole numbers as `i`, others as `f`."""
    whole = "i" if isinstance(value, int) and -(2**31) <= value < 2**31 else "h"  # a seed may have 53 bits
    tag = "s" if isinstance(value, str) else whole if isinstance(value, int) else "f"
    return Outgoing(f"/soundforge/param/{name}", tag, (value,))


def error_reply(address: str, what: str) -> Outgoing:
    return Outgoing("/soundforge/error", "ss", (address, what))


def _text(value: Any) -> str:
    """One OSC string: no zero inside, valid UTF-8, and short enough for any datagram."""
    data = str(value).replace("\0", " ").encode("utf-8", "replace")[:MAX_TEXT_BYTES]
    return data.decode("utf-8", "ignore")
