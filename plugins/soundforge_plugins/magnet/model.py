"""MAGNeT as a model that runs itself: texts (and a prompt) to codes to sound."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.checkpoints.magnet import MagnetParts
from soundforge.errors import RequestError
from soundforge.interfaces import Codec, ConditionContext, Conditioner, GeneratedChunk, Slot
from soundforge.model_conditions import slot_values
from soundforge.nn.magnet_decoding import MagnetParams, generate
from soundforge.requests import CancelToken, GenerateRequest
from soundforge_plugins.magnet.options import magnet_params


class MagnetModel:
    """`soundforge.interfaces.GenerativeModel` over MAGNeT. Not thread-safe.

    `temperature`, `top_p`, `top_k`, `cfg` are those of the first step of a codebook; the temperature falls towards 0
    and guidance towards `cfg_min` over its steps. Everything else is in `options` (see `options.py`). A clip is a
    whole number of spans long, as in the reference, so up to two frames shorter than asked for; one asked for in
    bars has all of them.

    Args:
        name: of the checkpoint.
        parts: its network.
        codec: its codec.
        text: the conditioner of its one slot.
        folder: where it came from.
        defaults: request keywords.
        licence: of the weights.
    """

    continues = True

    def __init__(self, name: str, parts: MagnetParts, codec: Codec, text: Conditioner, *, folder: Path,
                 defaults: Mapping[str, Any], licence: str = "") -> None:
        self.name = name
        self.codec = codec
        self.folder = folder
        self.licence = licence
        self.sample_rate, self.channels = codec.sample_rate, codec.channels
        self.frame_rate_hz = float(codec.frame_rate_hz)
        self.slots: Sequence[Slot] = (parts.text.slot,)
        self.defaults = defaults
        self.window_seconds = parts.window_seconds
        self._network = parts.network
        self._projection = tuple(None if t is None else t.to(self.device, parts.network.dtype)
                                 for t in (parts.text.weight, parts.text.bias))
        self._text = text
        self.warm_up_options: Mapping[str, Any] = {"decoding_steps": (1,) * self.n_codebooks}

    @property
    def device(self) -> torch.device:
        return self._network.device

    @property
    def n_codebooks(self) -> int:
        return self._network.config.lm.n_codebooks

    def stream(self, requests: Sequence[GenerateRequest], *, cancel: CancelToken, prompt: Tensor | None = None,
               progress: Callable[[int, int], None] | None = None) -> Iterator[list[GeneratedChunk]]:
        """One chunk per request, when all codebooks are done: nothing is final before that.

        Raises:
            RequestError, ConditionError: what was asked for cannot be; before anything is computed.
            CancelledError: at the next network run after `cancel` was set.
        """
        values = [slot_values(request, self.slots, self.name) for request in requests]
        params = magnet_params(requests[0], self.n_codebooks, float(self.defaults["temperature"]))
        new_frames = self._new_frames(requests[0], params)
        given = self._prompt(prompt, len(requests))
        kept = self._cut(given, new_frames)
        condition, guided = self._condition([value.get("text") for value in values], params)
        return self._run(requests, params, given[..., : given.shape[-1] - kept.shape[-1]], kept, new_frames,
                         condition, guided, cancel, progress)

    @torch.inference_mode()
    def _run(self, requests: Sequence[GenerateRequest], params: MagnetParams, dropped: Tensor, prompt: Tensor,
             new_frames: int, condition: Tensor, guided: bool, cancel: CancelToken,
             progress: Callable[[int, int], None] | None) -> Iterator[list[GeneratedChunk]]:
        keys_values = self._network.keys_values(condition)
        total, done = sum(params.decoding_steps), 0

        def step() -> None:
            nonlocal done
            cancel.raise_if_cancelled()
            if progress is not None:
                progress(new_frames * done // total, new_frames)
            done += 1

        def logits(codes: Tensor, stage: int, frames: Tensor) -> Tensor:
            if guided:
                codes, frames = torch.cat([codes, codes]), torch.cat([frames, frames])
            return self._network(codes, stage, keys_values, frames)  # type: ignore[no-any-return]

        made = generate(logits, prompt, prompt.shape[-1] + new_frames, params, mask_token=self._network.mask_token,
                        span=self._network.config.span_len, seeds=[request.seed or 0 for request in requests],
                        guided=guided, after_step=step)
        cancel.raise_if_cancelled()
        codes = torch.cat([dropped, made], dim=-1)
        samples = self.codec.decode(codes).cpu().float().numpy()
        if progress is not None:
            progress(new_frames, new_frames)
        known = codes.cpu().numpy()
        yield [GeneratedChunk(np.ascontiguousarray(samples[i]), known[i]) for i in range(len(requests))]

    # --- what is asked for --------------------------------------------------------------------------------------

    def _new_frames(self, request: GenerateRequest, params: MagnetParams) -> int:
        """Frames to generate; for bars enough to hold them all, in whole spans."""
        span = self._network.config.span_len
        window = math.ceil(self.window_seconds * self.frame_rate_hz)
        if request.bars is None:
            frames = int(request.new_seconds * self.frame_rate_hz + 1e-6)
        else:
            frames = -(-round(request.new_seconds * self.sample_rate) // self.codec.hop_length)
        if not span <= frames <= window:
            raise RequestError(f"{request.new_seconds:g} s were asked for, expected {span / self.frame_rate_hz:g} to "
                               f"{self.window_seconds:g} s, the length that {self.name!r} makes at once")
        if request.bars is not None and params.span_arrangement == "nonoverlap":
            frames += -frames % span
        return frames

    def _prompt(self, prompt: Tensor | None, batch: int) -> Tensor:
        if prompt is None:
            return torch.zeros(batch, self.n_codebooks, 0, dtype=torch.long, device=self.device)
        return prompt[:, : self.n_codebooks].expand(batch, -1, -1).to(self.device)

    def _cut(self, prompt: Tensor, new_frames: int) -> Tensor:
        """The end of the prompt that fits the window together with what is new."""
        room = math.ceil(self.window_seconds * self.frame_rate_hz) - new_frames
        if prompt.shape[-1] <= room:
            return prompt
        if room <= 0:
            raise RequestError(f"a prompt came with {new_frames / self.frame_rate_hz:g} s of new audio, expected less "
                               f"than {self.window_seconds:g} s, so that some of the prompt fits the window")
        warnings.warn(f"the prompt has {prompt.shape[-1] / self.frame_rate_hz:g} s; its last "
                      f"{room / self.frame_rate_hz:g} s fit the window of {self.name!r} and are continued",
                      stacklevel=3)
        return prompt[..., prompt.shape[-1] - room :]

    @torch.inference_mode()
    def _condition(self, texts: Sequence[Any], params: MagnetParams) -> tuple[Tensor, bool]:
        """Projected descriptions `[B or 2 B, L, D]`, null ones behind them when guidance needs them."""
        context = ConditionContext(self.sample_rate, self.frame_rate_hz, 0, device=str(self.device))
        prepared = [None if text is None else self._text.prepare(text, context) for text in texts]
        # Where nothing is conditioned both branches are the same, and guidance is nothing.
        guided = params.guided and any(item is not None for item in prepared)
        condition = self._text.encode([*prepared, *[None] * len(prepared)] if guided else prepared, context)
        weight, bias = self._projection
        assert weight is not None
        values = F.linear(condition.values.to(weight), weight, bias)
        return values * condition.mask[..., None].to(values), guided
