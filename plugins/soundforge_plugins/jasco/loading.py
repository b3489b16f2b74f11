"""A JASCO checkpoint folder to its model object."""

from __future__ import annotations

from pathlib import Path

from soundforge.checkpoints import catalog, hub
from soundforge.checkpoints.jasco import JascoParts, load_jasco
from soundforge.errors import CheckpointError
from soundforge.interfaces import ConditionerSetup, Host, LoadOptions
from soundforge_plugins.jasco.model import JascoModel


def load_model(host: Host, folder: Path | None, options: LoadOptions) -> JascoModel:
    """The model; raises `CheckpointError`, `NotCachedError`."""
    if folder is None:
        raise CheckpointError("the jasco family has no embedded checkpoint; give a folder or a hub name")
    if options.quantize is not None:
        raise CheckpointError(f"quantize came as {options.quantize!r}, but JASCO is not quantised; load it without")
    parts = load_jasco(folder, resolve=host.resolve, device=options.device)
    _check_codec(parts, folder)
    conditioners = {}
    for name, slot in parts.slots.items():
        # The codec's copy among a slot's tensors has become the codec.
        tensors = {key: tensor for key, tensor in slot.tensors.items() if not key.startswith("compression_model.")}
        conditioners[name] = host.conditioner(slot.slot.conditioner, ConditionerSetup(
            slot.slot, tensors, folder, "audiocraft", parts.config, parts.codec, options.device))
    name = hub.hub_name(folder)
    entry = catalog.find(name)
    return JascoModel(name, parts, conditioners, folder=folder, licence=entry.licence if entry is not None else "")


def _check_codec(parts: JascoParts, folder: Path) -> None:
    codec, config = parts.codec, parts.network.config
    width = codec.quantiser.decode(codec.no_codes(1, 1)).shape[1]
    if width != config.flow_dim or codec.frame_rate_hz != parts.frame_rate_hz:
        raise CheckpointError(f"{folder}: the network makes latents of width {config.flow_dim} at "
                              f"{parts.frame_rate_hz:g} Hz, but the codec's have width {width} at "
                              f"{codec.frame_rate_hz:g} Hz; the two do not belong together")
