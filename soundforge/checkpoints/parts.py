"""What all checkpoint layouts share when a language model's parts are put together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from soundforge.errors import CheckpointError
from soundforge.interfaces import LanguageModelParts
from soundforge.nn.language_model import LanguageModel


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
    """Compare the codec with the language model that speaks its codes.

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
