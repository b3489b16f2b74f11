"""The session: what bridges call, and where everything that happens comes together.

All methods belong to the control process's event loop, return without waiting and raise a `SoundForgeError` of one
line on bad input; what takes time is reported by events. Listeners get `(event, origin)`: `origin` is what the
caller of the job or capture gave, or None. The work is done by the parts (`session_*.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from soundforge.claims import Claims
from soundforge.library import Library
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import AudioSetup, DeviceOpened, Happened
from soundforge.live.engine_client import EngineClient
from soundforge.live.engine_protocol import JobFinished
from soundforge.live.latency import DeviceReport, LatencyOf, device_report, reported
from soundforge.live.library_watch import LibraryWatch
from soundforge.live.session_clips import ClipPart
from soundforge.live.session_jobs import JobPart
from soundforge.live.session_model import ModelPart
from soundforge.live.session_pads import PadPart
from soundforge.live.session_params import ParamPart
from soundforge.live.session_room import Listener, Room
from soundforge.live.session_transport import Timeline, TransportDriver, TransportPart
from soundforge.live.transport import Transport
from soundforge.requests import ClipEvent, Event, NoticeEvent, PadEvent, StatusEvent, TransportEvent
from soundforge.tasks import end_task

POLL_SECONDS = 0.01


class Session:
    """See the module.

    Args:
        setup: the audio device.
        engine: the engine, not started yet.
        library: takes and clips.
        model: name of the model that the engine loads first.
        models: folders with further models that `load_model` may be asked for by their last name.
        bpm, beats_per_bar: of the transport at the start.
        tempo_known: somebody chose this tempo; otherwise models may find their own until one is set.
        queue_size: jobs that may wait.
        condition_names: conditions that plugins registered, beside the slots of the model that serves.
        processor_names: clip processors that plugins registered; None = not known, all are taken.
        latency_of: what the latencies of an opened device are.
    """

    def __init__(self, setup: AudioSetup, engine: EngineClient, library: Library, *, model: str = "starter",
                 bpm: float = 120.0, beats_per_bar: int = 4, tempo_known: bool = False, queue_size: int = 8,
                 condition_names: Collection[str] = (), processor_names: Collection[str] | None = None,
                 latency_of: LatencyOf = reported, models: Sequence[str] = ()) -> None:
        self.audio = AudioClient(setup, on_capture=self._captured, on_happened=self._happened,
                                 on_device=self._device_opened, on_trouble=lambda what: self.notice("error", what),
                                 latency_of=latency_of, on_slept=self._slept)
        transport = Transport(setup.rate or 48_000, bpm, numerator=beats_per_bar)
        self.engine, self.library = engine, library
        self.claims = Claims()
        self._room = Room(self.audio, engine, library, transport, tempo_known)
        self.params = self._room.params
        conditions: dict[str, str] = {}
        self._jobs = JobPart(self._room, conditions, queue_size)
        self._captures = self._jobs.captures
        self._clips = ClipPart(self._room, self._jobs.runner)
        self._pads = PadPart(self._room, self._clips)
        self._watch = LibraryWatch(self._room, self._captures.takes)
        self._transport = TransportPart(self._room)
        self._model = ModelPart(self._room, self._jobs, model, models,
                                ready=lambda event: self._params.fit(event.defaults),
                                changed=lambda: self.emit(self.status()))
        self._params = ParamPart(self._room, self._model, self._jobs, self._clips, conditions, condition_names,
                                 processor_names)
        self._poller: asyncio.Task[None] | None = None
        self._drop_counters: list[Callable[[], int]] = []
        self._stopped = False

    # --- life ---

    async def start(self) -> None:
        """Start audio and engine; returns when a device (or its stand-in) runs. The model still loads then."""
        audio = asyncio.create_task(self.audio.start())
        await asyncio.sleep(0)  # its process is begun first: it is the quicker one, and the one that is waited for
        await self.engine.start(self._from_engine)
        await audio
        self._poller = asyncio.create_task(self._poll(), name="session poll")

    async def stop(self) -> None:
        """Fade out, end both processes, finish writing. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        await end_task(self._poller)
        await asyncio.gather(self.audio.stop(), self.engine.stop())
        await self._room.close()

    async def _poll(self) -> None:
        while True:
            self._jobs.runner.poll()
            self._watch.poll()
            await asyncio.sleep(POLL_SECONDS)

    # --- events ---

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """`listener(event, origin)` hears of everything from now on; call what is returned to end that."""
        return self._room.add_listener(listener)

    def add_drop_counter(self, counter: Callable[[], int]) -> Callable[[], None]:
        """`counter()` tells how much a bridge could not take since it started; call what is returned to end that."""
        self._drop_counters.append(counter)
        return lambda: self._drop_counters.remove(counter)

    def emit(self, event: Event, origin: object | None = None) -> None:
        """Tell all listeners."""
        self._room.emit(event, origin)

    def notice(self, level: Literal["info", "warning", "error"], what: str, origin: object | None = None) -> None:
        """A line for the user."""
        self.emit(NoticeEvent(level, what), origin)

    def status(self) -> StatusEvent:
        """How it stands. `underruns` counts streams that ran dry and blocks that the device flagged; `dropped` what the
        bridges could not take."""
        status, runner = self.audio.status, self._jobs.runner
        return StatusEvent(self._state(), self._model.name, runner.book.queued, runner.pace.last_rtf,
                           status.underruns + status.xruns, self.audio.overruns,
                           sum(counter() for counter in self._drop_counters))

    def _state(self) -> str:
        if self._model.state == "error" or self.audio.standing_in:
            return "error"
        if self._model.state == "loading":
            return "loading"
        if self._jobs.runner.book.unfinished():
            return "generating"
        if self._captures.current is not None:
            return "capturing"
        return "playing" if self.audio.status.playing else "ready"

    # --- parameters and conditions ---

    def get_param(self, name: str) -> Any:
        """The value of a parameter; raises RequestError."""
        return self.params.get(name)

    def set_param(self, name: str, value: Any) -> None:
        """Set a parameter; it acts on the next requests and where it can at once. Raises RequestError."""
        self._params.set_param(name, value)

    def set_condition(self, name: str, source: str) -> None:
        """Set a condition to a text, `take:ID`, `clip:ID`, or "" to clear it.

        Raises:
            ConditionError: the model has no slot of that name. LibraryError: no such take or clip.
        """
        self._params.set_condition(name, source)

    # --- capture ---

    def capture_start(self, take: str = "", origin: object | None = None) -> str:
        """Begin to record the input now; gives the take's id. Raises RequestError, LibraryError."""
        return self._captures.start(take, origin)

    def capture_stop(self) -> None:
        """End the capture; the take can be continued at once.

        Raises:
            RequestError: none runs. AudioError: it is too short or silent.
        """
        self._captures.stop()

    def capture_bars(self, n: int, take: str = "", origin: object | None = None) -> str:
        """Record n bars from the next bar line; gives the take's id. Raises RequestError, LibraryError."""
        return self._captures.bars(n, take, origin)

    # --- jobs ---

    def generate(self, text: str | None = None, seconds: float | None = None, job: str = "",
                 origin: object | None = None, *, gain: float = 1.0, endless: bool = False) -> str:
        """Make a clip from a text (None or "": `param/text`); gives the job's id.

        Args:
            gain: of its sound, 0 to 4; the clip is kept at full level.
            endless: until `release`; `seconds` is not looked at.

        Raises:
            RequestError, QueueFullError.
        """
        return self._jobs.generate(text, seconds, job, origin, gain, endless)

    def continue_take(self, take: str = "", seconds: float | None = None, job: str = "",
                      origin: object | None = None, *, gain: float = 1.0, endless: bool = False) -> str:
        """Go on from a take (default: the last); gives the job's id. `gain`, `endless`: as of `generate`.

        Raises:
            RequestError: there is no take, or a bad length or id. LibraryError: unknown take. QueueFullError.
        """
        return self._jobs.continue_take(take, seconds, job, origin, gain, endless)

    def regenerate(self, job: str = "", origin: object | None = None, *, gain: float = 1.0) -> str:
        """The last continuation once more from the same prompt, with another seed. Raises as `continue_take`."""
        return self._jobs.regenerate(job, origin, gain)

    def takeover(self, bars_in: int, bars_out: int = 0, job: str = "", origin: object | None = None, *,
                 gain: float = 1.0) -> str:
        """Record bars from the next bar line and go on without a gap; bars_out 0 = until `release`.

        Raises:
            RequestError: bad numbers or id, the transport stands, or something is being captured. QueueFullError.
        """
        return self._jobs.takeover(bars_in, bars_out, job, origin, gain)

    def release(self, job: str = "") -> None:
        """End one endless job ("": all of them) on the grid. Raises RequestError when there is none."""
        self._jobs.release(job)

    def cancel(self, job: str) -> None:
        """Cancel one job, or "*" all of them: generation, and what of it sounds. Raises RequestError."""
        self._jobs.cancel(job)

    # --- clips ---

    def clip_play(self, clip: str, loop: bool = False, gain: float = 1.0) -> None:
        """Play a clip at the next quantum. Raises LibraryError, RequestError."""
        self._clips.play(clip, loop, gain, retrigger=False)

    def clip_stop(self, clip: str, on_grid: bool = False) -> None:
        """Stop a clip, be it played from the library or streamed by the job that makes it, now or at the next quantum.
        Raises LibraryError."""
        self._clips.stop(clip, on_grid)

    def clip_list(self) -> list[ClipEvent]:
        """All clips, oldest first."""
        return self._clips.list()

    def clip_info(self, clip: str) -> ClipEvent:
        """One clip. Raises LibraryError."""
        return self._clips.info(clip)

    def clip_delete(self, clip: str) -> None:
        """Delete a clip and its file; it stops first. Raises LibraryError."""
        self._clips.delete(clip)

    def clip_pad(self, clip: str, pad: int, origin: object | None = None) -> None:
        """Put a clip on a pad ("" frees it); a `PadEvent` follows. Raises LibraryError, RequestError."""
        self._pads.put(pad, clip, origin)

    # --- pads ---

    def play_pad(self, pad: int, velocity: float = 1.0) -> None:
        """Press a pad: its clip starts at the next quantum, or stops where its mode says so. `velocity` 0..1 scales its
        gain. Raises RequestError, LibraryError."""
        self._pads.press(pad, velocity)

    def release_pad(self, pad: int) -> None:
        """Let a pad go: one with the mode `gate` stops at the next quantum. Raises LibraryError."""
        self._pads.let_go(pad)

    def stop_pad(self, pad: int) -> None:
        """Stop a pad's clip at the next quantum. Raises RequestError, LibraryError."""
        self._pads.stop(pad)

    def pad_set(self, pad: int, loop: bool = False, gain: float = 1.0, mode: str = "retrigger",
                origin: object | None = None) -> None:
        """How a pad plays (`soundforge.library.Pad`); a `PadEvent` follows. Raises LibraryError."""
        self._pads.set(pad, loop, gain, mode, origin)

    def pad_info(self, pad: int) -> PadEvent:
        """One pad. Raises LibraryError."""
        return self._pads.event(pad)

    # --- transport ---

    def transport_now(self) -> Transport:
        """The transport as a value."""
        return self._room.transport

    @property
    def source(self) -> str:
        """What drives the transport."""
        return self._transport.source

    def transport(self) -> TransportEvent:
        """Source, tempo, rolling or not, and the beat now."""
        return self._transport.event()

    def set_tempo(self, bpm: float) -> None:
        """Another tempo from now on. Raises RequestError."""
        self._transport.set_tempo(bpm)

    def transport_start(self) -> None:
        """Roll; does nothing when it rolls."""
        self._transport.start()

    def transport_stop(self) -> None:
        """Stand still; what plays plays on."""
        self._transport.stop()

    def transport_position(self, beat: float) -> None:
        """Go to a beat. Raises RequestError."""
        self._transport.locate(beat)

    def transport_signature(self, numerator: int, denominator: int = 4) -> None:
        """Another time signature. Raises RequestError."""
        self._transport.set_signature(numerator, denominator)

    def transport_source(self, name: str) -> None:
        """Choose what drives the transport. Raises RequestError for one that is not there."""
        self._transport.choose(name)

    def timeline(self) -> Timeline:
        """The transport against `time.perf_counter()`: which beat is heard when. Thread-safe."""
        return self._transport.timeline()

    def device(self) -> DeviceReport:
        """The device that runs: its rate and block, its latencies and who says so, and how the clocks drift."""
        return device_report(self.audio)

    @property
    def output_delay_seconds(self) -> float:
        """From giving a sound out to hearing it."""
        return self.audio.latency.output_seconds

    def add_transport_source(self, name: str, driver: TransportDriver | None = None) -> None:
        """A bridge can drive the transport under this name; it calls `follow` while it is chosen.

        Args:
            driver: is told when it is chosen, and asked for what users ask of the transport; None = those changes
                are made here, and stay until the source says otherwise.
        """
        self._transport.add_source(name, driver)

    def follow(self, source: str, *, bpm: float, beat: float, rolling: bool, at_seconds: float,
               tell: bool = True, signature: tuple[int, int, float] | None = None) -> None:
        """What a source knows: at `at_seconds` (time.perf_counter) `beat` is heard. Ignored unless it is chosen.

        Args:
            signature: numerator, denominator and a beat on which a bar begins, where the source knows them.

        Raises:
            RequestError: tempo, beat or signature out of range.
        """
        self._transport.follow(source, bpm, beat, rolling, at_seconds, tell, signature)

    # --- all at once ---

    def load_model(self, name: str) -> None:
        """Load another model while the sound goes on; the status follows. Of several that are asked for meanwhile the
        last one comes next. Raises RequestError."""
        self._model.load(name)

    def panic(self) -> None:
        """Everything silent at once, jobs cancelled, capture dropped."""
        self.audio.panic()
        self.set_param("monitor", False)
        self._jobs.cancel("*")
        self._clips.player.stop_all()
        self._captures.abandon()

    def silence(self) -> None:
        """Stop the sound; jobs and captures go on."""
        self._jobs.runner.voices.silence()
        self._clips.player.stop_all()

    # --- what happens elsewhere ---

    def _from_engine(self, event: object) -> None:
        """At the end the voices may be gone before the engine is: only a clip that is complete is still kept then."""
        if not self._stopped:
            self._model.on_engine(event)
        elif isinstance(event, JobFinished):
            job = self._jobs.runner.book.find(event.job)
            if job is not None and not job.failure:
                self._jobs.save(job, event)

    def _slept(self, seconds: float) -> None:
        self.notice("warning", f"the machine slept, or stood still, for {seconds:.1f} s; the music goes on from where "
                               "it was, and a clock that is followed leads it on when it speaks again")
        self._room.retime()

    def _captured(self, position: int, block: Any) -> None:
        self._captures.feed(position, block)

    def _happened(self, what: Happened, voice: int, position: int, token: int) -> None:
        if not self._jobs.runner.on_happened(what, position, token):
            self._clips.on_happened(what, voice, token)

    def _device_opened(self, opened: DeviceOpened) -> None:
        again = self.audio.restarts > 0
        same_rate = self._transport.device_opened(opened.rate, first=not again)
        if not same_rate:
            self._clips.player.forget_clips()
        if again:
            self._clips.device_restarted()
            self._jobs.runner.device_restarted(same_rate)
            if not self.audio.standing_in:
                self.notice("info", f"the audio device {opened.name!r} runs")
        self.audio.set_master(self.params.number("gain"))
        self._jobs.restore_monitor()
        self._jobs.runner.dispatch()
