"""What all checkpoint layouts share when a language model's parts are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from soundforge.errors import CheckpointError, SoundForgeError
from soundforge.interfaces import LanguageModelParts
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig

# Far above every published model; a damaged or hostile configuration must not make us build for hours.
_LIMITS = {"d_model": 1 << 16, "n_heads": 1 << 12, "n_layers": 1 << 10, "n_codebooks": 1 << 8, "card": 1 << 20,
           "ffn_width": 1 << 18}
_MAX_WINDOW_SECONDS = 3600.0


@contextmanager
def reading(source: str) -> Iterator[None]:
    """While entered, whatever a configuration of the wrong kind makes our code stumble over is the file's fault."""
    try:
        yield
    except SoundForgeError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
        what = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{source}: its configuration cannot be used: {type(error).__name__}: {what}") from error


def number(options: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number of a configuration within bounds; raises `CheckpointError`."""
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise CheckpointError(f"{name} is {value!r}, expected a number from {low:g} to {high:g}")
    return value


def make_lm_config(source: str, **values: Any) -> LanguageModelConfig:
    """A configuration from what a file says; raises `CheckpointError` for what no network can be built from."""
    try:
        for name, limit in _LIMITS.items():
            if values.get(name) is not None and not 1 <= values[name] <= limit:
                raise CheckpointError(f"{source}: {name} came as {values[name]}, expected 1 to {limit}")
        return LanguageModelConfig(**values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{source}: its network cannot be built: {error}") from error


def check_window(seconds: float, source: str) -> float:
    """The window in seconds; raises `CheckpointError` outside what can be meant."""
    if not 0.0 < seconds <= _MAX_WINDOW_SECONDS:
        raise CheckpointError(f"{source}: the window came as {seconds:g} s, expected up to {_MAX_WINDOW_SECONDS:g} s")
    return float(seconds)


def weights_dtype(tensors: Mapping[str, Tensor], device: str) -> torch.dtype:
    """The precision a language model runs in: as stored on CUDA, float32 elsewhere.

    Released weights are float16. Half precision is slow or missing on CPUs, and the references up-cast there.
    """
    if torch.device(device).type != "cuda":
        return torch.float32
    stored = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    return max(stored, key=lambda tensor: tensor.numel()).dtype if stored else torch.float32


def check_codec(parts: LanguageModelParts, source: str, sample_rate: int | None = None,
                channels: int | None = None) -> None:
    """Compare the codec with the language model that speaks its codes; one with more codebooks is set to use as many.

    Args:
        parts: with the codec.
        source: for errors.
        sample_rate, channels: what the language model was trained on, where its configuration says so.

    Raises:
        CheckpointError: other codebook size, too few codebooks, another rate or number of channels; both sides are
            named.
    """
    assert isinstance(parts.lm, LanguageModel)
    config, codec = parts.lm.config, parts.codec
    if codec.codebook_size != config.card or codec.n_codebooks < config.n_codebooks:
        raise CheckpointError(
            f"{source}: the language model has {config.n_codebooks} codebooks of {config.card} entries, but its codec "
            f"{codec.n_codebooks} of {codec.codebook_size}; the two do not belong together")
    if sample_rate is not None and codec.sample_rate != sample_rate:
        raise CheckpointError(f"{source}: the language model was trained at {sample_rate} Hz, but its codec runs at "
                              f"{codec.sample_rate} Hz; the two do not belong together")
    if channels is not None and codec.channels != channels:
        raise CheckpointError(f"{source}: the language model was trained on {channels} channels, but its codec gives "
                              f"{codec.channels}; the two do not belong together")
    if codec.n_codebooks > config.n_codebooks:
        try:
            codec.n_codebooks = config.n_codebooks
        except AttributeError as error:
            raise CheckpointError(f"{source}: its codec has {codec.n_codebooks} codebooks and the language model "
                                  f"{config.n_codebooks}, and this codec cannot be set to use fewer") from error
