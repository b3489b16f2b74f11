"""A clip's codes made into sound anew, by another decoder or by the codec's own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from soundforge.clip import Clip
from soundforge.engine.generate import Progress
from soundforge.engine.render import FindDecoder
from soundforge.errors import AudioError
from soundforge.interfaces import Codec
from soundforge.requests import CancelToken


def redecode(codec: Codec, clip: Clip, decoder: str | None, find_decoder: FindDecoder, *, seed: int | None,
             cancel: CancelToken, progress: Progress | None, noise: Any = None,
             options: Mapping[str, Any] | None = None) -> Clip:
    """The same clip with other sound.

    Args:
        codec: of the model that made the clip.
        decoder: a registered decoder's name, None = the codec's own.
        seed: of the decoder's noise; None = the clip's, so that it can be made again.
        noise, options: see `soundforge.interfaces.Decoder`.

    Returns:
        A clip of the length its codes have, cut to the clip's own where that is shorter (whole bars). A prompt that
        was kept by splicing is decoded, too.

    Raises:
        AudioError: the clip carries no codes, or not this codec's.
    """
    if clip.codes is None:
        raise AudioError(f"the clip of model {clip.model!r} carries no codes, so it cannot be decoded again; "
                         "generate it with decoder=... instead")
    codes = torch.as_tensor(np.asarray(clip.codes, dtype=np.int64))[None]
    if codes.shape[1] > codec.n_codebooks or (codes.numel() and int(codes.max()) >= codec.codebook_size):
        raise AudioError(f"the clip has {codes.shape[1]} codebooks with entries up to {int(codes.max())}, expected at "
                         f"most {codec.n_codebooks} of {codec.codebook_size}; load the model that made it "
                         f"({clip.model or 'unknown'})")
    seed = clip.seed if seed is None else seed
    began = time.perf_counter()
    if decoder is None:
        with torch.inference_mode():
            decoded = codec.decode(codes)
    else:
        decoded = find_decoder(decoder).decode(codes, seed=seed, cancel=cancel, progress=progress, noise=noise,
                                               options=options)
    samples = decoded[0].cpu().float().numpy()
    # What processors cut or resampled says nothing about the codes.
    own = samples.shape[-1] if clip.request.processors else clip.waveform.shape[-1]
    if own < samples.shape[-1]:
        samples = samples[:, :own]
    info = {**clip.info, "decoder": decoder or "codec", "decoder_seed": seed,
            "decoding_seconds": round(time.perf_counter() - began, 4)}
    prompt = int(info.get("prompt_frames", 0)) * codec.hop_length if clip.prompt_samples else 0
    request = replace(clip.request, decoder=decoder, decoder_options=dict(options or {}))
    return replace(clip, waveform=np.ascontiguousarray(samples), sample_rate=codec.sample_rate, request=request,
                   prompt_samples=min(prompt, samples.shape[-1]), info=info)
