"""The session: what bridges call, and where everything that happens comes together.

All methods belong to the control process's event loop, return without waiting and raise a `SoundForgeError` of one
line on bad input; what takes time is reported by events. Listeners get `(event, origin)`: `origin` is what the
caller of the job or capture gave, or None.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from soundforge.audio import Waveform, peak_db
from soundforge.errors import ConditionError, RequestError, SoundForgeError
from soundforge.library import PADS, Library
from soundforge.library_ids import check_id
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import NOW, AudioSetup, DeviceOpened, Happened
from soundforge.live.capture import OPEN_END, Block, Capture, Recorder, check_take, clipped_samples
from soundforge.live.clip_player import ClipPlayer
from soundforge.live.engine_client import EngineClient
from soundforge.live.engine_protocol import (
    EngineFailed,
    EngineLoading,
    EngineLost,
    EngineReady,
    JobFinished,
    LoadModel,
    PromptFailed,
    UpdateJob,
)
from soundforge.live.job_runner import JobRunner
from soundforge.live.jobs import Job
from soundforge.live.params import ParamValues
from soundforge.live.request_builder import build_request, sampling_from
from soundforge.live.take_store import TakeStore
from soundforge.live.transport import Transport
from soundforge.requests import (
    CaptureEvent,
    ClipEvent,
    Event,
    GenerateRequest,
    JobEvent,
    NoticeEvent,
    StatusEvent,
    TransportEvent,
)
from soundforge.tempo import estimate_tempo

Listener = Callable[[Event, object | None], None]

POLL_SECONDS = 0.01
MONITOR_SECONDS = 0.01
SAMPLING = ("temperature", "top_k", "top_p", "cfg")
HEARD_CONFIDENCE, SAME_TEMPO = 0.3, 0.02
AUDIO_SOURCES = ("take:", "clip:")


def tempo_of(wave: Waveform, transport_bpm: float) -> float:
    """The tempo to write into a file when nobody chose one: what is heard, else the transport's. Blocks."""
    heard = estimate_tempo(wave.samples.mean(axis=0), wave.sample_rate)
    if heard.confidence < HEARD_CONFIDENCE or abs(heard.bpm / transport_bpm - 1.0) < SAME_TEMPO:
        return transport_bpm
    return round(heard.bpm, 2)


