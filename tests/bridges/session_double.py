"""A small session in memory: real state, real checks, no audio. What bridges are driven against in fast tests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from soundforge import LibraryError, RequestError
from soundforge.claims import Claims
from soundforge.live.clock_line import ClockLine
from soundforge.live.latency import DeviceReport
from soundforge.live.session_transport import Timeline
from soundforge.live.transport import Transport
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

NUMBERS = {"seconds": 8.0, "bars": 0, "temperature": 1.0, "top_k": 250, "top_p": 0.0, "cfg": 3.0, "seed": -1,
           "gain": 1.0, "quantum": 4.0, "crossfade_ms": 10.0, "monitor": 0, "autoplay": 1}


class MemorySession:
    """Keeps parameters, clips and jobs; tells its listeners; `calls` holds every call that changed something."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.params: dict[str, float | str] = {"text": "", **NUMBERS}
        self.clips: dict[str, ClipEvent] = {}
        self.pads: dict[int, str] = {}
        self.library = self
        self.claims = Claims()
        self.listeners: list[Callable[[Event, Any], None]] = []
        self.beat = TransportEvent("internal", 120.0, True, 0.0)
        self.jobs = 0
        self.capturing = ""
        self.takes = 0
        self.sources = {"internal"}
        self.followed: list[tuple[Any, ...]] = []
        self.signatures: list[tuple[int, int, float] | None] = []
        self.began = time.perf_counter()
        self.drop_counters: list[Callable[[], int]] = []
        self.pad_options: dict[int, tuple[bool, float, str]] = {}
        self.gains: list[float] = []

    def emit(self, event: Event, origin: Any = None) -> None:
        for listener in list(self.listeners):
            listener(event, origin)

    def notice(self, level: str, what: str, origin: Any = None) -> None:
        self.emit(NoticeEvent(level, what), origin)  # type: ignore[arg-type]

    def add_listener(self, listener: Callable[[Event, Any], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def add_drop_counter(self, counter: Callable[[], int]) -> Callable[[], None]:
        self.drop_counters.append(counter)
        return lambda: self.drop_counters.remove(counter)

    @property
    def source(self) -> str:
        return self.beat.source

    def status(self) -> StatusEvent:
        dropped = 4 + sum(counter() for counter in self.drop_counters)
        return StatusEvent("capturing" if self.capturing else "ready", "tiny", 0, 1.5, 2, 3, dropped)

    def device(self) -> DeviceReport:
        return DeviceReport("card", 48_000, 256, 5.5, 7.25, "calibrated", -12.5, 3.0)

    def get_param(self, name: str) -> float | str:
        if name.startswith("guidance/"):
            return self.params.get(name, 1.0)
        if name not in self.params:
            raise RequestError(f"param came as {name!r}, expected one of {', '.join(self.params)}")
        return self.params[name]

    def set_param(self, name: str, value: float | str) -> None:
        old = self.get_param(name)
        if isinstance(old, str) != isinstance(value, str):
            raise RequestError(f"{name} came as {value!r}, expected {'a text' if isinstance(old, str) else 'a number'}")
        if isinstance(value, float) and (not math.isfinite(value) or abs(value) > 1e6):
            raise RequestError(f"{name} came as {value:g}, expected -1000000 to 1000000")
        self.params[name] = value
        self.calls.append(("set_param", name, value))
        if value != old:
            self.emit(ParamEvent(name, value))

    def set_condition(self, name: str, source: str) -> None:
        self.calls.append(("set_condition", name, source))

    def capture_start(self, take: str = "", origin: Any = None) -> None:
        self.calls.append(("capture_start", take))
        self.takes += 1
        self.capturing = take or f"take-{self.takes:04d}"
        self.emit(CaptureEvent("started", self.capturing), origin)

    def capture_stop(self) -> None:
        if not self.capturing:
            raise RequestError("capture/stop came and nothing is captured; send /soundforge/capture/start first")
        self.calls.append(("capture_stop",))
        take, self.capturing = self.capturing, ""
        self.emit(CaptureEvent("take", take, 2.5, -6.25))

    def capture_bars(self, n: int, take: str = "", origin: Any = None) -> None:
        self.calls.append(("capture_bars", n, take))
        self.emit(CaptureEvent("started", take), origin)

    def _job(self, call: tuple[Any, ...], job: str, origin: Any, gain: float, endless: bool = False) -> str:
        self.calls.append((*call, "endless") if endless else call)
        self.gains.append(gain)
        self.jobs += 1
        name = job or f"job-{self.jobs}"
        self.emit(JobEvent("accepted", name), origin)
        return name

    def continue_take(self, take: str = "", seconds: float | None = None, job: str = "", origin: Any = None, *,
                      gain: float = 1.0, endless: bool = False) -> str:
        return self._job(("continue_take", take, seconds, job), job, origin, gain, endless)

    def generate(self, text: str | None = None, seconds: float | None = None, job: str = "", origin: Any = None, *,
                 gain: float = 1.0, endless: bool = False) -> str:
        return self._job(("generate", text, seconds, job), job, origin, gain, endless)

    def regenerate(self, job: str = "", origin: Any = None, *, gain: float = 1.0) -> str:
        return self._job(("regenerate", job), job, origin, gain)

    def takeover(self, bars_in: int, bars_out: int = 0, job: str = "", origin: Any = None, *,
                 gain: float = 1.0) -> str:
        return self._job(("takeover", bars_in, bars_out, job), job, origin, gain)

    def release(self, job: str = "") -> None:
        self.calls.append(("release", job) if job else ("release",))

    def cancel(self, job: str) -> None:
        self.calls.append(("cancel", job))
        self.emit(JobEvent("cancelled", job))

    def add_clip(self, clip: str) -> None:
        self.clips[clip] = ClipEvent("info", clip, 4.5, 93.0, f"/library/{clip}.wav")

    def clip_info(self, clip: str) -> ClipEvent:
        if clip not in self.clips:
            raise LibraryError(f"clip came as {clip!r}, which is not in the library; there are no clips yet")
        return self.clips[clip]

    def clip_play(self, clip: str, loop: bool = False, gain: float = 1.0) -> None:
        self.clip_info(clip)
        self.calls.append(("clip_play", clip, loop, gain))
        self.emit(replace(self.clips[clip], kind="playing"))

    def clip_stop(self, clip: str, on_grid: bool = False) -> None:
        self.clip_info(clip)
        self.calls.append(("clip_stop", clip, "on_grid") if on_grid else ("clip_stop", clip))

    def clip_list(self) -> list[ClipEvent]:
        return list(self.clips.values())

    def clip_delete(self, clip: str) -> None:
        self.clip_info(clip)
        del self.clips[clip]
        self.calls.append(("clip_delete", clip))

    def clip_pad(self, clip: str, pad: int, origin: Any = None) -> None:
        if clip:
            self.clip_info(clip)
            self.pads[pad] = clip
        else:
            self.pads.pop(pad, None)
        self.calls.append(("clip_pad", clip, pad))
        self.emit(self.pad_info(pad), origin)

    def release_pad(self, pad: int) -> None:
        self.calls.append(("release_pad", pad))

    def stop_pad(self, pad: int) -> None:
        self.calls.append(("stop_pad", pad))

    def pad_set(self, pad: int, loop: bool = False, gain: float = 1.0, mode: str = "retrigger",
                origin: Any = None) -> None:
        if mode not in ("retrigger", "toggle", "gate"):
            raise LibraryError(f"a pad's mode came as {mode!r}, expected one of retrigger, toggle, gate")
        self.pad_options[pad] = (loop, gain, mode)
        self.emit(self.pad_info(pad), origin)

    def pad_info(self, pad: int) -> PadEvent:
        return PadEvent(pad, self.pads.get(pad, ""), *self.pad_options.get(pad, (False, 1.0, "retrigger")))

    def play_pad(self, pad: int, velocity: float = 1.0) -> None:
        if pad not in self.pads:
            raise LibraryError(f"pad {pad} is empty; put a clip on it with /soundforge/clip/pad")
        self.calls.append(("play_pad", pad, velocity))

    def transport(self) -> TransportEvent:
        return self.beat

    def _transport(self, call: tuple[Any, ...], **changes: Any) -> None:
        self.calls.append(call)
        self.beat = replace(self.beat, **changes)
        self.emit(self.beat)

    def set_tempo(self, bpm: float) -> None:
        self._transport(("set_tempo", bpm), bpm=bpm)

    def transport_start(self) -> None:
        self._transport(("transport_start",), rolling=True)

    def transport_stop(self) -> None:
        self._transport(("transport_stop",), rolling=False)

    def transport_position(self, beat: float) -> None:
        self._transport(("transport_position", beat), beat=beat)

    def transport_source(self, source: str) -> None:
        if source not in ("internal", "midi", "link", "jack"):
            raise RequestError(f"source came as {source!r}, expected internal, midi, link or jack")
        self._transport(("transport_source", source), source=source)

    def transport_signature(self, numerator: int, denominator: int = 4) -> None:
        self._transport(("transport_signature", numerator, denominator))

    output_delay_seconds = 0.0

    def timeline(self) -> Timeline:
        transport = Transport(48_000, self.beat.bpm, self.beat.rolling)
        return Timeline(transport, ClockLine(0.0, self.began, 48_000.0))

    def add_transport_source(self, name: str, driver: Any = None) -> None:
        self.sources.add(name)

    def follow(self, source: str, *, bpm: float, beat: float, rolling: bool, at_seconds: float,
               tell: bool = True, signature: tuple[int, int, float] | None = None) -> None:
        if not 20 <= bpm <= 999:
            raise RequestError(f"tempo came as {bpm:g}, expected 20 to 999 beats per minute")
        self.followed.append((source, bpm, beat, rolling, at_seconds, tell))
        self.signatures.append(signature)

    def load_model(self, name: str) -> None:
        self.calls.append(("load_model", name))

    def panic(self) -> None:
        self.calls.append(("panic",))

    def silence(self) -> None:
        self.calls.append(("silence",))
