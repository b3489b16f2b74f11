"""A MAGNeT checkpoint folder to its model object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundforge.checkpoints import catalog, hub
from soundforge.checkpoints.codecs import AUDIOCRAFT_FILE
from soundforge.checkpoints.files import read_audiocraft
from soundforge.checkpoints.magnet import MagnetParts, load_magnet
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, ConditionerSetup, Host, LoadOptions
from soundforge_plugins.magnet.model import MagnetModel


def load_model(host: Host, folder: Path | None, options: LoadOptions) -> MagnetModel:
    """The model; raises `CheckpointError`, `NotCachedError`."""
    if folder is None:
        raise CheckpointError("the magnet family has no embedded checkpoint; give a folder or a hub name")
    if options.quantize is not None:
        raise CheckpointError(f"quantize came as {options.quantize!r}, but MAGNeT is not quantised; load it without")
    parts = load_magnet(folder, options.device)
    codec = _codec(host, folder).to(options.device)
    config = parts.network.config.lm
    if (codec.codebook_size != config.card or codec.n_codebooks < config.n_codebooks
            or codec.sample_rate != parts.sample_rate):
        raise CheckpointError(
            f"{folder}: the network has {config.n_codebooks} codebooks of {config.card} entries at {parts.sample_rate} "
            f"Hz, but the codec {codec.n_codebooks} of {codec.codebook_size} at {codec.sample_rate} Hz; the two do not "
            "belong together")
    text = host.conditioner("text", ConditionerSetup(parts.text.slot, {}, folder, "audiocraft", parts.config, codec,
                                                     options.device))
    name = hub.hub_name(folder)
    entry = catalog.find(name)
    return MagnetModel(name, parts, codec, text, folder=folder, defaults=defaults(parts),
                       licence=entry.licence if entry is not None else "")


def defaults(parts: MagnetParts) -> dict[str, Any]:
    """AudioCraft's generation parameters: its own for music, the published recipe's for sounds (16 kHz)."""
    music = {"temperature": 3.0, "top_p": 0.9, "cfg": 10.0}
    sounds = {"temperature": 3.5, "top_p": 0.8, "cfg": 20.0}
    own = sounds if parts.config.get("solver") == "audio_magnet" or parts.sample_rate == 16_000 else music
    return {**own, "top_k": 0, "seconds": parts.window_seconds}


def _codec(host: Host, folder: Path) -> Codec:
    path = folder / AUDIOCRAFT_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {AUDIOCRAFT_FILE}, the codec that belongs to the network")
    pointer = read_audiocraft(path).pretrained
    if pointer is None:
        return host.codec("encodec", path)
    beside = folder / pointer.rstrip("/").rpartition("/")[2]
    return host.codec("encodec", beside if beside.is_dir() else host.resolve(pointer.removeprefix("//pretrained/")))