class Session:
    """See the module.

    Args:
        setup: the audio device.
        engine: the engine, not started yet.
        library: takes and clips.
        model: name of the model that the engine loads first.
        bpm, beats_per_bar: of the transport at the start.
        tempo_known: somebody chose this tempo; otherwise models may find their own until one is set.
        queue_size: jobs that may wait.
        condition_names: conditions that plugins registered, beside the slots of the model that serves.
    """

    def __init__(self, setup: AudioSetup, engine: EngineClient, library: Library, *, model: str = "starter",
                 bpm: float = 120.0, beats_per_bar: int = 4, tempo_known: bool = False, queue_size: int = 8,
                 condition_names: Collection[str] = ()) -> None:
        self.library = library
        self.params = ParamValues()
        self.engine = engine
        self._model, self._engine_state = model, "loading"
        self._slots: tuple[str, ...] = ()
        self._condition_names = tuple(condition_names)
        self._conditions: dict[str, str] = {}
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._disk = ThreadPoolExecutor(1, "soundforge disk")
        self._reader = ThreadPoolExecutor(1, "soundforge reader")
        self.audio = AudioClient(setup, on_capture=self._captured, on_happened=self._happened,
                                 on_device=self._device_opened, on_trouble=self._device_trouble)
        self._transport = Transport(setup.rate or 48_000, bpm, numerator=beats_per_bar)
        self._source = "internal"
        self._sources = {"internal"}
        self._tempo_known = tempo_known
        self.runner = JobRunner(self.audio, engine.send, self, queue_size)
        self.takes = TakeStore(library, self._reader, engine.send)
        self.recorder = Recorder(self._capture_started, self.takes.feed, self._capture_complete)
        self.player = ClipPlayer(self.audio, library, self._reader, self.runner.book.next_token, self._launch_position)
        self._saving: set[str] = set()
        self._deleting: set[str] = set()
        self._last_continue: Job | None = None
        self._poller: asyncio.Task[None] | None = None
        self._takeover: Job | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0
        self._stopped = False

    # --- life ---

    async def start(self) -> None:
        """Start audio and engine; returns when a device (or its stand-in) runs. The model still loads then."""
        await self.engine.start(self._on_engine)
        await self.audio.start()
        self._poller = asyncio.create_task(self._poll(), name="session poll")

    async def stop(self) -> None:
        """Fade out, end both processes, finish writing. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        await self.audio.stop()
        await self.engine.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10.0)
        self._disk.shutdown()
        self._reader.shutdown()

    async def _poll(self) -> None:
        while True:
            self.runner.poll()
            await asyncio.sleep(POLL_SECONDS)

    # --- events ---

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """`listener(event, origin)` hears of everything from now on; call what is returned to end that."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def emit(self, event: Event, origin: object | None = None) -> None:
        """Tell all listeners. One that raises is told on as a notice and the others are served."""
        for listener in list(self._listeners):
            try:
                listener(event, origin)
            except Exception as error:
                if isinstance(event, NoticeEvent):
                    raise  # a listener that cannot take notices would be told about itself for ever
                self.emit(NoticeEvent("error", f"a listener failed on {type(event).__name__}: {error!r}"))

    def notice(self, level: Any, what: str, origin: object | None = None) -> None:
        """A line for the user."""
        self.emit(NoticeEvent(level, what), origin)

    def status(self) -> StatusEvent:
        """How it stands; `underruns` counts streams that ran dry and blocks that the device flagged."""
        status = self.audio.status
        return StatusEvent(self._state(), self._model, self.runner.book.queued, self.runner.last_rtf,
                           status.underruns + status.xruns, self.audio.overruns, self.dropped)

    def _state(self) -> str:
        if self._engine_state == "error" or self.audio.standing_in:
            return "error"
        if self._engine_state == "loading":
            return "loading"
        if self.runner.book.unfinished():
            return "generating"
        if self.recorder.current is not None:
            return "capturing"
        return "playing" if self.audio.status.playing else "ready"

    # --- parameters and conditions ---

    def get_param(self, name: str) -> Any:
        """The value of a parameter; raises RequestError."""
        return self.params.get(name)

    def set_param(self, name: str, value: Any) -> None:
        """Set a parameter; it acts on the next requests and where it can at once. Raises RequestError."""
        checked = self.params.set(name, value)
        if name == "gain":
            self.audio.set_master(float(checked))
        elif name == "monitor":
            self.audio.set_monitor(float(checked), NOW, int(MONITOR_SECONDS * self.audio.rate))
        elif name in SAMPLING:
            self._update_jobs(sampling=sampling_from(self.params))
        elif name.startswith("guidance/"):
            self._update_jobs(guidance=self.params.guidance())
        elif name == "text":
            self._update_jobs(conditions={"text": checked or None})

    def set_condition(self, name: str, source: str) -> None:
        """Set a condition to a text, `take:ID`, `clip:ID`, or "" to clear it.

        Raises:
            ConditionError: the model has no slot of that name. LibraryError: no such take or clip.
        """
        known = sorted({*self._slots, *self._condition_names})
        if (name not in known) if self._slots else not name.isidentifier():
            raise ConditionError(f"condition came as {name[:80]!r}, expected one of {', '.join(known) or 'text, ...'} "
                                 f"(what {self._model!r} and the plugins know)")
        if name == "text":
            self.set_param("text", source)
            return
        if source.startswith("take:") and not self.takes.known(source[5:]):
            self.library.info("take", source[5:])
        if source.startswith("clip:"):
            self.clip_info(source[5:])
        if not source:
            self._conditions.pop(name, None)
        else:
            self._conditions[name] = source
        if not source.startswith(AUDIO_SOURCES):
            self._update_jobs(conditions={name: source or None})

    def _update_jobs(self, **changes: Any) -> None:
        for job in self.runner.book.unfinished():
            if job.sent:
                self.engine.send(UpdateJob(job.id, changes))

    # --- capture ---

    def capture_start(self, take: str = "", origin: object | None = None) -> str:
        """Begin to record the input now; gives the take's id. Raises RequestError, LibraryError."""
        return self._arm_capture(take, int(self.audio.now()), OPEN_END, origin).take

    def capture_stop(self) -> None:
        """End the capture; the take can be continued at once.

        Raises:
            RequestError: none runs. AudioError: it is too short or silent.
        """
        self.audio.read_capture()
        capture = self.recorder.finish()
        if self._takeover is not None and self._takeover.take == capture.take:
            self._drop_takeover("its capture was stopped")
        self._finish_capture(capture)

    def capture_bars(self, n: int, take: str = "", origin: object | None = None) -> str:
        """Record n bars from the next bar line; gives the take's id. Raises RequestError, LibraryError."""
        if n < 1 or n > 1000:
            raise RequestError(f"bars came as {n}, expected 1 to 1000")
        self._tempo_known = True
        start, stop = self._bar_lines(n)
        return self._arm_capture(take, start, stop, origin).take

    def _bar_lines(self, n: int) -> tuple[int, int]:
        """Positions of the next bar line and of the one n bars later."""
        transport = self._transport
        if not transport.rolling:
            raise RequestError("the transport stands, so there is no bar line; start it first")
        beat, start = transport.next_boundary(self.audio.soon(), transport.beats_per_bar)
        return start, transport.sample_of(beat + n * transport.beats_per_bar)

    def _arm_capture(self, take: str, start: int, stop: int, origin: object | None) -> Capture:
        if take:
            check_id(take, "take")
            if self.takes.known(take):
                raise RequestError(f"take {take!r} exists; choose another name, or leave it out")
        if self.recorder.current is not None:
            raise RequestError(f"the capture {self.recorder.current.take!r} is not over yet; stop it first")
        transport = self._transport
        known = self._tempo_known
        capture = Capture(take or self.library.next_id("take"), start, stop, self.audio.rate,
                          transport.bpm if known else None, max(1, round(transport.beats_per_bar)),
                          transport.beat_at(start) if known and transport.rolling else None, origin)
        self.recorder.arm(capture)
        return capture

    def _captured(self, position: int, block: Block) -> None:
        self.recorder.feed(position, block)

    def _capture_started(self, capture: Capture) -> None:
        self.takes.follow(capture, self._prompt_request(capture.bpm, capture.start_beat))
        self.emit(CaptureEvent("started", capture.take, start_beat=capture.start_beat or 0.0), capture.origin)

    def _prompt_request(self, bpm: float | None, start_beat: float | None) -> GenerateRequest:
        request = build_request(self.params, self._transport, {
            name: source for name, source in self._conditions.items() if not source.startswith(AUDIO_SOURCES)},
            tempo_known=bpm is not None)
        tags = {} if start_beat is None else {"start_beat": start_beat}
        return replace(request, bpm=bpm, bars=None, seconds=request.new_seconds, tags=tags)

    def _capture_complete(self, capture: Capture) -> None:
        try:
            self._finish_capture(capture)
        except SoundForgeError as error:
            self.notice("error", str(error), capture.origin)

    def _finish_capture(self, capture: Capture) -> None:
        try:
            take = check_take(capture)
        except SoundForgeError as error:
            self.takes.discard(capture.take)
            if self._takeover is not None and self._takeover.take == capture.take:
                self._drop_takeover(str(error))
            raise
        self.takes.complete(capture.take, take)
        clipped = clipped_samples(take)
        if clipped:
            self.notice("warning", f"the capture {capture.take!r} is clipped ({clipped} samples at full scale); "
                                   "turn the input down", capture.origin)
        self.emit(CaptureEvent("take", capture.take, capture.seconds, peak_db(take.waveform.samples),
                               capture.start_beat or 0.0), capture.origin)
        bpm = self._transport.bpm

        def write() -> None:
            known = take if take.bpm is not None else replace(take, bpm=tempo_of(take.waveform, bpm))
            self.library.save_take(known, capture.take)

        self._on_disk(write, capture.origin)

    # --- jobs ---

    def generate(self, text: str | None = None, seconds: float | None = None, job: str = "",
                 origin: object | None = None) -> str:
        """Make a clip from a text (None or "": `param/text`); gives the job's id.

        Raises:
            RequestError, QueueFullError.
        """
        request = build_request(self.params, self._transport, self._conditions, text=text or None, seconds=seconds,
                                tempo_known=self._tempo_known)
        return self._submit(Job(self.runner.book.new_id(job), "generate", request, origin))

    def continue_take(self, take: str = "", seconds: float | None = None, job: str = "",
                      origin: object | None = None) -> str:
        """Go on from a take (default: the last); gives the job's id.

        Raises:
            RequestError: no take there is, or a bad length or id. LibraryError: unknown take. QueueFullError.
        """
        take = take or self._last_take()
        if not self.takes.known(take):
            self.library.info("take", take)
        request = build_request(self.params, self._transport, self._conditions, seconds=seconds,
                                tempo_known=self._tempo_known, tags={"take": take})
        made = Job(self.runner.book.new_id(job), "continue", request, origin, take=take,
                   lead_seconds=self.params.number("crossfade_ms") / 1000.0)
        self._last_continue = made
        return self._submit(made)

    def _last_take(self) -> str:
        latest = self.library.latest("take")
        take = self.takes.last or (latest.id if latest is not None else "")
        if not take:
            raise RequestError("there is no take yet; capture one first (/soundforge/capture/start, then stop)")
        return take

    def regenerate(self, job: str = "", origin: object | None = None) -> str:
        """The last continuation once more from the same prompt, with another seed. Raises RequestError."""
        last = self._last_continue
        if last is None:
            raise RequestError("there is no continuation yet; continue a take first")
        made = Job(self.runner.book.new_id(job), "continue", replace(last.request, seed=None), origin, take=last.take,
                   lead_seconds=self.params.number("crossfade_ms") / 1000.0)
        return self._submit(made)

    def _submit(self, job: Job) -> str:
        job.autoplay = bool(self.params.get("autoplay"))
        job.quantum = self.params.number("quantum")
        self.runner.accept(job)
        self._spawn(self._prepare(job), job)
        return job.id

    async def _prepare(self, job: Job) -> None:
        """Bring a job's audio together, then let it run."""
        if job.take:
            take = await self.takes.load(job.take)
            await self.takes.ensure_prompt(job.take, self._prompt_request(take.bpm, take.start_beat))
        await self._resolve_conditions(job)
        job.ready = True
        self.runner.dispatch()

    async def _resolve_conditions(self, job: Job) -> None:
        found: dict[str, Any] = {}
        loop = asyncio.get_running_loop()
        for name, source in job.request.conditions.items():
            if isinstance(source, str) and source.startswith("take:"):
                found[name] = (await self.takes.load(source[5:])).waveform
            elif isinstance(source, str) and source.startswith("clip:"):
                clip = await loop.run_in_executor(self._reader, self.library.load_clip, source[5:])
                found[name] = clip.as_waveform()
        if found:
            job.request = replace(job.request, conditions={**job.request.conditions, **found})

    def prompt_for(self, job: Job) -> str:
        """The engine's id for a job's prompt (the runner asks)."""
        return job.take

    def takeover(self, bars_in: int, bars_out: int = 0, job: str = "", origin: object | None = None) -> str:
        """Record bars from the next bar line and go on without a gap; bars_out 0 = until `release`.

        Raises:
            RequestError: bad numbers or id, the transport stands, or something is being captured. QueueFullError.
        """
        if not 1 <= bars_in <= 1000 or not 0 <= bars_out <= 1000:
            raise RequestError(f"takeover came as {bars_in} bars in, {bars_out} out; expected 1 to 1000, 0 to 1000")
        start, line = self._bar_lines(bars_in)
        self._tempo_known = True
        name = self.runner.book.new_id(job)
        capture = self._arm_capture("", start, line, origin)
        request = build_request(self.params, self._transport, self._conditions, bars=bars_out or 8,
                                tags={"take": capture.take})
        fade = self.params.number("crossfade_ms") / 1000.0
        made = Job(name, "takeover", request, origin, take=capture.take, autoplay=True,
                   quantum=self._transport.beats_per_bar, endless=not bars_out, line_position=line)
        made.begin = line - start - int(fade * self.audio.rate)
        made.line = line - start
        self._takeover = self._last_continue = made
        self.runner.accept(made)
        early = min(self.runner.lead_time_seconds, 0.75 * (line - start) / self.audio.rate)
        wait = (line - self.audio.now()) / self.audio.rate - early
        self._timer = asyncio.get_running_loop().call_later(max(wait, 0.0), self._take_over, made, capture)
        return name

    def _take_over(self, job: Job, capture: Capture) -> None:
        """Shortly before the line: the engine begins with what is captured by now."""
        if job.cancelled or self._takeover is not job:
            return
        self.audio.read_capture()
        self.takes.flush(capture.take)
        self._spawn(self._prepare_takeover(job, capture), job)

    async def _prepare_takeover(self, job: Job, capture: Capture) -> None:
        await self._resolve_conditions(job)
        if not self.takes.has_prompt(capture.take):
            # The engine was lost meanwhile: take the long way once the capture is complete.
            while self.recorder.current is capture:
                await asyncio.sleep(POLL_SECONDS)
            job.begin = job.line = job.line_position = -1
            await self._prepare(job)
            return
        fade = job.line - job.begin
        job.ready = True
        self.runner.dispatch()
        if self.params.get("monitor"):
            self.audio.set_monitor(0.0, job.line_position - fade, fade)

    def _drop_takeover(self, what: str) -> None:
        job, self._takeover = self._takeover, None
        if job is not None and not job.engine_done:
            self.runner.fail(job, what)

    def job_voice_ended(self, job: Job) -> None:
        """The sound of a job is over (the runner tells): the input is heard again after a takeover."""
        if job is self._takeover:
            self._takeover = None
            self._restore_monitor()

    def _restore_monitor(self) -> None:
        self.audio.set_monitor(float(self.params.number("monitor")), NOW, int(MONITOR_SECONDS * self.audio.rate))

    def release(self) -> None:
        """End an endless takeover at the next bar line. Raises RequestError when there is none."""
        job = self._takeover
        if job is None or not job.endless:
            raise RequestError("no takeover goes on endlessly; start one with bars_out 0")
        self.runner.release(job)

    def cancel(self, job: str) -> None:
        """Cancel one job, or "*" all of them: generation, and what of it sounds. Raises RequestError."""
        if job == "*":
            for each in self.runner.book:
                self._cancel(each)
            return
        found = self.runner.book.find(job)
        if found is None:
            running = ", ".join(each.id for each in self.runner.book) or "none"
            raise RequestError(f"job came as {job[:80]!r}, which does not run; running: {running}")
        self._cancel(found)

    def _cancel(self, job: Job) -> None:
        if job is self._takeover:
            self._takeover = None
            if self.recorder.current is not None and self.recorder.current.take == job.take:
                self.takes.discard(self.recorder.finish().take)
            self._restore_monitor()
        self.runner.cancel(job)

    def save(self, job: Job, finished: JobFinished) -> None:
        """A clip is complete (the runner tells): write it, then say so."""
        job.clip = job.clip or self.clip_id()
        name = job.clip
        heard = {entry.id: entry.bpm for entry in self.library.list("take")}.get(job.take)
        clip = replace(finished.clip, info={**finished.clip.info, "job": job.id, "take": job.take},
                       bpm=finished.clip.bpm or heard or self._transport.bpm)
        self._saving.add(name)

        async def write() -> None:
            try:
                loop = asyncio.get_running_loop()
                entry = await loop.run_in_executor(self._disk, self.library.save_clip, clip, name)
                await loop.run_in_executor(self._disk, self.library.fill_pad, name)
            except SoundForgeError as error:
                self.emit(JobEvent("error", job.id, clip=name, what=str(error)), job.origin)
                return
            finally:
                self._saving.discard(name)
            self.emit(JobEvent("done", job.id, fraction=1.0, clip=name, seconds=entry.seconds, file=str(entry.path)),
                      job.origin)
            self.emit(ClipEvent("rendered", name, entry.seconds, entry.bpm, str(entry.path)), job.origin)

        self._spawn(write(), None)

    def clip_id(self) -> str:
        """A new id for a clip."""
        return self.library.next_id("clip")

    # --- clips ---

    def clip_play(self, clip: str, loop: bool = False, gain: float = 1.0) -> None:
        """Play a clip at the next quantum. Raises LibraryError, RequestError."""
        self._play(clip, loop, gain, retrigger=False)

    def _play(self, clip: str, loop: bool, gain: float, retrigger: bool) -> None:
        self.clip_info(clip)
        if not 0.0 <= gain <= 4.0:
            raise RequestError(f"gain came as {gain:g}, expected 0 to 4")
        self._spawn(self.player.play(clip, loop, gain, retrigger), None)

    def clip_stop(self, clip: str) -> None:
        """Stop a clip, be it played from the library or streamed by the job that makes it. Raises LibraryError."""
        streamed = [job for job in self.runner.book if job.clip == clip and job.plays]
        for job in streamed:
            self.runner.silence_job(job)
        if not streamed:
            self.clip_info(clip)
        self.player.stop(clip)

    def clip_list(self) -> list[ClipEvent]:
        """All clips, oldest first."""
        return [self._clip_event(entry.id) for entry in self.library.list("clip") if entry.id not in self._deleting]

    def clip_info(self, clip: str) -> ClipEvent:
        """One clip. Raises LibraryError."""
        if clip in self._deleting:
            raise RequestError(f"clip {clip!r} is being deleted")
        return self._clip_event(clip)

    def _clip_event(self, clip: str) -> ClipEvent:
        entry = self.library.info("clip", clip)
        return ClipEvent("info", clip, entry.seconds, entry.bpm, str(entry.path))

    def clip_delete(self, clip: str) -> None:
        """Delete a clip and its file; it stops first. Raises LibraryError."""
        self.clip_info(clip)
        self.clip_stop(clip)
        self.player.drop_when_stopped(clip)
        self._deleting.add(clip)

        async def delete() -> None:
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, self.library.delete, "clip", clip)
                self.emit(ClipEvent("deleted", clip))
            finally:
                self._deleting.discard(clip)

        self._spawn(delete(), None)

    def clip_pad(self, clip: str, pad: int) -> None:
        """Put a clip on a pad. Raises LibraryError, RequestError."""
        if pad not in PADS:
            raise RequestError(f"pad came as {pad}, expected {PADS[0]} to {PADS[-1]}")
        if clip:
            self.clip_info(clip)
        self._on_disk(lambda: self.library.set_pad(pad, clip), None)

    def play_pad(self, pad: int, velocity: float = 1.0) -> None:
        """Play the clip on a pad from its start; `velocity` 0..1 scales its gain. Raises RequestError."""
        clip = self.library.pads.get(pad)
        if clip is None:
            raise RequestError(f"pad {pad} is empty; generate a clip, or put one there with /soundforge/clip/pad")
        self._play(clip, False, velocity, retrigger=True)

    def _launch_position(self) -> int:
        return self._transport.next_boundary(self.audio.soon(), self.params.number("quantum"))[1]

    # --- transport ---

    def transport_now(self) -> Transport:
        """The transport as a value."""
        return self._transport

    def transport(self) -> TransportEvent:
        """Source, tempo, rolling or not, and the beat now."""
        transport = self._transport
        return TransportEvent(self._source, transport.bpm, transport.rolling, transport.beat_at(self.audio.now()))

    def set_tempo(self, bpm: float) -> None:
        """Another tempo from now on. Raises RequestError."""
        self._change(self._transport.with_tempo(float(bpm), self.audio.now()))
        self._tempo_known = True

    def transport_start(self) -> None:
        """Roll; does nothing when it rolls."""
        if not self._transport.rolling:
            self._change(self._transport.started(self.audio.now()))

    def transport_stop(self) -> None:
        """Stand still; what plays plays on."""
        if self._transport.rolling:
            self._change(self._transport.stopped(self.audio.now()))

    def transport_position(self, beat: float) -> None:
        """Go to a beat. Raises RequestError."""
        self._change(self._transport.located(float(beat), self.audio.now()))

    def transport_signature(self, numerator: int, denominator: int = 4) -> None:
        """Another time signature. Raises RequestError."""
        self._change(self._transport.with_signature(numerator, denominator))

    def transport_source(self, name: str) -> None:
        """Choose what drives the transport. Raises RequestError for one that is not there."""
        if name not in self._sources:
            raise RequestError(f"source came as {name[:80]!r}, expected one of {', '.join(sorted(self._sources))}")
        self._source = name
        self.emit(self.transport())

    def add_transport_source(self, name: str) -> None:
        """A bridge can drive the transport under this name; it calls `follow` when it is chosen."""
        self._sources.add(name)

    def follow(self, source: str, *, bpm: float, beat: float, rolling: bool, at_seconds: float,
               tell: bool = True) -> None:
        """What a source knows: at `at_seconds` (time.perf_counter) it stood at `beat`. Ignored unless it is chosen.

        Raises:
            RequestError: tempo or beat out of range.
        """
        if source != self._source:
            return
        position = self.audio.position_at(at_seconds)
        self._transport = replace(self._transport, bpm=bpm, rolling=rolling, anchor_position=position,
                                  anchor_beat=beat)
        self._tempo_known = True
        if tell:
            self.emit(self.transport())

    @property
    def source(self) -> str:
        """What drives the transport."""
        return self._source

    def _change(self, transport: Transport) -> None:
        self._transport = transport
        self.emit(self.transport())

    # --- all at once ---

    def load_model(self, name: str) -> None:
        """Load another model while the sound goes on; the status follows. Raises RequestError."""
        if not name or len(name) > 300:
            raise RequestError(f"model came as {name[:80]!r}, expected a model's name; `soundforge models` lists them")
        self.engine.send(LoadModel(name))

    def panic(self) -> None:
        """Everything silent at once, jobs cancelled, capture dropped."""
        self.audio.panic()
        if bool(self.params.get("monitor")):
            self.params.set("monitor", False)
        self.cancel("*")
        self.player.stop_all()
        if self.recorder.current is not None:
            self.takes.discard(self.recorder.finish().take)

    def silence(self) -> None:
        """Stop the sound; jobs and captures go on."""
        self.runner.silence()
        self.player.stop_all()

    # --- what happens elsewhere ---

    def _on_engine(self, event: object) -> None:
        match event:
            case EngineLoading():
                self._model, self._engine_state = event.model, "loading"
                self.emit(self.status())
            case EngineReady():
                self._model, self._engine_state, self._slots = event.model, "ready", event.slots
                self.takes.engine_forgot()
                self.params.apply_defaults(event.defaults)
                self.emit(self.status())
            case EngineFailed():
                self._engine_state = "ready" if event.serving else "error"
                self.notice("error", event.what)
                self.emit(self.status())
            case EngineLost():
                self._engine_state = "loading"
                self.takes.engine_forgot()
                self.notice("error", event.what)
                self.runner.engine_lost(event.what)
                self.emit(self.status())
            case PromptFailed():
                self.takes.prompt_failed(event.prompt)
                self.notice("error", f"take {event.prompt!r} cannot be used as a prompt: {event.what}")
            case _:
                self.runner.on_engine(event)

    def _happened(self, what: Happened, voice: int, position: int, token: int) -> None:
        if self.runner.on_happened(what, position, token):
            return
        playing = self.player.find(token)
        if playing is None:
            return
        if what == Happened.STARTED:
            playing.started = True
            self.emit(replace(self.library_event(playing.clip), kind="playing"))
        elif what in (Happened.ENDED, Happened.LATE):
            self.player.ended(voice, token)
            self.emit(replace(self.library_event(playing.clip), kind="stopped"))
            if what == Happened.LATE:
                self.notice("warning", f"clip {playing.clip!r} could not start in time; play it again")

    def library_event(self, clip: str) -> ClipEvent:
        """What is known of a clip, also of one that was just deleted."""
        known = {entry.id for entry in self.library.list("clip")}
        return self._clip_event(clip) if clip in known else ClipEvent("info", clip)

    def _device_opened(self, opened: DeviceOpened) -> None:
        position = self.audio.status.position
        same_rate = opened.rate == self._transport.rate
        if not same_rate:
            at = 0 if self.audio.restarts == 0 else position
            self._transport = self._transport.with_rate(opened.rate, at, at)
            self.player.forget_clips()
        if self.audio.restarts:
            for playing in self.player.forget_voices():
                self.emit(replace(self.library_event(playing.clip), kind="stopped"))
            self.runner.device_restarted(same_rate)
            if not self.audio.standing_in:
                self.notice("info", f"the audio device {opened.name!r} runs")
        self.audio.set_master(self.params.number("gain"))
        self._restore_monitor()

    def _device_trouble(self, what: str) -> None:
        self.notice("error", what)

    # --- work elsewhere ---

    def _spawn(self, work: Coroutine[Any, Any, None], job: Job | None) -> None:
        """Run a coroutine; what it raises is the job's error, or a notice."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                what = str(error) if isinstance(error, SoundForgeError) else f"unexpected: {error!r}"
                if job is not None:
                    self.runner.fail(job, what)
                else:
                    self.notice("error", what)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_disk(self, work: Callable[[], object], origin: object | None) -> None:
        """Do disk work on the worker; a failure is a notice to who asked."""

        async def run() -> None:
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, work)
            except SoundForgeError as error:
                self.notice("error", str(error), origin)

        self._spawn(run(), None)

