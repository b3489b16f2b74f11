"""Loads a MusicGen or AudioGen checkpoint from whichever layout its folder has."""

from __future__ import annotations

from pathlib import Path

import torch

from soundforge.checkpoints import catalog, hub
from soundforge.checkpoints.audiocraft import load_audiocraft, referenced_folder
from soundforge.checkpoints.codecs import codec_from_transformers
from soundforge.checkpoints.huggingface import load_huggingface
from soundforge.checkpoints.native import load_native, quantization_of
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, Host, LanguageModelParts, LoadOptions
from soundforge.nn import mert
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
        parts = load_audiocraft(folder, load_codec=load_codec, resolve=host.resolve, device=options.device,
                                name=name, licence=licence)
    elif layout == "transformers":
        parts = load_huggingface(folder, codec_from_tensors=codec_from_transformers, device=options.device,
                                 name=name, licence=licence)
    elif layout == "native":
        stored = quantization_of(folder)
        if options.quantize is not None and stored not in (None, options.quantize):
            raise CheckpointError(f"quantize came as {options.quantize!r}, but {folder} holds {stored} weights; "
                                  "load it without, or convert the unquantised checkpoint")
        parts = load_native(folder, load_codec=load_codec, device=options.device)
    else:
        raise CheckpointError(f"{folder} is no MusicGen checkpoint; expected state_dict.bin with "
                              "compression_state_dict.bin, or config.json with safetensors")
    _find_companions(host, parts)
    if torch.device(options.device).type == "cuda":  # Apple's GPU garbles EnCodec's transposed convolutions
        parts.codec.to(options.device)
    return parts


def _find_companions(host: Host, parts: LanguageModelParts) -> None:
    """Fetch the networks that the checkpoint only names now, rather than in the middle of the first request."""
    for item in parts.slots:
        slot = item.slot
        beside = parts.folder is not None and (parts.folder / "text_encoder").is_dir()
        if slot.conditioner == "text" and not beside and not item.tensors:
            host.resolve(str(slot.options.get("name", "t5-base")))
        elif slot.conditioner == "style" and slot.options.get("model_name") == "mert":
            referenced_folder(mert.HUB_NAME, parts.folder, host.resolve)
