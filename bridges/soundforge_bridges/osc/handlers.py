"""Behind each OSC address: the session's method, and what is answered.

A handler gets the session, who asked (`origin`, which the session hands back with the job's events), the NAME in the
address where there is one, and the converted arguments. What it gives is sent as reply; jobs answer by events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from soundforge.requests import ClipEvent, Event
from soundforge_bridges.osc.replies import Outgoing, clip_reply, param_reply
from soundforge_bridges.port import SessionPort

Reply = Iterable[Event | Outgoing]
PREFIX = "/soundforge"
PADS = range(1, 17)


def status(session: SessionPort, origin: Any) -> Reply:
    return [session.status()]


def device(session: SessionPort, origin: Any) -> Reply:
    found = session.device()
    return [Outgoing(f"{PREFIX}/device", "siiffsff", (
        found.name, found.rate, found.block, found.input_ms, found.output_ms, found.latency_from, found.clock_ppm,
        found.drift_ppm))]


def param(session: SessionPort, origin: Any, name: str, value: float | str | None) -> Reply:
    # An empty text is a value where the parameter is a text, and "no value" where it is a number.
    if value is not None and (value != "" or isinstance(session.get_param(name), str)):
        session.set_param(name, value)
    return [param_reply(name, session.get_param(name))]


def condition(session: SessionPort, origin: Any, name: str, source: str) -> Reply:
    session.set_condition(name, source)
    return [Outgoing(f"{PREFIX}/condition/{name}", "s", (source,))]


def capture_start(session: SessionPort, origin: Any, take: str) -> Reply:
    session.capture_start(take, origin=origin)
    return ()


def capture_stop(session: SessionPort, origin: Any) -> Reply:
    session.capture_stop()
    return ()


def capture_bars(session: SessionPort, origin: Any, n: int, take: str) -> Reply:
    session.capture_bars(n, take, origin=origin)
    return ()


def continue_(session: SessionPort, origin: Any, take: str, seconds: float | None, job: str) -> Reply:
    session.continue_take(take, seconds, job, origin=origin)
    return ()


def generate(session: SessionPort, origin: Any, text: str | None, seconds: float | None, job: str) -> Reply:
    session.generate(text, seconds, job, origin=origin)
    return ()


def continue_endless(session: SessionPort, origin: Any, take: str, job: str) -> Reply:
    session.continue_take(take, None, job, origin=origin, endless=True)
    return ()


def generate_endless(session: SessionPort, origin: Any, text: str | None, job: str) -> Reply:
    session.generate(text, None, job, origin=origin, endless=True)
    return ()


def regenerate(session: SessionPort, origin: Any, job: str) -> Reply:
    session.regenerate(job, origin=origin)
    return ()


def takeover(session: SessionPort, origin: Any, bars_in: int, bars_out: int, job: str) -> Reply:
    session.takeover(bars_in, bars_out, job, origin=origin)
    return ()


def release(session: SessionPort, origin: Any, job: str) -> Reply:
    session.release(job)
    return ()


def cancel(session: SessionPort, origin: Any, job: str) -> Reply:
    session.cancel(job)
    return ()


def clip_play(session: SessionPort, origin: Any, clip: str, loop: int) -> Reply:
    session.clip_play(clip, loop=bool(loop))
    return [clip_reply(session.clip_info(clip))]


def clip_stop(session: SessionPort, origin: Any, clip: str, on_grid: int) -> Reply:
    session.clip_stop(clip, on_grid=bool(on_grid))
    return [clip_reply(session.clip_info(clip))]


def clip_list(session: SessionPort, origin: Any) -> Reply:
    clips: list[ClipEvent] = list(session.clip_list())
    return [*map(clip_reply, clips), Outgoing(f"{PREFIX}/clip/listed", "i", (len(clips),))]


def clip_info(session: SessionPort, origin: Any, clip: str) -> Reply:
    return [clip_reply(session.clip_info(clip))]


def clip_delete(session: SessionPort, origin: Any, clip: str) -> Reply:
    gone = clip_reply(session.clip_info(clip))  # asked before: afterwards nobody knows it
    session.clip_delete(clip)
    return [gone]


def clip_pad(session: SessionPort, origin: Any, clip: str, pad: int) -> Reply:
    session.clip_pad(clip, pad)
    return [clip_reply(session.clip_info(clip))]


def pad_play(session: SessionPort, origin: Any, pad: int, velocity: float) -> Reply:
    session.play_pad(pad, velocity)
    return [session.pad_info(pad)]


def pad_stop(session: SessionPort, origin: Any, pad: int) -> Reply:
    session.stop_pad(pad)
    return [session.pad_info(pad)]


def pad_set(session: SessionPort, origin: Any, pad: int, loop: int, gain: float, mode: str) -> Reply:
    session.pad_set(pad, bool(loop), gain, mode, origin=origin)
    return ()


def pad_clear(session: SessionPort, origin: Any, pad: int) -> Reply:
    session.clip_pad("", pad, origin=origin)
    return ()


def pad_list(session: SessionPort, origin: Any) -> Reply:
    return [session.pad_info(pad) for pad in PADS]


def transport(session: SessionPort, origin: Any) -> Reply:
    return [session.transport()]


def tempo(session: SessionPort, origin: Any, bpm: float | None) -> Reply:
    if bpm is not None:
        session.set_tempo(bpm)
    return [session.transport()]


def start(session: SessionPort, origin: Any) -> Reply:
    session.transport_start()
    return [session.transport()]


def stop(session: SessionPort, origin: Any) -> Reply:
    session.transport_stop()
    return [session.transport()]


def position(session: SessionPort, origin: Any, beat: float | None) -> Reply:
    if beat is not None:
        session.transport_position(beat)
    return [session.transport()]


def source(session: SessionPort, origin: Any, source: str) -> Reply:
    if source:
        session.transport_source(source)
    return [session.transport()]


def signature(session: SessionPort, origin: Any, beats: int | None, unit: int) -> Reply:
    if beats is not None:
        session.transport_signature(beats, unit)
    return [session.transport()]


def model(session: SessionPort, origin: Any, name: str) -> Reply:
    if name:
        session.load_model(name)
    return [session.status()]


def panic(session: SessionPort, origin: Any) -> Reply:
    session.panic()
    return [session.status()]
