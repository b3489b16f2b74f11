"""MAGNeT: text to music and sounds by masked parallel decoding, a few dozen network runs for a whole clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soundforge import hookimpl
from soundforge.checkpoints.audiocraft_kind import audiocraft_kind
from soundforge.interfaces import GenerativeModel, Host, LoadOptions, ModelFamilyDescriptor

SOUNDFORGE_CONTRACT = 1


def _recognises(folder: Path) -> bool:
    return audiocraft_kind(folder) == "transformer_lm_magnet"


def _load(host: Host, folder: Path | None, options: LoadOptions) -> GenerativeModel:
    from soundforge_plugins.magnet.loading import load_model

    return load_model(host, folder, options)


@hookimpl
def register_model_families(register: Callable[[ModelFamilyDescriptor], None]) -> None:
    register(ModelFamilyDescriptor(
        name="magnet", recognises=_recognises, load=_load,
        summary="MAGNeT and Audio-MAGNeT (10 and 30 s): masked parallel decoding",
    ))
