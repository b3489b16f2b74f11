"""What a loaded model says about itself: the read-only side of an engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from soundforge.engine.model import LanguageModelRuntime
from soundforge.errors import JobError
from soundforge.interfaces import Codec, Slot
from soundforge.model_loading import Model


class LoadedModel:
    """A model and its properties; none of them after it was let go of (`JobError`)."""

    def __init__(self, model: Model) -> None:
        self._model: Model | None = model

    @property
    def model(self) -> Model:
        """What is run; raises JobError after `close`."""
        if self._model is None:
            raise JobError("the engine is closed; load the model again")
        return self._model

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def codec(self) -> Codec:
        return self.model.codec

    @property
    def device(self) -> torch.device:
        return device_of(self.model)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.codec.sample_rate

    @property
    def channels(self) -> int:
        return self.codec.channels

    @property
    def frame_rate_hz(self) -> float:
        """Frames of codes per second."""
        return float(self.codec.frame_rate_hz)

    @property
    def window_seconds(self) -> float:
        """Longest sequence the model was trained on."""
        model = self.model
        return model.parts.window_seconds if isinstance(model, LanguageModelRuntime) else model.window_seconds

    @property
    def longest_seconds(self) -> float:
        """Longest clip that it makes: infinity for a language model, which goes on window by window."""
        return math.inf if isinstance(self.model, LanguageModelRuntime) else self.window_seconds

    @property
    def continues(self) -> bool:
        """Whether it carries on from a prompt."""
        return isinstance(self.model, LanguageModelRuntime) or self.model.continues

    @property
    def slots(self) -> Sequence[Slot]:
        """The conditions it takes."""
        model = self.model
        return model.conditions.slots if isinstance(model, LanguageModelRuntime) else tuple(model.slots)

    @property
    def licence(self) -> str:
        """Of the weights, "" when it is not known."""
        model = self.model
        return model.parts.licence if isinstance(model, LanguageModelRuntime) else str(getattr(model, "licence", ""))

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Keywords in which this model differs from the contract's defaults."""
        model = self.model
        return model.parts.defaults if isinstance(model, LanguageModelRuntime) else model.defaults

    def __repr__(self) -> str:
        if self._model is None:
            return "Engine(closed)"
        return f"Engine({self.name!r}, {self.sample_rate} Hz, {self.channels} ch, {self.device})"


def device_of(model: Model) -> torch.device:
    """Where a model computes."""
    return torch.device(getattr(model, "device", "cpu"))
