"""Prompts: audio, clips or codes, brought to whole frames of codes whose end is the splice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.errors import AudioError
from soundforge.interfaces import Codec
from soundforge.take import Take


@dataclass(frozen=True)
class Prompt:
    """What is continued.

    Args:
        codes: int64 `[B, K, P]`, P at least 1.
        audio: its own samples at the model's rate and channels, or None when only codes were given. May be longer
            than the codes: its END and theirs agree.
        source: what the user gave, for the record.
        bpm: its tempo, or None.
    """

    codes: Tensor
    audio: Waveform | None
    source: Any
    bpm: float | None = None


def make_prompt(value: Any, codec: Codec, n_codebooks: int, model: str) -> Prompt:
    """A Clip, Take, Waveform, or codes (`[K, T]` or `[B, K, T]`, integers) to a prompt.

    A clip of the same model whose sound is just its decoded codes is taken by its codes; all else is encoded.

    Raises:
        AudioError: too short, of a wrong kind, or codes that the model does not know.
    """
    if isinstance(value, Clip):
        wave = value.as_waveform()
        if (value.codes is not None and value.model == model and value.codes.shape[0] == n_codebooks
                and value.codes.shape[1] * codec.hop_length == wave.n_samples and value.codes.shape[1] > 0):
            codes = torch.as_tensor(np.asarray(value.codes, dtype=np.int64))[None]
            return Prompt(codes, wave, value.as_waveform(), value.bpm)
        return _from_audio(wave, codec, n_codebooks, value.bpm)
    if isinstance(value, Take):
        return _from_audio(value.waveform, codec, n_codebooks, value.bpm)
    if isinstance(value, Waveform):
        return _from_audio(value, codec, n_codebooks, None)
    return Prompt(_check_codes(value, codec, n_codebooks), None, value)


def _from_audio(wave: Waveform, codec: Codec, n_codebooks: int, bpm: float | None) -> Prompt:
    own = wave.with_channels(codec.channels).resampled(codec.sample_rate)
    remainder = own.n_samples % codec.hop_length
    if own.n_samples - remainder < codec.hop_length:
        raise AudioError(f"the prompt has {wave.n_samples} samples ({wave.seconds:.4g} s), expected at least one frame "
                         f"of {codec.hop_length / codec.sample_rate:g} s; capture more")
    # Cut at the start: the end must be the splice.
    encoded = codec.encode(own.slice_samples(remainder), n_codebooks)
    if encoded.scales is not None:
        raise AudioError("the codec of this model normalises its input, so its codes alone cannot be continued; "
                         "expected a codec without scales")
    return Prompt(encoded.codes[:, :n_codebooks], own, wave, bpm)


def _check_codes(value: Any, codec: Codec, n_codebooks: int) -> Tensor:
    try:
        codes = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"the prompt came as {type(value).__name__}, expected a Clip, a Waveform, "
                         "or codes [codebooks, frames]") from error
    if codes.is_floating_point() or codes.dtype == torch.bool or codes.is_complex():
        raise AudioError(f"the prompt came as an array of {codes.dtype}, expected whole-number codes "
                         "[codebooks, frames], or audio as sf.Waveform(samples, sample_rate)")
    came = list(codes.shape)
    codes = codes.long()
    if codes.ndim == 2:
        codes = codes[None]
    if codes.ndim != 3 or codes.shape[1] != n_codebooks or codes.shape[2] < 1 or codes.shape[0] < 1:
        raise AudioError(f"codes came with shape {came}, expected [{n_codebooks}, frames] "
                         f"or [batch, {n_codebooks}, frames]")
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= codec.codebook_size:
        raise AudioError(f"codes from {low} to {high} came, expected 0 to {codec.codebook_size - 1}")
    return codes
