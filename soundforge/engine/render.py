"""Requests to clips: runs a generation, makes sound of its codes, cuts to bars, joins with the prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundforge.audio import SEAM_SECONDS, Samples, looped, splice
from soundforge.clip import Clip
from soundforge.engine.generate import Generation, Progress
from soundforge.engine.level_hold import LevelHold
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.prompt import Prompt
from soundforge.engine.splice_match import SpliceMatch
from soundforge.engine.stream import to_samples
from soundforge.errors import RequestError
from soundforge.interfaces import Codec
from soundforge.interfaces import Decoder as OtherDecoder
from soundforge.requests import CancelToken, GenerateRequest, describe_value
from soundforge.version import __version__

FindDecoder = Callable[[str], OtherDecoder]
"""A registered decoder by name, for this model's codec."""

@dataclass(frozen=True)
class NewLength:
    """Length of the new audio: frames to generate, samples to keep of them (None = all), and how many of those beyond
    the end a loop needs for its seam."""

    frames: int
    samples: int | None
    beyond: int = 0


def new_length(request: GenerateRequest, codec: Codec) -> NewLength:
    """From seconds: whole frames. From bars: exactly their samples, one frame more being made where they end inside.

    Raises:
        RequestError: less than one frame.
    """
    rate, hop = codec.frame_rate_hz, codec.hop_length
    beyond = round(SEAM_SECONDS * codec.sample_rate) if request.loop else 0
    if request.bars is None:
        frames = int(request.new_seconds * rate + 1e-6)
        samples = None
    else:
        samples = round(request.new_seconds * codec.sample_rate)
        frames = -(-(samples + beyond) // hop)
    if frames < 1:
        raise RequestError(f"{request.new_seconds:g} s were asked for, expected at least one frame of {1 / rate:g} s")
    return NewLength(frames, samples, beyond)


def check_no_options(request: GenerateRequest, model: str) -> None:
    """Raises RequestError when a request has options: they belong to models that run themselves."""
    if request.options:
        raise RequestError(f"options came ({', '.join(map(str, request.options))}), but {model!r} is a language model "
                           "and takes none; leave them out")


def render(runtime: LanguageModelRuntime, requests: Sequence[GenerateRequest], *, prompt: Prompt | None,
           cancel: CancelToken, progress: Progress | None, find_decoder: FindDecoder) -> list[Clip]:
    """Generate one batch to its end.

    Args:
        requests: one per item, alike in everything but text, conditions and seed; seeds are set.
        prompt: what is continued by all of them, or None.

    Raises:
        CancelledError, ConditionError, RequestError, AudioError: see the engine's `generate`.
    """
    began = time.perf_counter()
    first, codec = requests[0], runtime.codec
    check_no_options(first, runtime.name)
    length = new_length(first, codec)
    decoder = None if first.decoder is None else find_decoder(first.decoder)
    progress, decoding = shared_progress(progress, decoder is not None)
    codes = None if prompt is None else prompt.codes.expand(len(requests), -1, -1)
    level = LevelHold(codec) if first.level_hold else None
    generation = Generation(runtime, requests, prompt=codes, new_frames=length.frames, cancel=cancel,
                            progress=progress, prompt_audio=None if prompt is None else prompt.audio,
                            on_shift=None if level is None else level.on_shift)
    new_codes = generation.run()
    del generation  # its state is the largest thing there is; decoding needs the room
    everything = new_codes if codes is None else torch.cat([codes.to(new_codes), new_codes], dim=-1)
    decoded = _decode(codec, decoder, everything, requests, cancel, decoding)
    if level is not None:
        held = 0 if prompt is None else prompt.codes.shape[-1] * codec.hop_length
        for item in (decoded,):
            gained = level.apply(np.stack([d[:, held:] for d in item]), 0, codec.hop_length)
            for index, d in enumerate(item):
                d[:, held:] = gained[index]
    seconds = time.perf_counter() - began
    return [_clip(runtime, request, decoded[i], everything[i], prompt, length, len(requests), i, seconds)
            for i, request in enumerate(requests)]


def shared_progress(progress: Progress | None, shared: bool) -> tuple[Progress | None, Progress | None]:
    """What the model tells, and what a decoder of its own tells: half of the whole each where there is one."""
    if progress is None or not shared:
        return progress, None
    return (lambda done, total: progress(done // 2, total)), (lambda done, total: progress((total + done) // 2, total))


def _decode(codec: Codec, decoder: OtherDecoder | None, codes: Tensor, requests: Sequence[GenerateRequest],
            cancel: CancelToken, progress: Progress | None) -> list[Samples]:
    cancel.raise_if_cancelled()
    if decoder is None:
        with torch.inference_mode():
            return to_samples(codec.decode(codes))
    first = requests[0]
    return to_samples(decoder.decode(codes, seed=[r.seed or 0 for r in requests], cancel=cancel, noise=first.noise,
                                     options=first.decoder_options, progress=progress))


def _clip(runtime: LanguageModelRuntime, request: GenerateRequest, decoded: Samples, codes: Tensor,
          prompt: Prompt | None, length: NewLength, batch: int, index: int, computing_seconds: float) -> Clip:
    samples, start, info = _sound(runtime.codec, request, decoded, prompt, length)
    rate = runtime.codec.sample_rate
    info = {"version": __version__, "computing_seconds": round(computing_seconds, 4),
            "real_time_factor": round((samples.shape[-1] - start) / rate / computing_seconds, 3), **info}
    if batch > 1:
        info["batch"] = {"items": batch, "index": index}
    if request.only_new and prompt is not None:
        codes = codes[:, prompt.codes.shape[-1]:]
    return Clip(np.ascontiguousarray(samples), rate, request=request, seed=request.seed or 0,
                codes=codes.cpu().numpy(), model=runtime.name, prompt_samples=start, bpm=request.bpm,
                beats_per_bar=request.beats_per_bar, info=info)


def _sound(codec: Codec, request: GenerateRequest, decoded: Samples, prompt: Prompt | None,
           length: NewLength) -> tuple[Samples, int, dict[str, Any]]:
    """The samples of a clip, where its new ones begin, and what the record says of its prompt."""
    info: dict[str, Any] = {}
    samples, start = decoded, 0
    if prompt is not None:
        start = prompt.codes.shape[-1] * codec.hop_length
        info["prompt"] = describe_value(prompt.source) if prompt.audio is not None else {"codes": True}
        info["prompt_frames"] = int(prompt.codes.shape[-1])
        if request.splice and prompt.audio is not None:
            overlap = round(request.crossfade_ms / 1000 * codec.sample_rate)
            samples, match = join(prompt.audio.samples, decoded, start, overlap, codec.sample_rate)
            info |= {"splice_gain": match.gain, "splice_colour_db": match.colour_db}
            start = prompt.audio.n_samples
    end = samples.shape[-1] if length.samples is None else start + length.samples
    begin = start if request.only_new else 0
    made = samples[:, begin:end]
    if start == begin:
        made = looped(made, samples[:, end:end + length.beyond])
    return made, start - begin, info


def join(own: Samples, decoded: Samples, start: int, overlap: int, sample_rate: int) -> tuple[Samples, SpliceMatch]:
    """The prompt's own samples, a crossfade, and the continuation at the prompt's level and in its colour.

    Args:
        own: the prompt as it came, `[C, a]`.
        decoded: prompt and continuation as the codec gives them, `[C, n]`; their seam is at `start`.
        overlap: samples of the crossfade, all of them before the seam.

    Returns:
        `[C, a + n - start]` and how the continuation was matched.
    """
    match = SpliceMatch.of(own, decoded[:, :start], sample_rate)
    begin = start - min(overlap, start)
    return splice(own, match.applied(decoded[:, begin:], decoded[:, :begin]), start - begin), match
