"""Converting any checkpoint to our own form, as `soundforge convert` does."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from soundforge.checkpoints.native import QUANTIZATIONS, quantization_of
from soundforge.checkpoints.native_save import save_native
from soundforge.errors import CheckpointError
from soundforge.interfaces import GenerativeModel, LanguageModelParts, LoadOptions
from soundforge.nn.language_model import LanguageModel
from soundforge.nn.quantised_model import quantise_language_model

_PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


class ModelSource(Protocol):
    """What is asked of the host."""

    def load_model(self, name: str, options: LoadOptions) -> LanguageModelParts | GenerativeModel: ...

    def resolve(self, name: str) -> Path: ...


def convert(host: ModelSource, source: str, destination: Path, *, quantize: str | None = None,
            precision: str | None = None) -> LanguageModelParts:
    """Write the native form of a checkpoint; returns what was written.

    Args:
        host: gives models by name (`soundforge.host.PluginHost`).
        source: folder or hub name.
        destination: folder that does not exist yet, or is empty.
        quantize: "int8" or "int4": the language model's large matrices in so many bits; None = as they are.
        precision: of all that is not quantised: "float16", "float32", or None for float16 where that is exact.

    Raises:
        CheckpointError: the source cannot be loaded, has no native form, or the destination cannot be written.
    """
    if quantize not in (None, *QUANTIZATIONS):
        raise CheckpointError(f"quantize came as {quantize!r}, expected {' or '.join(QUANTIZATIONS)}")
    if precision is not None and precision not in _PRECISIONS:
        raise CheckpointError(f"precision came as {precision!r}, expected {' or '.join(_PRECISIONS)}")
    parts = host.load_model(source, LoadOptions(device="cpu"))
    if not isinstance(parts, LanguageModelParts) or not isinstance(parts.lm, LanguageModel):
        raise CheckpointError(f"{source} is no language model over codes; only these have a native form")
    already = quantization_of(parts.folder)
    if quantize is not None and already not in (None, quantize):
        raise CheckpointError(f"{source} is quantised to {already} already; convert from the unquantised checkpoint")
    if quantize is not None:
        quantise_language_model(parts.lm, quantize)
    save_native(parts, destination, dtype=_PRECISIONS[precision] if precision else None,
                quantization=quantize or already, resolve=host.resolve)
    return parts
