"""What a request's values look like in a record: fit for JSON, audio and files by their hash.

A record is kept with the clip, so that it can be made again from the same inputs; it never holds audio itself.
Thread-safe: everything, for values that nobody changes meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from soundforge.blend import Blend


def describe_value(value: Any) -> Any:
    """JSON-fit description of a condition's value: text and numbers as they are, audio and files by their hash."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe_value(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): describe_value(v) for k, v in value.items()}
    if isinstance(value, Blend):
        return {"blend": [describe_value(value.a), describe_value(value.b)], "amount": value.amount}
    if isinstance(value, PurePath):
        return _describe_file(value)
    samples = getattr(value, "samples", getattr(value, "waveform", None))
    if samples is not None:
        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        return {"audio_sha256": digest, "n_samples": int(samples.shape[-1]), "channels": int(samples.shape[0]),
                "sample_rate": int(value.sample_rate)}
    return {"type": type(value).__name__, "repr": repr(value)[:200]}


def _describe_file(path: PurePath) -> dict[str, Any]:
    """A file that a condition reads itself (MIDI): its name, and the hash of what it holds."""
    try:
        return {"file": path.name, "file_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    except OSError:
        return {"file": path.name}


def describe_noise(noise: Any) -> dict[str, Any] | None:
    """A noise array by its hash and shape; None stays None."""
    if noise is None:
        return None
    array = np.ascontiguousarray(noise, dtype=np.float32)
    return {"noise_sha256": hashlib.sha256(array.tobytes()).hexdigest(), "shape": list(array.shape)}
