"""The drums conditioner: a drum track through the codec, coarsest codebook only, blurred in time.

What is easy to get wrong, and exact here: an item without drums in a batch that has some is SILENCE that went
through the codec, not zeros; zeros it is only where no item has any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, Condition, ConditionContext, ConditionerSetup, Host
from soundforge.nn.audio_conditions import audio_value, mono_samples, separated
from soundforge_plugins.jasco.recording import checked_recording


@runtime_checkable
class LatentCodec(Codec, Protocol):
    """A codec whose latents can be had."""

    def decode_from_latent(self, latent: Tensor) -> Tensor: ...


class DrumsConditioner:
    """Feeds a drums slot (see `soundforge.interfaces.Conditioner` for the calls).

    Takes a Waveform or Clip that is the drums alone. Request option: `source_separation`, a callable from Waveform to
    Waveform that takes the drums out of a mix (the reference uses a separator there).

    Args:
        codec: of the model.
        blur_frames: frames that are averaged to one value.
        width: of the codec's latents.
        name: of the slot, for messages.
    """

    def __init__(self, codec: Codec, blur_frames: int, width: int, name: str = "drums") -> None:
        self._codec = codec
        self._blur_frames = blur_frames
        self._width = width
        self._name = name

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """Mono samples `[n_frames * hop]` at the codec's rate, zero-padded; None stays None."""
        if value is None:
            return None
        wave = checked_recording(audio_value(value, self._name), self._name, context)
        separate = context.options.get("source_separation")
        if separate is not None:
            wave = separated(separate, wave, self._name)
        mono = mono_samples(wave, self._codec.sample_rate)
        wanted = int(context.n_frames / context.frame_rate_hz * self._codec.sample_rate)
        return F.pad(mono, (0, wanted - mono.shape[0]))  # negative padding cuts

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """Blurred latents `[B, n_frames, W]`; every place is real."""
        waves = [wave for wave in prepared if wave is not None]
        mask = torch.ones(len(prepared), context.n_frames, dtype=torch.bool)
        if not waves:
            return Condition(torch.zeros(len(prepared), context.n_frames, self._width), mask)
        silence = torch.zeros_like(waves[0])
        # Rows that are the same (silence, and a drum track under several terms of guidance) are coded once.
        distinct: list[Tensor] = []
        places = []
        for wave in (silence if item is None else item for item in prepared):
            place = next((i for i, known in enumerate(distinct) if known is wave or torch.equal(known, wave)), None)
            places.append(len(distinct) if place is None else place)
            if place is None:
                distinct.append(wave)
        codes = self._codec.encode(torch.stack(distinct)[:, None].to(context.device), 1).codes
        latents = blurred(self._codec.decode_latent(codes).transpose(1, 2), self._blur_frames)
        return Condition(latents[places], mask)


def blurred(latents: Tensor, frames: int) -> Tensor:
    """`[B, T, W]` averaged over blocks of `frames`, each block's mean standing in all its frames.

    The last block is completed by frames mirrored at the end.
    """
    n_frames = latents.shape[1]
    missing = -n_frames % frames
    if missing:
        mirrored = torch.arange(n_frames - 2, n_frames - 2 - missing, -1).clamp(min=0)
        latents = torch.cat([latents, latents[:, mirrored]], dim=1)
    means = latents.unflatten(1, (-1, frames)).sum(dim=2) / frames  # type: ignore[no-untyped-call]
    return means.repeat_interleave(frames, dim=1)[:, :n_frames]  # type: ignore[no-any-return]


def make_drums_conditioner(host: Host, setup: ConditionerSetup) -> DrumsConditioner:
    """The conditioner that the checkpoint describes; raises CheckpointError when it has no codec."""
    if setup.codec is None:
        raise CheckpointError(f"slot {setup.slot.name!r} needs the model's codec, and none came")
    blur = int(setup.slot.options.get("blurring_factor", 3))
    if blur < 1:
        raise CheckpointError(f"slot {setup.slot.name!r} has blurring_factor {blur}, expected at least 1")
    return DrumsConditioner(setup.codec, blur, setup.slot.width, setup.slot.name)
