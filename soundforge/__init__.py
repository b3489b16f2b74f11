"""SoundForge: generative music inside your set-up.

    import soundforge as sf

    engine = sf.load("starter")
    clip = engine.generate("warm lo-fi drums, 90 bpm", seconds=8, seed=7)
    more = engine.extend(clip, seconds=8)

Importing this package imports numpy and pluggy only; torch comes with the first `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soundforge.audio import Waveform, read
from soundforge.blend import Blend
from soundforge.clip import Clip
from soundforge.errors import (
    AudioError,
    CancelledError,
    CheckpointError,
    ConditionError,
    DeviceError,
    EngineLostError,
    InputError,
    JobError,
    LibraryError,
    NotCachedError,
    PluginError,
    QueueFullError,
    RequestError,
    SettingsError,
    SoundForgeError,
)
from soundforge.hookspecs import hookimpl
from soundforge.interfaces import EncodedAudio
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams
from soundforge.version import __version__

if TYPE_CHECKING:
    from soundforge.api import Engine, load, load_codec

__all__ = [
    "AudioError",
    "Blend",
    "CancelToken",
    "CancelledError",
    "CheckpointError",
    "Clip",
    "ConditionError",
    "DeviceError",
    "EncodedAudio",
    "Engine",
    "EngineLostError",
    "GenerateRequest",
    "InputError",
    "JobError",
    "LibraryError",
    "NotCachedError",
    "PluginError",
    "QueueFullError",
    "RequestError",
    "SamplingParams",
    "SettingsError",
    "SoundForgeError",
    "Waveform",
    "__version__",
    "hookimpl",
    "load",
    "load_codec",
    "read",
]


def __getattr__(name: str) -> Any:
    # torch takes a second to import; the control process and `--help` never need it.
    if name in ("Engine", "load", "load_codec"):
        from soundforge import api

        return getattr(api, name)
    raise AttributeError(f"module 'soundforge' has no attribute {name!r}")
