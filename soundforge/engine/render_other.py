"""Clips from models that run themselves (flow matching, masked decoding): same door, other engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from soundforge.audio import SEAM_SECONDS, looped
from soundforge.clip import Clip
from soundforge.engine.generate import Progress
from soundforge.engine.prompt import Prompt
from soundforge.engine.render import FindDecoder, shared_progress
from soundforge.errors import RequestError
from soundforge.interfaces import GeneratedChunk, GenerativeModel
from soundforge.requests import CancelToken, GenerateRequest, describe_value
from soundforge.version import __version__


def stream_other(model: GenerativeModel, requests: Sequence[GenerateRequest], prompt: Prompt | None,
                 cancel: CancelToken, progress: Progress | None) -> Iterator[list[GeneratedChunk]]:
    """The model's own chunks.

    Raises:
        RequestError: a prompt for a model that cannot continue.
    """
    if prompt is not None and not model.continues:
        raise RequestError(f"a prompt came, but {model.name!r} cannot continue audio; use generate")
    return model.stream(requests, cancel=cancel, prompt=None if prompt is None else prompt.codes, progress=progress)


def stream_new(model: GenerativeModel, request: GenerateRequest, prompt: Prompt | None, cancel: CancelToken,
               progress: Progress | None) -> Iterator[GeneratedChunk]:
    """The chunks of one request without what is the prompt's, cut to whole bars."""
    hop = model.codec.hop_length
    frames = 0 if prompt is None else prompt.codes.shape[-1]
    skip_samples, skip_frames = frames * hop, frames
    left = None if request.bars is None else round(request.new_seconds * model.sample_rate)
    for chunks in stream_other(model, [request], prompt, cancel, progress):
        chunk = chunks[0]
        samples = chunk.samples[:, skip_samples:]
        skip_samples -= min(skip_samples, chunk.samples.shape[-1])
        codes = None if chunk.codes is None else chunk.codes[:, skip_frames:]
        if chunk.codes is not None:
            skip_frames -= min(skip_frames, chunk.codes.shape[-1])
        if left is not None:
            samples = samples[:, :left]
            left -= samples.shape[-1]
        yield GeneratedChunk(np.ascontiguousarray(samples), codes, chunk.latents)


def render_other(model: GenerativeModel, requests: Sequence[GenerateRequest], *, prompt: Prompt | None,
                 cancel: CancelToken, progress: Progress | None, find_decoder: FindDecoder) -> list[Clip]:
    """Run a batch to its end; see `soundforge.engine.render.render`."""
    began = time.perf_counter()
    decoder = None if requests[0].decoder is None else find_decoder(requests[0].decoder)
    progress, decoding = shared_progress(progress, decoder is not None)
    # A model that starts from noise gets the noise that came; of any other it is the decoder's.
    noise = None if getattr(model, "starts_from_noise", False) else requests[0].noise
    given = requests if decoder is None or noise is None else [replace(request, noise=None) for request in requests]
    parts: list[list[GeneratedChunk]] = [[] for _ in requests]
    for chunks in stream_other(model, given, prompt, cancel, progress):
        for own, chunk in zip(parts, chunks, strict=True):
            own.append(chunk)
    clips = []
    for index, (request, own) in enumerate(zip(requests, parts, strict=True)):
        samples = np.concatenate([c.samples for c in own], axis=-1)
        codes = _joined([c.codes for c in own])
        latents = _joined([c.latents for c in own])
        if decoder is not None:
            source = torch.as_tensor(codes if codes is not None else latents)[None]
            samples = decoder.decode(source, seed=request.seed or 0, cancel=cancel, noise=noise,
                                     options=request.decoder_options, progress=decoding)[0].cpu().float().numpy()
        hop = model.codec.hop_length
        start = 0 if prompt is None else prompt.codes.shape[-1] * hop
        if request.bars is not None:
            end = start + round(request.new_seconds * model.sample_rate)
            beyond = samples[:, end:end + round(SEAM_SECONDS * model.sample_rate)]
            samples = samples[:, :end]
            if request.loop and (prompt is None or request.only_new):
                samples = np.concatenate([samples[:, :start], looped(samples[:, start:], beyond)], axis=-1)
        if request.only_new:
            samples, start = samples[:, start:], 0
            codes = codes if codes is None or prompt is None else codes[:, prompt.codes.shape[-1]:]
        seconds = time.perf_counter() - began
        info: dict[str, Any] = {
            "version": __version__, "computing_seconds": round(seconds, 4),
            "real_time_factor": round((samples.shape[-1] - start) / model.sample_rate / seconds, 3)}
        if len(requests) > 1:
            info["batch"] = {"items": len(requests), "index": index}
        if prompt is not None:
            info["prompt"] = describe_value(prompt.source) if prompt.audio is not None else {"codes": True}
        clips.append(Clip(np.ascontiguousarray(samples), model.sample_rate, request=request, seed=request.seed or 0,
                          codes=codes, model=model.name, prompt_samples=start, bpm=request.bpm,
                          beats_per_bar=request.beats_per_bar, info=info))
    return clips


def _joined(pieces: Sequence[Any]) -> Any:
    known = [piece for piece in pieces if piece is not None]
    return np.concatenate(known, axis=-1) if known else None
