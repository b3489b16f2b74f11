"""The chroma conditioner of MusicGen Melody.

What is easy to get wrong, and exact here: the waves of a batch are zero-padded to the longest BEFORE chroma
(padding is silence, silence is class C); the features are then repeated or cut to the length the model was
trained with; the null melody is class C throughout, not zero; and in a generation beyond the window it is the
wave that is read on periodically, not the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.parts import number, reading
from soundforge.errors import CheckpointError, ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup, Host
from soundforge.nn.audio_conditions import audio_value, in_window, mono_samples, separated, side_by_side
from soundforge.nn.chroma import ChromaExtractor


class ChromaConditioner:
    """Feeds a chroma slot (see `soundforge.interfaces.Conditioner` for the calls).

    Args:
        extractor: waveform to chroma.
        length: frames the features are repeated or cut to, or None to leave them as they are.
        strongest_only: 1 for the strongest class and 0 for the others, as all published checkpoints take it.
        device: where the features are made.
        max_samples: waves are cut to it first (transformers' feature extractor does), or None.
        name: of the slot, for messages.

    Request options: `source_separation`, a callable from Waveform to Waveform that takes drums and bass out
    before the chroma; AudioCraft uses the vocals and other stems of a separator there.
    """

    def __init__(self, extractor: ChromaExtractor, length: int | None, *, strongest_only: bool = True,
                 device: str = "cpu", max_samples: int | None = None, name: str = "chroma") -> None:
        self.extractor = extractor
        self.length = length
        self._features = extractor.one_hot if strongest_only else extractor.normalised
        self._device = device
        self._max_samples = max_samples
        self._name = name

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """A Waveform or Clip as mono samples `[T]` at the extractor's rate; None stays None."""
        unknown = sorted(set(context.options) - {"source_separation"})
        if unknown:
            raise ConditionError(f"condition {self._name!r} got option {unknown[0]!r}, expected source_separation")
        if value is None:
            return None
        value = audio_value(value, self._name)
        if value.n_samples == 0:
            raise ConditionError(f"condition {self._name!r} came with no samples, expected some audio")
        separate = context.options.get("source_separation")
        if separate is not None:
            value = separated(separate, value, self._name)
        return mono_samples(value, self.extractor.sample_rate)

    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """Chroma `[B, L, 12]`; every place is real, those of null items too."""
        waves = [self._in_window(wave, context) for wave in prepared]
        features = self._features(side_by_side(waves, self._device))
        if self.length is not None:
            repeats = -(-self.length // features.shape[1])
            features = features.repeat(1, repeats, 1)[:, : self.length]
        return Condition(features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device))

    def _in_window(self, wave: Tensor | None, context: ConditionContext) -> Tensor:
        if wave is None:
            return torch.zeros(1)
        wave = in_window(wave, context, self.extractor.sample_rate)
        return wave if self._max_samples is None else wave[: self._max_samples]


def make_chroma_conditioner(host: Host, setup: ConditionerSetup) -> ChromaConditioner:
    """The extractor that the checkpoint describes.

    Raises:
        ConditionError: the slot has another width than the features.
        CheckpointError: the stored window does not fit the configuration.
    """
    with reading("the chroma condition"):
        return _make(setup)


def _make(setup: ConditionerSetup) -> ChromaConditioner:
    options: Mapping[str, Any] = setup.slot.options
    rate = int(number(options, "sample_rate" if "sample_rate" in options else "sampling_rate", 32000, 1000, 768000))
    exponent = int(number(options, "radix2_exp", 14, 4, 20))
    window = int(number(options, "n_fft", 1 << exponent, 16, 1 << 20))
    hop = int(number(options, "hop_length" if "hop_length" in options else "winhop", window // 4, 1, window))
    n_chroma = int(number(options, "n_chroma" if "n_chroma" in options else "num_chroma", 12, 1, 1024))
    if n_chroma != setup.slot.width:
        raise ConditionError(f"slot {setup.slot.name!r} takes features of width {setup.slot.width}, but chroma "
                             f"with {n_chroma} classes was configured")
    stored = setup.tensors.get("window")
    if stored is not None and stored.shape != (window,):
        raise CheckpointError(f"the chroma window of the checkpoint has shape {list(stored.shape)}, "
                              f"expected [{window}]")
    extractor = ChromaExtractor(rate, n_chroma, window, hop, stored, device=setup.device)
    length = int(number(options, "length_frames", 0, 0, 1_000_000))
    if not length and "segment_seconds" in options:
        length = extractor.n_frames(int(rate * number(options, "segment_seconds", 30.0, 0.0, 3600.0)))
    longest = int(number(options, "n_samples", 0, 0, 1 << 40))
    # AudioCraft's default, for a configuration that does not say, is not the strongest but all.
    strongest_only = bool(options.get("argmax", setup.layout == "transformers"))
    return ChromaConditioner(
        extractor,
        length or None,
        strongest_only=strongest_only,
        device=setup.device,
        max_samples=longest or None,
        name=setup.slot.name,
    )
