"""One call of the decoder: every band model over every window, with its noise, progress and cancel.

Long clips are decoded in windows that overlap and are cross-faded. The noise depends on seed and place alone, so
both sides of a seam start from the same noise and describe the same sound; the models were trained on one-second
pieces, so a window of 30 s takes nothing from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundforge.checkpoints.mbd import BandModel, MultiBandModel
from soundforge.errors import RequestError
from soundforge.nn.mbd_diffusion import SeededNoise, denoise
from soundforge.requests import CancelToken


class RunNoise:
    """The noise of a run: given by the caller, or drawn from the seeds."""

    def __init__(self, seed: int | Sequence[int], noise: Any, model: MultiBandModel, batch: int, n_samples: int,
                 device: str) -> None:
        seeds = [seed] * batch if isinstance(seed, int) else list(seed)
        if len(seeds) != batch:
            raise RequestError(f"{len(seeds)} seeds came for {batch} clips, expected one or {batch}")
        self._source = SeededNoise(seeds, model.channels)
        self._device = device
        self._given: Tensor | None = None
        self._shape = (len(model.bands), batch, model.channels, n_samples)
        if noise is not None:
            self._given = noise.float() if isinstance(noise, Tensor) else torch.from_numpy(np.array(noise, np.float32))

    def check(self, n_steps: int) -> None:
        n_bands, *rest = self._shape
        want = [n_bands, n_steps, *rest]
        if self._given is not None and list(self._given.shape) != want:
            raise RequestError(f"noise came with shape {list(self._given.shape)}, expected {want} "
                               "(band models, steps, clips, channels, samples)")

    def draw(self, band: int, index: int, start: int, stop: int) -> Tensor:
        if self._given is not None:
            return self._given[band, index, ..., start:stop].to(self._device)
        return self._source.draw(band, index, start, stop).to(self._device)


class DecodeRun:
    """One call of `decode`."""

    def __init__(self, model: MultiBandModel, steps: list[list[int]], latents: Tensor, hop: int, noise: RunNoise,
                 cancel: CancelToken, progress: Callable[[int, int], None] | None) -> None:
        self.model, self.steps, self.latents, self.hop = model, steps, latents, hop
        self.noise, self.cancel, self.progress = noise, cancel, progress
        self.done = self.total = 0
        noise.check(len(steps[0]) - 1)

    def decode(self, window: int, overlap: int) -> Tensor:
        """All frames, at most `window` at once, neighbours sharing `overlap`."""
        n_frames = self.latents.shape[-1]
        pieces = [*_windows(n_frames, window, overlap)]
        self.total = len(pieces) * sum(len(steps) - 1 for steps in self.steps)
        out = self.latents.new_zeros(self.latents.shape[0], self.model.channels, n_frames * self.hop)
        end = 0
        for start, stop in pieces:
            self._blend(out, self._window(start, stop), start * self.hop, end)
            end = stop * self.hop
        self._report(n_frames)
        return out

    def _window(self, start: int, stop: int) -> Tensor:
        total: Tensor | None = None
        for number, (band, steps) in enumerate(zip(self.model.bands, self.steps, strict=True)):
            wave = self._band(number, band, steps, start, stop)
            total = wave if total is None else total + wave
        assert total is not None
        return total

    def _band(self, number: int, band: BandModel, steps: list[int], start: int, stop: int) -> Tensor:
        condition = self.latents[..., start:stop]
        wave = denoise(lambda x, step: band.unet(x, step, condition),
                       lambda index: self.noise.draw(number, index, start * self.hop, stop * self.hop),
                       band.schedule, steps, after_step=self._step)
        return wave if band.rescale is None else band.rescale(wave)

    def _step(self) -> None:
        self.cancel.raise_if_cancelled()
        self._report(self.latents.shape[-1] * self.done // max(self.total, 1))
        self.done += 1

    def _report(self, frames: int) -> None:
        if self.progress is not None:
            self.progress(frames, self.latents.shape[-1])

    @staticmethod
    def _blend(out: Tensor, piece: Tensor, start: int, end: int) -> None:
        """Puts `piece` at `start`, fading from what is there up to `end`.

        Linear: both sides come from the same noise, so they add up like one sound, not like two.
        """
        shared = max(0, end - start)
        if shared:
            fade = (torch.arange(shared, device=out.device) + 0.5) / shared
            piece[..., :shared] = out[..., start:end] * (1 - fade) + piece[..., :shared] * fade
        out[..., start : start + piece.shape[-1]] = piece


def _windows(n_frames: int, window: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Pieces that cover all frames; the last one keeps the full length by starting earlier."""
    start = 0
    while start + window < n_frames:
        yield start, start + window
        start += window - overlap
    yield max(0, n_frames - window), n_frames
