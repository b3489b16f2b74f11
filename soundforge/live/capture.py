"""Takes from the stream of captured blocks: started and stopped at sample positions, checked, handed on.

Threading: belongs to the event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.audio import Waveform, peak_db
from soundforge.errors import AudioError, RequestError
from soundforge.take import Take

Block = NDArray[np.float32]

MIN_SECONDS = 0.1
MAX_SECONDS = 600.0
SILENT_DB = -80.0
SIDE_DB = 60.0
CLIPPED = 0.999
OPEN_END = -1


@dataclass(eq=False)
class Capture:
    """A capture that waits for its start or runs.

    Args:
        take: id of the take it becomes.
        start, stop: positions on the sample clock; stop OPEN_END = until told.
        rate: Hz.
        bpm, beats_per_bar, start_beat: of the transport at the start; bpm None = nobody set a tempo.
        origin: who asked.
        beats: bar lines that it begins and ends on; it moves with them until it is `settled`.
    """

    take: str
    start: int
    stop: int
    rate: int
    bpm: float | None = None
    beats_per_bar: int = 4
    start_beat: float | None = None
    origin: Any = None
    beats: tuple[float, float] | None = None
    settled: bool = False
    blocks: list[Block] = field(default_factory=list)
    n_samples: int = 0
    started: bool = False

    @property
    def seconds(self) -> float:
        return self.n_samples / self.rate


def check_take(capture: Capture) -> Take:
    """The finished take.

    Raises:
        AudioError: shorter than 0.1 s, or silent.
    """
    if capture.n_samples < MIN_SECONDS * capture.rate:
        raise AudioError(f"the capture {capture.take!r} holds {capture.n_samples} samples ({capture.seconds:.3f} s), "
                         f"expected at least {MIN_SECONDS:g} s; capture longer")
    wave = Waveform(np.ascontiguousarray(np.concatenate(capture.blocks).T), capture.rate)
    peak = peak_db(wave.samples)
    if peak < SILENT_DB:
        raise AudioError(f"the capture {capture.take!r} is silent (peak {peak:.0f} dBFS, expected above "
                         f"{SILENT_DB:g}); check the input and its level")
    return Take(wave, capture.bpm, capture.beats_per_bar, capture.start_beat)


def clipped_samples(take: Take) -> int:
    """Samples at full scale: a sign of an input that is too loud."""
    return int(np.count_nonzero(np.abs(take.waveform.samples) >= CLIPPED))


def silent_inputs(take: Take, inputs: Sequence[int] = ()) -> str:
    """What to say of inputs on which nothing comes while others sound (60 dB louder), "" where there are none.

    Args:
        inputs: the device's, counted from 0, that the channels come from; () = the first ones.
    """
    peaks = [peak_db(channel) for channel in take.waveform.samples]
    names = [str(number + 1) for number in inputs or range(len(peaks))]
    sounding = [name for name, peak in zip(names, peaks, strict=False) if peak >= max(peaks) - SIDE_DB]
    if len(sounding) == len(peaks):
        return ""
    softer = 20.0 * math.log10(len(peaks) / len(sounding))
    silent = ", ".join(name for name in names if name not in sounding)
    return (f"nothing comes in on input {silent}, so a mono model hears the rest {softer:.0f} dB softer; "
            f"--input-channels {' '.join(sounding)} takes what sounds alone")


class Recorder:
    """Cuts captures out of the stream; one at a time.

    Args:
        on_started: told when the first sample of a capture has come.
        on_audio: told of each piece `(capture, block)`.
        on_complete: told when a capture with a stop position (or one that became too long) has all its samples.
    """

    def __init__(self, on_started: Callable[[Capture], None], on_audio: Callable[[Capture, Block], None],
                 on_complete: Callable[[Capture], None]) -> None:
        self._on_started, self._on_audio, self._on_complete = on_started, on_audio, on_complete
        self.current: Capture | None = None

    def arm(self, capture: Capture) -> None:
        """Wait for the start position.

        Raises:
            RequestError: another capture waits or runs.
        """
        if self.current is not None:
            raise RequestError(f"the capture {self.current.take!r} is not over yet; stop it first")
        self.current = capture

    def finish(self) -> Capture:
        """End the capture with what has come by now.

        Raises:
            RequestError: none runs.
        """
        capture, self.current = self.current, None
        if capture is None:
            raise RequestError("nothing is being captured; start a capture first")
        return capture

    def feed(self, position: int, block: Block) -> None:
        """Take captured samples `(n, channels)` that begin at `position`."""
        capture = self.current
        if capture is None:
            return
        stop = capture.stop if capture.stop != OPEN_END else capture.start + int(MAX_SECONDS * capture.rate)
        first = max(capture.start - position, 0)
        part = block[first:max(stop - position, 0)]
        if len(part):
            if not capture.started:
                capture.started = True
                capture.start = position + first  # a start in the past begins with what is still there
                self._on_started(capture)
            capture.blocks.append(part)
            capture.n_samples += len(part)
            self._on_audio(capture, part)
        if position + len(block) >= stop and self.current is capture:
            self.current = None
            self._on_complete(capture)
