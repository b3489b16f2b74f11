"""Converting any checkpoint to our own form, as `soundforge convert` does."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from soundforge.checkpoints.native import save_native
from soundforge.errors import CheckpointError
from soundforge.interfaces import GenerativeModel, LanguageModelParts, LoadOptions

_PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


class ModelSource(Protocol):
    """What is asked of the host."""

    def load_model(self, name: str, options: LoadOptions) -> LanguageModelParts | GenerativeModel: ...

    def resolve(self, name: str) -> Path: ...


def convert(host: ModelSource, source: str, destination: Path, *, quantize: str | None = None,
            precision: str | None = None) -> Path:
    """Write the native form of a checkpoint.

    Args:
        host: gives models by name (`soundforge.host.PluginHost`).
        source: folder or hub name.
        destination: folder that does not exist yet, or is empty.
        quantize: not available yet.
        precision: "float16", "float32", or None for float16 where that is exact.

    Raises:
        CheckpointError: the source cannot be loaded, has no native form, or the destination cannot be written.
    """
    if quantize is not None:
        raise CheckpointError(f"quantize came as {quantize!r}, but quantised weights are not available in this "
                              "version; convert without it")
    if precision is not None and precision not in _PRECISIONS:
        raise CheckpointError(f"precision came as {precision!r}, expected {' or '.join(_PRECISIONS)}")
    parts = host.load_model(source, LoadOptions(device="cpu"))
    if not isinstance(parts, LanguageModelParts):
        raise CheckpointError(f"{source} is no language model over codes; only these have a native form")
    save_native(parts, destination, dtype=_PRECISIONS[precision] if precision else None, resolve=host.resolve)
    return destination
