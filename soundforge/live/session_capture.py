"""Captures of a session: started by hand or on bar lines, followed by the engine, written as takes.

Threading: belongs to the event loop; tempo is estimated and files are written on the disk worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from soundforge.audio import Waveform, peak_db
from soundforge.errors import DeviceError, RequestError, SoundForgeError
from soundforge.library_ids import check_id
from soundforge.live.capture import OPEN_END, Block, Capture, Recorder, check_take, clipped_samples, silent_inputs
from soundforge.live.request_builder import build_request
from soundforge.live.session_room import Room
from soundforge.live.take_store import TakeStore
from soundforge.requests import CaptureEvent, GenerateRequest
from soundforge.take import Take
from soundforge.tempo import estimate_tempo

MAX_BARS = 1000
HEARD_CONFIDENCE, SAME_TEMPO = 0.3, 0.02
TEMPO_SECONDS, TEMPO_LATER_SECONDS = 10.0, 2.0
AUDIO_SOURCES = ("take:", "clip:")


def tempo_of(wave: Waveform, transport_bpm: float) -> float:
    """The tempo to write into a file when nobody chose one: what is heard, else the transport's. Blocks."""
    heard = estimate_tempo(wave.samples.mean(axis=0), wave.sample_rate)
    if heard.confidence < HEARD_CONFIDENCE or abs(heard.bpm / transport_bpm - 1.0) < SAME_TEMPO:
        return transport_bpm
    return round(heard.bpm, 2)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars to be captured.

    Args:
        start, stop: positions on the sample clock at which their sound is captured.
        line: position at which what follows them must be given out, to be heard on the last bar line.
        beats: of the two bar lines.
    """

    start: int
    stop: int
    line: int
    beats: tuple[float, float]


class CapturePart:
    """See the module.

    Args:
        room: what the parts share.
        conditions: the conditions that are set, by name; read, never changed.
        discarded: told `(take, what)` when a capture came to nothing, or ends otherwise than planned.
    """

    def __init__(self, room: Room, conditions: Mapping[str, str], discarded: Callable[[str, str], None]) -> None:
        self._room, self._conditions, self._discarded = room, conditions, discarded
        self.takes = TakeStore(room.library, room.reader, room.engine.send)
        self._told_silent = ""
        self._recorder = Recorder(self._started, self.takes.feed, self._complete)
        room.retimers.append(self._retime)

    @property
    def current(self) -> Capture | None:
        """The capture that waits or runs."""
        return self._recorder.current

    def feed(self, position: int, block: Block) -> None:
        """What was captured, from the audio process."""
        self._recorder.feed(position, block)

    def start(self, take: str, origin: object | None) -> str:
        return self.arm(take, int(self._room.audio.now()), OPEN_END, origin).take

    def stop(self) -> None:
        """End the capture with what has come by now; raises what `Session.capture_stop` says."""
        self._room.audio.read_capture()
        capture = self._recorder.finish()
        self._discarded(capture.take, "its capture was stopped before the last bar line")
        self._finish(capture)

    def bars(self, n: int, take: str, origin: object | None) -> str:
        if not 1 <= n <= MAX_BARS:
            raise RequestError(f"bars came as {n}, expected 1 to {MAX_BARS}")
        bars = self.bar_lines(n)
        self._room.tempo_known = True
        return self.arm(take, bars.start, bars.stop, origin, bars.beats).take

    def abandon(self, take: str = "") -> None:
        """Drop the capture (if it is that take's)."""
        capture = self._recorder.current
        if capture is not None and take in ("", capture.take):
            self.takes.discard(self._recorder.finish().take)

    def bar_lines(self, n: int) -> Bars:
        """The next n bars. Raises RequestError."""
        transport = self._room.transport
        if not transport.rolling:
            raise RequestError("the transport stands, so there is no bar line; start it first")
        beat, _ = transport.next_bar(self._room.audio.soon() + max(0, -self._delay))
        return self._bars(beat, beat + n * transport.beats_per_bar)

    def _bars(self, first: float, last: float) -> Bars:
        transport, delay = self._room.transport, self._delay
        line = transport.sample_of(last)
        return Bars(transport.sample_of(first) + delay, line + delay, line - self._room.audio.output_delay,
                    (first, last))

    @property
    def _delay(self) -> int:
        """Samples from where a sound is heard in the music to where it is captured.

        Who plays along with what they hear arrives later by the input's delay. Who hears the input through us
        (`monitor`) hears it only when it is given out again: then the output decides what was on the beat, and what is
        carried on goes on from what was heard last.
        """
        audio = self._room.audio
        return -audio.output_delay if self._room.params.get("monitor") else audio.input_delay

    def _retime(self) -> None:
        """The transport changed: bars that are waited for, and the end of those that are captured, move with it."""
        capture = self._recorder.current
        if capture is None or capture.beats is None or capture.settled or not self._room.transport.rolling:
            return
        bars = self._bars(*capture.beats)
        if not capture.started:
            capture.start = max(bars.start, int(self._room.audio.now()))
            capture.bpm = self._room.transport.bpm
        capture.stop = max(bars.stop, capture.start + capture.n_samples + 1)

    def planned(self, capture: Capture) -> Bars:
        """Where the bars of a capture lie by now."""
        assert capture.beats is not None
        return replace(self._bars(*capture.beats), start=capture.start, stop=capture.stop)

    def arm(self, take: str, start: int, stop: int, origin: object | None,
            beats: tuple[float, float] | None = None) -> Capture:
        """Wait for the start position. Raises DeviceError, RequestError, LibraryError."""
        if self._room.audio.opened is None:
            raise DeviceError("the audio device is being opened; try again in a second")
        if take:
            check_id(take, "take")
            if self.takes.known(take):
                raise RequestError(f"take {take!r} exists; choose another name, or leave it out")
        if self._recorder.current is not None:
            raise RequestError(f"the capture {self._recorder.current.take!r} is not over yet; stop it first")
        transport, known = self._room.transport, self._room.tempo_known
        capture = Capture(take or self._room.library.next_id("take"), start, stop, self._room.audio.rate,
                          transport.bpm if known else None, max(1, round(transport.beats_per_bar)),
                          beats[0] if beats else transport.beat_at(start - self._delay)
                          if known and transport.rolling else None, origin, beats)
        self._recorder.arm(capture)
        return capture

    def prompt_request(self, bpm: float | None, start_beat: float | None) -> GenerateRequest:
        """What continuations of a capture start from: parameters and conditions as they stand, its own tempo."""
        text_conditions = {name: source for name, source in self._conditions.items()
                           if not source.startswith(AUDIO_SOURCES)}
        request = build_request(self._room.params, self._room.transport, text_conditions, tempo_known=bpm is not None)
        tags = {} if start_beat is None else {"start_beat": start_beat}
        return replace(request, bpm=bpm, bars=None, loop=False, seconds=request.new_seconds, tags=tags)

    def _started(self, capture: Capture) -> None:
        self.takes.follow(capture, self.prompt_request(capture.bpm, capture.start_beat))
        self._room.emit(CaptureEvent("started", capture.take, start_beat=capture.start_beat or 0.0), capture.origin)

    def _complete(self, capture: Capture) -> None:
        try:
            self._finish(capture)
        except SoundForgeError as error:
            self._room.notice("error", str(error), capture.origin)

    def _finish(self, capture: Capture) -> None:
        room = self._room
        try:
            take = check_take(capture)
        except SoundForgeError as error:
            self.takes.discard(capture.take)
            self._discarded(capture.take, str(error))
            raise
        self.takes.complete(capture.take, take)
        clipped = clipped_samples(take)
        if clipped:
            room.notice("warning", f"the capture {capture.take!r} is clipped ({clipped} samples at full scale); "
                                   "turn the input down", capture.origin)
        silent = silent_inputs(take, room.audio.setup.input_map)
        if silent and silent != self._told_silent:  # many play in mono, and know: said once
            room.notice("info", silent, capture.origin)
        self._told_silent = silent
        room.emit(CaptureEvent("take", capture.take, capture.seconds, peak_db(take.waveform.samples),
                               capture.start_beat or 0.0), capture.origin)
        room.on_disk(lambda: room.library.save_take(take, capture.take), capture.origin)
        if take.bpm is None:
            room.spawn(self._add_tempo(capture.take, take, room.transport.bpm),
                       lambda what: room.notice("warning", f"the tempo of {capture.take!r} was not found: {what}"))

    async def _add_tempo(self, name: str, take: Take, transport_bpm: float) -> None:
        """Write the tempo that is heard into a take's file; later, because somebody waits for its continuation now."""
        await asyncio.sleep(TEMPO_LATER_SECONDS)
        room, loop, wave = self._room, asyncio.get_running_loop(), take.waveform
        end = wave.slice_samples(max(0, wave.n_samples - int(TEMPO_SECONDS * wave.sample_rate)))
        bpm = await loop.run_in_executor(room.reader, tempo_of, end, transport_bpm)
        if any(entry.id == name for entry in room.library.list("take")):
            await loop.run_in_executor(room.disk, room.library.save_take, replace(take, bpm=bpm), name)
