"""What made a clip, as JSON for the chunk `sfrg`, and back.

The record holds the whole request, the seed, the model and the clip's codes (base64 of the narrowest integers
that hold them, so that no sample of sound is needed to continue a clip exactly). Audio conditions stand as hashes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.blend import Blend
from soundforge.clip import Clip
from soundforge.errors import AudioError, InputError
from soundforge.requests import GenerateRequest, SamplingParams
from soundforge.version import __version__

RECORD_FORMAT = 1
MAX_RECORD_BYTES = 256 * 2**20


def clip_record(clip: Clip) -> dict[str, Any]:
    """The record of a clip, fit for `encode_record`."""
    return {
        "format": RECORD_FORMAT, "kind": "clip", "software": f"SoundForge {__version__}",
        "model": clip.model, "seed": clip.seed, "prompt_samples": clip.prompt_samples, "bpm": clip.bpm,
        "beats_per_bar": clip.beats_per_bar, "request": clip.request.record(),
        "codes": None if clip.codes is None else encode_codes(clip.codes), "info": dict(clip.info),
    }


def encode_record(record: Mapping[str, Any]) -> bytes:
    """A record as compact JSON in UTF-8.

    Raises:
        AudioError: it holds something that JSON cannot say.
    """
    try:
        text = json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False)
        return text.encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise AudioError(f"the clip's record cannot be written as JSON ({error}); "
                         "tags and info take texts, numbers, lists and mappings") from error


def decode_record(data: bytes, name: str) -> dict[str, Any]:
    """The record in a chunk `sfrg`.

    Raises:
        AudioError: not JSON, not a mapping, or of a later format than we know.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AudioError(f"{name!r} holds a damaged record ({error}); read its audio alone with sf.read") from error
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise AudioError(f"{name!r} holds a record that is no mapping with a format; it was not written by SoundForge")
    if record["format"] > RECORD_FORMAT:
        raise AudioError(f"{name!r} holds a record of format {record['format']}, this version knows {RECORD_FORMAT}; "
                         "update SoundForge")
    return record


def encode_codes(codes: NDArray[np.int64]) -> dict[str, Any]:
    """Codes `[K, T]` as shape, type and base64."""
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
    largest = max(high, -low - 1)
    dtype = "<i2" if largest < 2**15 else "<i4" if largest < 2**31 else "<i8"
    return {"shape": list(codes.shape), "dtype": dtype,
            "base64": base64.b64encode(np.ascontiguousarray(codes, dtype=dtype).tobytes()).decode("ascii")}


def decode_codes(value: Any, name: str) -> NDArray[np.int64] | None:
    """Codes int64 `[K, T]` from `encode_codes`' mapping, None from None; raises AudioError."""
    if value is None:
        return None
    try:
        if value["dtype"] not in ("<i2", "<i4", "<i8"):
            raise ValueError(f"type {value['dtype']!r}")
        rows, columns = value["shape"]
        flat = np.frombuffer(base64.b64decode(value["base64"], validate=True), dtype=value["dtype"])
        if not isinstance(rows, int) or not isinstance(columns, int) or rows < 0 or columns < 0:
            raise ValueError(f"shape {value['shape']!r}")
        return flat.reshape(rows, columns).astype(np.int64)
    except (KeyError, TypeError, ValueError, binascii.Error, OverflowError) as error:
        raise AudioError(f"{name!r} holds damaged codes ({error}); read its audio alone with sf.read") from error


def request_from_record(value: Any, name: str) -> GenerateRequest:
    """The request as it was recorded; audio conditions come back as their descriptions (hash and length).

    Raises:
        AudioError: it is damaged or holds values that no request may have.
    """
    known = set(GenerateRequest.__dataclass_fields__)
    try:
        fields = {key: item for key, item in value.items() if key in known}
        fields["sampling"] = SamplingParams(**fields.get("sampling", {}))
        for key in ("conditions", "condition_options", "guidance", "tags"):
            fields[key] = dict(fields.get(key, {}))
        fields["conditions"] = {name: _as_blend(value) for name, value in fields["conditions"].items()}
        return GenerateRequest(**fields)
    except (AttributeError, TypeError, ValueError, InputError) as error:
        raise AudioError(f"{name!r} holds a damaged request ({error}); read its audio alone with sf.read") from error


def _as_blend(value: Any) -> Any:
    """A blend from its description, all else as it is."""
    if isinstance(value, Mapping) and set(value) == {"blend", "amount"}:
        a, b = value["blend"]
        return Blend(a, b, value["amount"])
    return value


def _finite(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON has no words for."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not plain data")
