"""JASCO as a model that runs itself: conditions and noise to latents to sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.checkpoints.jasco import JascoParts
from soundforge.errors import RequestError
from soundforge.interfaces import Codec, ConditionContext, Conditioner, GeneratedChunk, Slot
from soundforge.model_conditions import prepare_values, slot_values
from soundforge.nn.flow_solvers import dopri5, euler
from soundforge.requests import CancelToken, GenerateRequest
from soundforge_plugins.jasco.options import JascoParams, Row, guidance_rows, jasco_params


class JascoModel:
    """`soundforge.interfaces.GenerativeModel` over JASCO. Not thread-safe.

    Conditions: `text`, `chords`, `drums`, and `melody` where the checkpoint has it; any subset. It always makes the
    length it was trained on, and a shorter clip is its beginning. It cannot continue audio. `noise` is `[clips, frames,
    latents]` (or without the first for one clip); see `options.py` for solver and guidance.

    Args:
        name: of the checkpoint.
        parts: what it holds.
        conditioners: by slot name.
        folder: where it came from.
        licence: of the weights.
    """

    continues = False
    starts_from_noise = True
    warm_up_options: Mapping[str, Any] = MappingProxyType({"solver": "euler", "steps": 1})

    def __init__(self, name: str, parts: JascoParts, conditioners: Mapping[str, Conditioner], *, folder: Path,
                 licence: str = "") -> None:
        self.name = name
        self.codec: Codec = parts.codec
        self.folder = folder
        self.licence = licence
        self.sample_rate, self.channels = parts.codec.sample_rate, parts.codec.channels
        self.frame_rate_hz = float(parts.codec.frame_rate_hz)
        self.window_seconds = parts.window_seconds
        self.slots: Sequence[Slot] = tuple(slot.slot for slot in parts.slots.values())
        self.defaults: Mapping[str, Any] = {"cfg": 5.0, "seconds": parts.window_seconds}
        self._parts = parts
        self._network = parts.network
        self._conditioners = dict(conditioners)

    @property
    def device(self) -> torch.device:
        return self._network.device

    @property
    def window_frames(self) -> int:
        """Frames that are made, whatever is kept of them."""
        return math.ceil(self.window_seconds * self.frame_rate_hz)

    def stream(self, requests: Sequence[GenerateRequest], *, cancel: CancelToken, prompt: Tensor | None = None,
               progress: Callable[[int, int], None] | None = None) -> Iterator[list[GeneratedChunk]]:
        """One chunk per request, with its latents: all frames are made at once.

        Raises:
            RequestError, ConditionError: what was asked for cannot be; before anything is computed.
            CancelledError: at the next evaluation of the field after `cancel` was set.
        """
        if prompt is not None:
            raise RequestError(f"a prompt came, but {self.name!r} cannot continue audio; use generate with chords, "
                               "drums or a melody, or a model that can")
        n_samples = self._n_samples(requests[0])
        params = jasco_params(requests[0])
        prepared = self._prepare(requests)
        noise = self._noise(requests)
        return self._run(params, prepared, noise, n_samples, cancel, progress)

    def _run(self, params: JascoParams, prepared: Sequence[Mapping[str, Any]], noise: Tensor, n_samples: int,
             cancel: CancelToken, progress: Callable[[int, int], None] | None) -> Iterator[list[GeneratedChunk]]:
        latents = self.solve(params, prepared, noise, cancel, progress).transpose(1, 2)
        cancel.raise_if_cancelled()
        latents = latents * self._parts.latent_std + self._parts.latent_mean
        hop = self.codec.hop_length
        latents = latents[..., : -(-n_samples // hop)]
        samples = self._parts.codec.decode_from_latent(latents)[..., :n_samples].cpu().float().numpy()
        if progress is not None:
            progress(self.window_frames, self.window_frames)
        made = latents.cpu().float().numpy()
        yield [GeneratedChunk(np.ascontiguousarray(samples[i]), latents=np.ascontiguousarray(made[i]))
               for i in range(len(prepared))]

    @torch.inference_mode()
    def solve(self, params: JascoParams, prepared: Sequence[Mapping[str, Any]], noise: Tensor, cancel: CancelToken,
              progress: Callable[[int, int], None] | None = None) -> Tensor:
        """Normalised latents `[B, T, D]` at the end of the flow.

        Args:
            prepared: conditions per item, see `conditions`.
            noise: `[B, T, D]`, where it starts.
        """
        present = [frozenset(name for name, value in item.items() if value is not None) for item in prepared]
        rows = guidance_rows(params, present, self._parts.dropped)
        text, beside = self.conditions(prepared, [row for row, _ in rows])
        weights = torch.tensor([weight for _, weight in rows], dtype=noise.dtype, device=noise.device)
        batch, n_frames = noise.shape[0], noise.shape[1]
        done = 0

        def field(time: Tensor, latents: Tensor) -> Tensor:
            nonlocal done
            cancel.raise_if_cancelled()
            if progress is not None:
                # The adaptive solver goes back when a step was too large; progress does not.
                done = max(done, min(int(float(time) * n_frames), n_frames - 1))
                progress(done, n_frames)
            copies = latents.to(self._network.dtype).repeat(len(rows), 1, 1)
            velocity = self._network(copies, time, beside, text).to(latents.dtype)
            return torch.einsum("r,rbtd->btd", weights, velocity.view(len(rows), batch, *velocity.shape[1:]))

        if params.solver == "euler":
            return euler(field, noise, params.steps)
        return dopri5(field, noise, params.rtol, params.atol)

    def conditions(self, prepared: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> tuple[Tensor, Tensor | None]:
        """What the network attends to, `[rows * B, L, D]`, and what stands beside the latents, `[rows * B, T, ...]`."""
        context = self._context(None, {})
        projected: dict[str, Tensor] = {}
        for name, conditioner in self._conditioners.items():
            values = [item[name] if name in on else None
                      for row in rows for item, on in zip(prepared, row, strict=True)]
            condition = conditioner.encode(values, context)
            slot = self._parts.slots[name]
            features = condition.values.to(self.device, torch.float32)
            if slot.weight is not None:
                bias = None if slot.bias is None else slot.bias.to(self.device)
                features = F.linear(features, slot.weight.to(self.device), bias)
            # Masked after the projection, so that null text is zero and not the bias.
            projected[name] = (features * condition.mask[..., None].to(features)).to(self._network.dtype)
        return projected.pop("text"), self._network.beside(projected, self.window_frames)

    # --- what is asked for --------------------------------------------------------------------------------------

    def _prepare(self, requests: Sequence[GenerateRequest]) -> list[dict[str, Any]]:
        out = []
        for request in requests:
            values = slot_values(request, self.slots, self.name)
            contexts = {slot.name: self._context(request, request.condition_options.get(slot.name, {}))
                        for slot in self.slots}
            out.append(prepare_values(values, self._conditioners, contexts))
        return out

    def _context(self, request: GenerateRequest | None, options: Mapping[str, Any]) -> ConditionContext:
        return ConditionContext(
            self.sample_rate, self.frame_rate_hz, self.window_frames, device=str(self.device), options=options,
            bpm=None if request is None else request.bpm, window_seconds=self.window_seconds,
            beats_per_bar=4 if request is None else request.beats_per_bar)

    def _n_samples(self, request: GenerateRequest) -> int:
        seconds = request.new_seconds
        frames = int(seconds * self.frame_rate_hz + 1e-6)
        if frames < 1 or seconds > self.window_seconds + 1e-9:
            raise RequestError(f"{seconds:g} s were asked for, expected one frame to {self.window_seconds:g} s, the "
                               f"length that {self.name!r} makes")
        return frames * self.codec.hop_length if request.bars is None else round(seconds * self.sample_rate)

    def _noise(self, requests: Sequence[GenerateRequest]) -> Tensor:
        """Where the flow starts, `[B, T, D]`: as given, or drawn per item on the CPU, so the same on every device."""
        shape = [len(requests), self.window_frames, self._network.config.flow_dim]
        given = requests[0].noise
        if given is None:
            draws = [torch.randn(shape[1:], generator=torch.Generator().manual_seed((request.seed or 0) % 2**64))
                     for request in requests]
            return torch.stack(draws).to(self.device)
        try:
            noise = given.float() if isinstance(given, Tensor) else torch.from_numpy(np.array(given, np.float32))
        except (TypeError, ValueError) as error:
            raise RequestError(f"noise came as {type(given).__name__}, expected an array of floats {shape}") from error
        if noise.ndim == 2:
            noise = noise[None]
        if list(noise.shape) != shape:
            raise RequestError(f"noise came with shape {list(noise.shape)}, expected {shape} (clips, frames, latents)")
        if not bool(torch.isfinite(noise).all()):
            raise RequestError("noise holds NaN or infinity, expected Gaussian numbers")
        return noise.to(self.device)
