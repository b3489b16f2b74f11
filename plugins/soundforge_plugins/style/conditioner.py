"""The style conditioner of MusicGen-Style.

What is easy to get wrong, and exact here: one excerpt start serves the whole batch; the waves are zero-padded to
the longest first; a vector counts as real by the length of the WHOLE wave, not of the excerpt; an item without
a wave is masked throughout; when no item has one, there is a single masked vector per item.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from soundforge.errors import ConditionError
from soundforge.interfaces import Condition, ConditionContext
from soundforge.nn.audio_conditions import audio_value, in_window, mono_samples, side_by_side
from soundforge.nn.style import StyleEncoder
from soundforge.requests import check_number

OPTIONS = ("eval_q", "excerpt_seconds", "excerpt_start_seconds", "ds_factor", "encodec_n_q")


@dataclass(frozen=True)
class StyleSettings:
    """What the checkpoint says unless a request's options say otherwise.

    Args:
        sample_rate: of the waves, Hz.
        feature_rate_hz: frames per second of the features (codec or MERT).
        excerpt_seconds: length of the excerpt.
        eval_q: quantisers used.
        ds_factor: every n-th vector is kept.
        n_books: codebooks of the features used; 0 for continuous features.
        from_middle: take the excerpt from the middle rather than at random.
    """

    sample_rate: int = 32000
    feature_rate_hz: float = 50.0
    excerpt_seconds: float = 3.0
    eval_q: int = 3
    ds_factor: int = 15
    n_books: int = 4
    from_middle: bool = False


class StyleConditioner:
    """Feeds a style slot (see `soundforge.interfaces.Conditioner` for the calls).

    Args:
        encoder: the trained encoder.
        features: mono `[B, 1, T]` at `settings.sample_rate` to codes `[B, K, L]` or features `[B, L, W]`.
        settings: defaults of the checkpoint.
        device: where the encoder is.
        name: of the slot, for messages.

    Request options: `eval_q` (quantisers: fewer = looser), `excerpt_seconds`, `excerpt_start_seconds` (at random
    from the request's seed without it), `ds_factor`, `encodec_n_q`.
    """

    def __init__(self, encoder: StyleEncoder, features: Callable[[Tensor], Tensor], settings: StyleSettings, *,
                 device: str = "cpu", name: str = "style") -> None:
        self.encoder = encoder
        self.settings = settings
        self._features = features
        self._device = device
        self._name = name

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """A Waveform or Clip as mono samples `[T]` at the model's rate; None stays None."""
        self._with_options(context.options)
        if value is None:
            return None
        mono = mono_samples(audio_value(value, self._name), self.settings.sample_rate)
        shortest = self.settings.sample_rate / self.settings.feature_rate_hz
        if mono.shape[0] < shortest:
            raise ConditionError(f"condition {self._name!r} came with {mono.shape[0]} samples, expected at least "
                                 f"{shortest:g} ({shortest / self.settings.sample_rate:.3f} s)")
        return mono

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """The style's vectors `[B, L, W]`; null items are masked."""
        settings = self._with_options(context.options)
        waves = [None if wave is None else in_window(wave, context, settings.sample_rate) for wave in prepared]
        batch = side_by_side(waves, self._device)[:, None]
        longest = batch.shape[-1]
        if longest == 0:
            nothing = torch.zeros(len(waves), 1, self.encoder.config.width, device=self._device)
            return Condition(nothing, torch.zeros(len(waves), 1, dtype=torch.bool, device=self._device))
        start, n_samples = self._excerpt(longest, settings, context)
        features = self._features(batch[..., start : start + n_samples]).to(self._device)
        values = self.encoder(features, n_quantisers=settings.eval_q, every=settings.ds_factor,
                              n_books=settings.n_books or None)
        samples_per_vector = settings.sample_rate / settings.feature_rate_hz * settings.ds_factor
        lengths = torch.tensor([0 if wave is None else wave.shape[0] for wave in waves]) / samples_per_vector
        mask = torch.arange(values.shape[1])[None, :] < lengths[:, None]
        return Condition(values, mask.to(self._device))

    def _excerpt(self, n_available: int, settings: StyleSettings, context: ConditionContext) -> tuple[int, int]:
        """Start and length in samples."""
        n_samples = min(int(settings.excerpt_seconds * settings.sample_rate), n_available)
        last = n_available - n_samples
        wished = context.options.get("excerpt_start_seconds")
        if wished is not None:
            return min(round(float(wished) * settings.sample_rate), last), n_samples
        if settings.from_middle:
            return last // 2, n_samples
        return random.Random(context.seed).randint(0, last), n_samples

    def _with_options(self, options: Mapping[str, Any]) -> StyleSettings:
        """The settings with a request's options, checked."""
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise ConditionError(f"condition {self._name!r} got option {unknown[0]!r}, expected one of "
                                 f"{', '.join(OPTIONS)}")
        own, config = self.settings, self.encoder.config
        whole = {"eval_q": (own.eval_q, config.n_quantisers), "ds_factor": (own.ds_factor, 10_000),
                 "encodec_n_q": (own.n_books, config.n_feature_books)}
        numbers = {name: self._number(options, name, default, 1, high, int) if high else default
                   for name, (default, high) in whole.items()}
        self._number(options, "excerpt_start_seconds", 0.0, 0.0, 3600.0, float)
        return StyleSettings(
            own.sample_rate, own.feature_rate_hz,
            self._number(options, "excerpt_seconds", own.excerpt_seconds, 1.0 / own.feature_rate_hz, 3600.0, float),
            int(numbers["eval_q"]), int(numbers["ds_factor"]), int(numbers["encodec_n_q"]), own.from_middle)

    def _number(self, options: Mapping[str, Any], name: str, default: float, low: float, high: float,
                kind: type) -> float:
        value = options.get(name)
        if value is None:
            return default
        check_number(f"option {name!r} of condition {self._name!r}", value, low, high, whole=kind is int,
                     error=ConditionError)
        return float(value)
