"""The MusicGen family: MusicGen in all its published variants, and AudioGen, in every layout they come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soundforge import hookimpl
from soundforge.interfaces import Host, LanguageModelParts, LoadOptions, ModelFamilyDescriptor
from soundforge_plugins.musicgen.recognise import layout_of

SOUNDFORGE_CONTRACT = 1


def _recognises(folder: Path) -> bool:
    return layout_of(folder) is not None


def _load(host: Host, folder: Path | None, options: LoadOptions) -> LanguageModelParts:
    from soundforge_plugins.musicgen.loading import load_musicgen

    return load_musicgen(host, folder, options)


@hookimpl
def register_model_families(register: Callable[[ModelFamilyDescriptor], None]) -> None:
    register(ModelFamilyDescriptor(
        name="musicgen", recognises=_recognises, load=_load,
        summary="MusicGen (small to large, melody, style, stereo) and AudioGen; AudioCraft, transformers and "
                "native layouts",
    ))
