"""One voice of the mixer: a stream from a ring, or a clip block, from a sample position on.

Realtime-safe: all methods. A voice never raises; what happens is told through `report`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from soundforge.live.audio_protocol import NOW, PRIME_GUARD, Happened
from soundforge.live.ramp import Ramp
from soundforge.live.ring_buffer import OPEN_END, RingBuffer

Block = NDArray[np.float32]
Report = Callable[[Happened, int, int], None]
"""`report(what, position, token)`."""

TAIL_SAMPLES = 240
"""The last samples of whatever ends are faded: 5 ms at 48 kHz."""


class State(IntEnum):
    IDLE = 0
    ARMED = 1
    PLAYING = 2
    FADING = 3
    STARVED = 4


class Voice:
    """See the module.

    Args:
        channels: of the output.
        max_block: largest block.
        report: told of starts, ends, underruns and late starts.
        ring: makes this a stream voice.
    """

    def __init__(self, channels: int, max_block: int, report: Report, ring: RingBuffer | None = None) -> None:
        self.state = State.IDLE
        self.token = 0
        self.ring = ring
        self._report = report
        self._scratch: Block = np.zeros((max_block, channels), np.float32)
        self._tail = (np.arange(TAIL_SAMPLES, 0, -1, dtype=np.float32) / TAIL_SAMPLES)[:, None]
        self._count = np.arange(1, TAIL_SAMPLES + 1, dtype=np.float32)[:, None]
        self._fade = np.empty((TAIL_SAMPLES, 1), np.float32)
        self._gain = Ramp(0.0, max_block)
        self._wanted_gain = 1.0
        self._start = self._stop = self._fade_in = self._fade_out = 0
        self._clip: Block | None = None
        self._at = 0
        self._loop = False
        self._stopping = False

    @property
    def active(self) -> bool:
        return self.state not in (State.IDLE, State.STARVED)

    # --- commands, called by the mixer between blocks ---

    def arm_stream(self, token: int, at: int, count: int, fade_in: int, gain: float) -> None:
        """Play the ring from `count` (-1: where it is) at position `at`."""
        assert self.ring is not None
        if count >= 0:
            self.ring.seek(count)
        self._arm(token, at, fade_in, gain)

    def arm_clip(self, token: int, at: int, clip: Block, fade_in: int, gain: float, loop: bool) -> None:
        """Play `clip` `(n_samples, channels)` at position `at`."""
        self._clip, self._at, self._loop = clip, 0, loop
        self._arm(token, at, fade_in, gain)

    def _arm(self, token: int, at: int, fade_in: int, gain: float) -> None:
        self.token, self._start, self._fade_in, self._wanted_gain = token, at, fade_in, gain
        self._stopping = False
        self.state = State.ARMED

    def move(self, token: int, at: int) -> None:
        """Start at position `at` instead, if it still waits for its start."""
        if self.state == State.ARMED and token == self.token:
            self._start = at

    def stop(self, at: int, fade_out: int) -> None:
        """Fade out from position `at` on (NOW: the next block); a voice that waits is disarmed."""
        if self.state == State.IDLE:
            # Nothing sounds, but a cancelled job may have left samples in the ring.
            if self.ring is not None:
                self.ring.drain()
            return
        self._stop, self._fade_out, self._stopping = at, fade_out, True

    def set_gain(self, gain: float, n_samples: int) -> None:
        """Move to another gain."""
        self._wanted_gain = gain
        if self.state == State.PLAYING:
            self._gain.to(gain, n_samples)

    # --- the block ---

    def mix(self, position: int, out: Block) -> int:
        """Add this voice to `out` `(n, channels)`, whose first sample is at `position`; gives underruns (0 or 1)."""
        n, underruns, begin = len(out), 0, 0
        if self.state == State.ARMED:
            if self._start != NOW and self._start < position:
                self.state = State.IDLE
                self._report(Happened.LATE, self._start, self.token)
                return 0
            begin = 0 if self._start == NOW else self._start - position
            if self._stops_before(position + min(begin, n)):
                self._end(position)
                return 0
            if begin >= n:
                return 0
            self._gain.set(0.0 if self._fade_in else self._wanted_gain)
            self._gain.to(self._wanted_gain, self._fade_in, equal_power=True)
            self.state = State.PLAYING
            self._report(Happened.STARTED, position + begin, self.token)
        elif self.state in (State.IDLE, State.STARVED):
            if self._stopping:
                self._end(position)
            return 0
        stop = self._stop_offset(position, begin, n)
        if stop > begin:
            underruns = self._segment(position + begin, out[begin:stop])
        if stop < n and self.state == State.PLAYING:
            self._gain.to(0.0, max(self._fade_out, 1), equal_power=True)
            self.state, self._stopping = State.FADING, False
        if stop < n and self.state == State.FADING:
            underruns |= self._segment(position + stop, out[stop:])
        return underruns

    def _stops_before(self, position: int) -> bool:
        return self._stopping and (self._stop == NOW or self._stop <= position)

    def _stop_offset(self, position: int, begin: int, n: int) -> int:
        """Where in the block the voice begins to fade out; `n` = not in this block. A fade goes on from `begin`."""
        if self.state == State.FADING:
            return begin
        if not self._stopping:
            return n
        return begin if self._stop == NOW else min(max(self._stop - position, begin), n)

    def _segment(self, position: int, out: Block) -> int:
        n = len(out)
        scratch = self._scratch[:n]
        got, underrun = self._fill_stream(scratch) if self.ring is not None else (self._fill_clip(scratch), 0)
        gains = self._gain.render(n)
        if gains is not None:
            np.multiply(scratch, gains[:, None], out=scratch)
        elif self._gain.value != 1.0:
            np.multiply(scratch, np.float32(self._gain.value), out=scratch)
        np.add(out, scratch, out=out)
        if underrun:
            self.state = State.STARVED
            self._report(Happened.STARVED, position + got, self.token)
        elif got < n or (self.state == State.FADING and not self._gain.moving):
            self._end(position + got)
        return underrun

    def _end(self, position: int) -> None:
        self.state, self._stopping, self._clip = State.IDLE, False, None
        if self.ring is not None:
            self.ring.drain()
        self._report(Happened.ENDED, position, self.token)

    def _fill_stream(self, scratch: Block) -> tuple[int, int]:
        """Samples read, and 1 for an underrun; the rest of `scratch` is silent."""
        ring = self.ring
        assert ring is not None
        end, n = ring.end, len(scratch)
        if end != OPEN_END:
            remaining = end - ring.position
            got = ring.read(scratch[:min(n, max(remaining, 0))])
            scratch[got:] = 0.0
            self._fade_tail(scratch[:got], remaining)
            return got, 0
        if ring.available >= n + PRIME_GUARD:
            return ring.read(scratch), 0
        # Dry: play what is in hand, faded to nothing, so that the gap does not begin with a click.
        got = ring.read(scratch)
        if got:
            k = min(got, TAIL_SAMPLES)
            fade = self._fade[:k]
            np.multiply(self._count[:k], np.float32(-1.0 / k), out=fade)
            np.add(fade, np.float32(1.0), out=fade)
            np.multiply(scratch[got - k:got], fade, out=scratch[got - k:got])
        return got, 1

    def _fill_clip(self, scratch: Block) -> int:
        clip, n, got = self._clip, len(scratch), 0
        assert clip is not None
        while got < n:
            k = min(n - got, len(clip) - self._at)
            scratch[got:got + k] = clip[self._at:self._at + k]
            if not self._loop:
                self._fade_tail(scratch[got:got + k], len(clip) - self._at)
            self._at += k
            got += k
            if self._at >= len(clip):
                if not self._loop:
                    break
                self._at = 0
        scratch[got:] = 0.0
        return got

    def _fade_tail(self, samples: Block, remaining: int) -> None:
        """Fade `samples` where they are among the last `TAIL_SAMPLES` of the `remaining` ones they begin."""
        first = max(0, remaining - TAIL_SAMPLES)
        if first < len(samples):
            skipped = TAIL_SAMPLES - (remaining - first)
            part = samples[first:]
            np.multiply(part, self._tail[skipped:skipped + len(part)], out=part)
