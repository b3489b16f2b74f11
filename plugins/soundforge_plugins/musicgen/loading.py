"""Loads a MusicGen or AudioGen checkpoint from whichever layout its folder has."""

from __future__ import annotations

from pathlib import Path

from soundforge.checkpoints import catalog, hub
from soundforge.checkpoints.audiocraft import load_audiocraft
from soundforge.checkpoints.codecs import codec_from_transformers
from soundforge.checkpoints.huggingface import load_huggingface
from soundforge.checkpoints.native import load_native
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, Host, LanguageModelParts, LoadOptions
from soundforge_plugins.musicgen.recognise import layout_of


def load_musicgen(host: Host, folder: Path | None, options: LoadOptions) -> LanguageModelParts:
    """The parts of a checkpoint; raises `CheckpointError`, `NotCachedError`."""
    if folder is None:
        raise CheckpointError("the musicgen family has no embedded checkpoint; give a folder or a hub name")
    layout = layout_of(folder)
    name = hub.hub_name(folder)
    entry = catalog.find(name)
    licence = entry.licence if entry is not None else ""

    def load_codec(path: Path) -> Codec:
        return host.codec("encodec", path)

    if layout == "audiocraft":
        return load_audiocraft(folder, load_codec=load_codec, resolve=host.resolve, device=options.device,
                               name=name, licence=licence)
    if layout == "transformers":
        return load_huggingface(folder, codec_from_tensors=codec_from_transformers, device=options.device,
                                name=name, licence=licence)
    if layout == "native":
        return load_native(folder, load_codec=load_codec, device=options.device)
    raise CheckpointError(f"{folder} is no MusicGen checkpoint; expected state_dict.bin with "
                          "compression_state_dict.bin, or config.json with safetensors")
