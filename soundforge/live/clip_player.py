"""Plays clips from the library: loads them off the event loop, keeps them attached, knows which voice plays what.

Threading: belongs to the event loop; files are read and resampled on the executor.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundforge.audio import mix_channels
from soundforge.errors import RequestError
from soundforge.library import Library
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_protocol import N_VOICES, NOW, STREAM_VOICES
from soundforge.live.launching import Launch

MAX_ATTACHED = 64
MAX_ATTACHED_BYTES = 512 * 2**20
FADE_SECONDS = 0.005
MIN_LOOP_SAMPLES = 64


@dataclass(eq=False)
class Playing:
    """One voice that plays a clip, or will from its start position on."""

    clip: str
    voice: int
    token: int
    index: int
    launch: Launch
    started: bool = False
    stops_at: int | None = None


class ClipPlayer:
    """See the module.

    Args:
        audio, library, executor: where it plays, where clips are, where disk work runs.
        next_token: gives voice tokens that nothing else uses.
        launch: plans the start of a clip that is asked for now.
    """

    def __init__(self, audio: AudioClient, library: Library, executor: Executor, next_token: Callable[[], int],
                 launch: Callable[[], Launch]) -> None:
        self._audio, self._library, self._executor = audio, library, executor
        self._next_token, self._launch = next_token, launch
        self._voices: dict[int, Playing] = {}
        self._attached: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._loading: dict[str, asyncio.Task[int]] = {}
        self._unwanted: set[str] = set()
        self._deleted: set[str] = set()

    @property
    def playing(self) -> set[str]:
        """Ids of the clips that play or are about to."""
        return {playing.clip for playing in self._voices.values()}

    def find(self, token: int) -> Playing | None:
        return next((playing for playing in self._voices.values() if playing.token == token), None)

    async def play(self, clip: str, loop: bool, gain: float, retrigger: bool) -> None:
        """Load a clip where needed and start it at the next launch position.

        Raises:
            AudioError, LibraryError: it cannot be read. RequestError: all voices are busy. DeviceError: no memory.
        """
        self._unwanted.discard(clip)
        index = await self._index(clip)
        if clip in self._unwanted:
            return  # stopped while it was being loaded
        voice = next((v for v in range(STREAM_VOICES, N_VOICES) if v not in self._voices), None)
        if voice is None:
            raise RequestError(f"all {N_VOICES - STREAM_VOICES} clip voices play already; stop one first")
        launch = self._launch()
        if retrigger:
            self._stop_at(clip, launch.at)
        playing = self._voices[voice] = Playing(clip, voice, self._next_token(), index, launch)
        self._audio.play_clip(voice, playing.token, launch.at, index, 0, gain, loop)

    def retime(self, replan: Callable[[Launch], Launch]) -> None:
        """The transport changed: what waits for its start moves with it, and what it replaces ends there."""
        for playing in self._voices.values():
            if playing.started or (moved := replan(playing.launch)) is playing.launch:
                continue
            playing.launch = moved
            self._audio.move_voice(playing.voice, playing.token, moved.at)
            self._stop_at(playing.clip, moved.at, only_stopping=True)

    def stop(self, clip: str, on_grid: bool = False) -> None:
        """Stop every voice that plays a clip now or at the next launch position, and one that is about to."""
        if clip in self._loading:
            self._unwanted.add(clip)
        self._stop_at(clip, self._launch().at if on_grid else NOW)

    def stop_all(self) -> None:
        for clip in self.playing | set(self._loading):
            self.stop(clip)

    def ended(self, voice: int, token: int) -> Playing | None:
        """A voice ended (or started too late to be heard): free it; gives what it played."""
        playing = self._voices.get(voice)
        if playing is None or playing.token != token:
            return None
        del self._voices[voice]
        self._trim()
        return playing

    def forget_voices(self) -> list[Playing]:
        """The audio process was replaced: nothing plays any more; gives what did."""
        gone = list(self._voices.values())
        self._voices.clear()
        return gone

    def forget_clips(self) -> None:
        """The device's rate changed: what is attached has the wrong one."""
        for clip in list(self._attached):
            self.drop(clip)

    def drop_when_stopped(self, clip: str) -> None:
        """The clip was deleted: let go of it as soon as no voice plays it."""
        self._deleted.add(clip)
        self._trim()

    def drop(self, clip: str) -> None:
        """Let go of a clip's memory."""
        attached = self._attached.pop(clip, None)
        if attached is not None:
            self._audio.detach(attached[0])

    # --- inside ---

    def _stop_at(self, clip: str, at: int, only_stopping: bool = False) -> None:
        """Stop the voices of a clip at a position, those that stop earlier excepted; or move the stop of those that are
        to stop anyway."""
        for playing in self._of(clip):
            stops_at = playing.stops_at
            if (stops_at not in (None, NOW, at)) if only_stopping else (stops_at is None or at < stops_at):
                playing.stops_at = at
                self._audio.stop_voice(playing.voice, playing.token, at, self._fade())

    def _of(self, clip: str) -> list[Playing]:
        return [playing for playing in self._voices.values() if playing.clip == clip]

    def _fade(self) -> int:
        return int(FADE_SECONDS * self._audio.rate)

    async def _index(self, clip: str) -> int:
        if clip in self._attached:
            self._attached.move_to_end(clip)
            return self._attached[clip][0]
        if clip not in self._loading:
            self._loading[clip] = asyncio.create_task(self._load(clip))
        try:
            return await asyncio.shield(self._loading[clip])
        finally:
            self._loading.pop(clip, None)

    async def _load(self, clip: str) -> int:
        loop = asyncio.get_running_loop()
        samples = await loop.run_in_executor(self._executor, self._read, clip)
        index = await self._audio.attach(samples)
        self._attached[clip] = (index, samples.nbytes)
        self._trim()
        return index

    def _read(self, clip: str) -> NDArray[np.float32]:
        wave = self._library.load_clip(clip).as_waveform().resampled(self._audio.rate)
        samples = np.ascontiguousarray(mix_channels(wave.samples, self._audio.channels).T)
        if len(samples) < MIN_LOOP_SAMPLES:
            raise RequestError(f"the clip {clip!r} holds {len(samples)} samples, expected at least {MIN_LOOP_SAMPLES}")
        return samples

    def _trim(self) -> None:
        """Let go of the clips that were not played for longest."""
        for clip in self._deleted - self.playing:
            self._deleted.discard(clip)
            self.drop(clip)
        held = sum(size for _, size in self._attached.values())
        for clip, (_, size) in list(self._attached.items())[:-1]:
            if len(self._attached) <= MAX_ATTACHED and held <= MAX_ATTACHED_BYTES:
                return
            if clip not in self.playing:
                held -= size
                self.drop(clip)
