"""What the audio callback does with one block: capture, voices, monitor, master gain, safety limiter, counters.

The same object is driven by PortAudio, by the offline device and, in tests, by a manual clock.

Realtime-safe: `process` and everything it calls takes no lock that anybody waits for, makes no array, logs
nothing, opens nothing and raises nothing. The main thread of the audio process only replaces entries of `clips`,
which is one reference assignment.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from soundforge.live.audio_protocol import N_VOICES, NOW, STREAM_VOICES, Command, Happened
from soundforge.live.audio_status import AudioStatus
from soundforge.live.ramp import Ramp
from soundforge.live.ring_buffer import RecordRing, RingBuffer
from soundforge.live.voice import State, Voice

Block = NDArray[np.float32]

MAX_BLOCK = 8192
LIMIT = np.float32(0.891)  # -1 dBFS: below it the output is untouched, bit for bit
COMMANDS_PER_BLOCK = 64
PANIC_SECONDS, GAIN_SECONDS = 0.003, 0.02


class Mixer:
    """See the module.

    Args:
        rate: Hz, for the lengths of ramps.
        channels: of the mix; `process` maps it to the device's channels.
        commands, events: record rings from and to the control process.
        capture: ring that gets every input block; its `written` count follows the sample clock.
        streams: one ring per stream voice, with `channels` channels.
        status: counters.
        position: the sample clock at the first block.
    """

    def __init__(self, rate: int, channels: int, commands: RecordRing, events: RecordRing,
                 capture: RingBuffer, streams: list[RingBuffer], status: AudioStatus, position: int = 0) -> None:
        self.rate, self.position, self.status = rate, position, status
        self.clips: list[Block | None] = [None] * 1024
        self._commands, self._events, self._capture = commands, events, capture
        capture.owe(position - capture.written - capture.owed)
        self._input: Block = np.zeros((MAX_BLOCK, capture.channels), np.float32)
        self._bus: Block = np.zeros((MAX_BLOCK, channels), np.float32)
        self._magnitude: Block = np.zeros((MAX_BLOCK, channels), np.float32)
        self._monitored: Block = np.zeros((MAX_BLOCK, channels), np.float32)
        self._master = Ramp(1.0, MAX_BLOCK)
        self._monitor = Ramp(0.0, MAX_BLOCK)
        self._monitor_changes: deque[tuple[int, float, int]] = deque(maxlen=16)
        self._reporting = 0
        self._voices = [Voice(channels, MAX_BLOCK, self._report, streams[k] if k < STREAM_VOICES else None)
                        for k in range(N_VOICES)]

    def process(self, inputs: Block | None, out: Block, xrun: bool = False) -> None:
        """Fill `out` `(n, any)` for the next `n` samples, having heard `inputs` `(n, any)`.

        Args:
            inputs: the input block, or None for silence.
            out: overwritten.
            xrun: the device flagged this block.
        """
        began = time.perf_counter()
        if xrun:
            self.status.count_xrun()
        self._obey()
        for first in range(0, len(out), MAX_BLOCK):
            part = None if inputs is None else inputs[first:first + MAX_BLOCK]
            self._piece(part, out[first:first + MAX_BLOCK])
        # The line through (position, time) passes where the callback began, however long it took; what it has done
        # by now lies on that line in the future.
        self.status.tick(self.position, began + len(out) / self.rate)
        self.status.set_block(len(out))
        self.status.meter(self._peak_in, self._peak_out, time.perf_counter() - began)

    _peak_in = 0.0
    _peak_out = 0.0

    def _piece(self, inputs: Block | None, target: Block) -> None:
        n = len(target)
        out = self._bus[:n]
        heard = self._input[:n]
        _map_channels(inputs, heard)
        self._capture.write_in_time(heard)
        self._peak_in = self._peak(heard)
        out[...] = 0.0
        self._mix_monitor(heard, out)
        playing = 0
        for k, voice in enumerate(self._voices):
            if voice.state == State.IDLE:
                continue
            self._reporting = k
            if voice.mix(self.position, out):
                self.status.count_underrun()
            playing += voice.active
        self.status.set_playing(playing)
        gains = self._master.render(n)
        if gains is not None:
            np.multiply(out, gains[:, None], out=out)
        elif self._master.value != 1.0:
            np.multiply(out, np.float32(self._master.value), out=out)
        self._limit(out)
        _map_channels(out, target)
        self.position += n

    def _mix_monitor(self, heard: Block, out: Block) -> None:
        """Add the input to the output, changing its gain at the sample that was asked for."""
        n, begin = len(out), 0
        while True:
            change, stop = self._monitor_changes[0] if self._monitor_changes else None, n
            if change is not None:
                stop = begin if change[0] == NOW else min(max(change[0] - self.position, begin), n)
            if stop > begin and (self._monitor.moving or self._monitor.value):
                part = self._monitored[begin:stop]
                _map_channels(heard[begin:stop], part)
                gains = self._monitor.render(stop - begin)
                np.multiply(part, np.float32(self._monitor.value) if gains is None else gains[:, None], out=part)
                np.add(out[begin:stop], part, out=out[begin:stop])
            if change is None or stop >= n:
                return
            self._monitor.to(change[1], change[2], equal_power=True)
            self._monitor_changes.popleft()
            begin = stop

    def _limit(self, out: Block) -> None:
        """Soft limiter at the very output: identity below -1 dBFS, never above 1, silence instead of NaN."""
        self._peak_out = self._peak(out)
        if self._peak_out <= LIMIT:
            return
        self.status.count_limited()
        if not np.isfinite(self._peak_out):
            out[...] = 0.0
            return
        over = self._magnitude[:len(out)]
        np.abs(out, out=over)
        np.subtract(over, LIMIT, out=over)
        np.maximum(over, np.float32(0.0), out=over)
        bent = self._monitored[:len(out)]
        np.multiply(over, np.float32(1.0 / (1.0 - LIMIT)), out=bent)
        np.tanh(bent, out=bent)
        np.multiply(bent, np.float32(1.0) - LIMIT, out=bent)
        np.subtract(over, bent, out=over)  # how much each magnitude is too large
        np.copysign(over, out, out=over)
        np.subtract(out, over, out=out)

    def _peak(self, block: Block) -> float:
        # Two reductions instead of abs: no temporary array. NaN comes through both.
        return max(float(block.max()), -float(block.min())) if block.size else 0.0

    # --- commands and events ---

    def _obey(self) -> None:
        for _ in range(COMMANDS_PER_BLOCK):
            record = self._commands.get()
            if record is None:
                return
            kind, number, at, a, b, token = (int(value) for value in record[:6])
            x, y = record[6], record[7]
            if kind == Command.MASTER:
                self._master.to(x, int(GAIN_SECONDS * self.rate))
            elif kind == Command.MONITOR:
                self._monitor_changes.append((at, x, b))
            elif kind == Command.PANIC:
                self._monitor_changes.clear()
                self._monitor_changes.append((NOW, 0.0, int(PANIC_SECONDS * self.rate)))
                for voice in self._voices:
                    voice.stop(NOW, int(PANIC_SECONDS * self.rate))
            elif 0 <= number < N_VOICES:
                self._obey_voice(kind, self._voices[number], at, a, b, token, x, y)

    def _obey_voice(self, kind: int, voice: Voice, at: int, a: int, b: int, token: int, x: float, y: float) -> None:
        if kind == Command.PLAY_STREAM and voice.ring is not None:
            voice.arm_stream(token, at, a, b, x)
        elif kind == Command.PLAY_CLIP and 0 <= a < len(self.clips):
            clip = self.clips[a]
            if clip is None or not len(clip):
                self._events.put((Happened.ENDED, -1, self.position, token))
            else:
                voice.arm_clip(token, at, clip, b, x, y > 0)
        elif kind == Command.MOVE:
            voice.move(token, at)
        elif kind == Command.STOP and token in (0, voice.token):
            voice.stop(at, b)
        elif kind == Command.GAIN:
            voice.set_gain(x, int(GAIN_SECONDS * self.rate))

    def _report(self, what: Happened, position: int, token: int) -> None:
        if what == Happened.LATE:
            self.status.count_late()
        # A full ring means that the control process is gone or stuck; the ring counts what it refused.
        self._events.put((what, self._reporting, position, token))


def _map_channels(source: Block | None, target: Block) -> None:
    """Copy `(n, a)` to `(n, b)`: equal counts as they are, mono to all, to mono by averaging, else cut or silent."""
    if source is None:
        target[...] = 0.0
        return
    have, want = source.shape[1], target.shape[1]
    if have == want or have == 1:
        target[...] = source
    elif want == 1:
        np.mean(source, axis=1, keepdims=True, out=target)
    else:
        kept = min(have, want)
        target[:, :kept] = source[:, :kept]
        target[:, kept:] = 0.0
