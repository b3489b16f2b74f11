"""From a model's name to what the engine runs: host, device, conditioners and decoders by name.

This is where the plugin host and the engine room meet; neither knows of the other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from soundforge.engine.model import LanguageModelRuntime
from soundforge.errors import CheckpointError, ConditionError, PluginError, RequestError, SettingsError
from soundforge.host import PluginHost, name_of
from soundforge.interfaces import (
    BringsProjection,
    Codec,
    Conditioner,
    ConditionerSetup,
    Decoder,
    DecoderSetup,
    GenerativeModel,
    LanguageModelParts,
    LoadOptions,
    Slot,
    SlotWeights,
    describe_slot,
)
from soundforge.nn.language_model import LanguageModel
from soundforge.settings import CODEC_PRECISIONS

Model = LanguageModelRuntime | GenerativeModel


def choose_device(name: str) -> str:
    """`auto` is CUDA where there is one, else the CPU (Apple's GPU must be asked for: `mps`).

    Raises:
        SettingsError: no such device on this machine.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise SettingsError(f"device came as {name!r}, expected auto, cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise SettingsError(f"device came as {name!r}, but PyTorch sees {torch.cuda.device_count()} CUDA devices here; "
                            "use cpu, or install a CUDA build of PyTorch")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError(f"device came as {name!r}, but there is no Apple GPU here; use cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise SettingsError(f"device came as {name!r}, expected auto, cpu, cuda, cuda:N or mps")
    return str(device)


def load_model(host: PluginHost, name: str | os.PathLike[str], device: str, quantize: str | None,
               codec_precision: str = "float32") -> Model:
    """Load a model by embedded name, folder, or hub name.

    Raises:
        CheckpointError, PluginError, SettingsError.
    """
    if quantize not in (None, "int8", "int4"):
        raise SettingsError(f"quantize came as {quantize!r}, expected None, 'int8' or 'int4'")
    device = choose_device(device)
    loaded = host.load_model(name, LoadOptions(device, quantize))
    if isinstance(loaded, LanguageModelParts):
        loaded = replace(loaded, codec=with_precision(loaded.codec, codec_precision))
    elif codec_precision != "float32":
        raise SettingsError(f"codec_precision came as {codec_precision!r}, but {loaded.name!r} is no decoder language "
                            "model; load it without")
    if not isinstance(loaded, LanguageModelParts):
        if quantize is not None:
            raise SettingsError(f"quantize came as {quantize!r}, but {loaded.name!r} is no decoder language model; "
                                "load it without")
        return loaded
    if quantize is not None:
        from soundforge.nn.quantised_model import quantise_language_model

        if not isinstance(loaded.lm, LanguageModel):
            raise SettingsError(f"quantize came as {quantize!r}, but the network of {loaded.name!r} is a "
                                f"{type(loaded.lm).__name__}, which cannot be quantised here; load it without")
        quantise_language_model(loaded.lm, quantize)
    return LanguageModelRuntime(loaded, ConditionerFinder(host, loaded, device))


class ConditionerFinder:
    """Conditioners of one model by the name a user says: a slot's, or a registered conditioner's that feeds one.

    Built when first asked for and kept. Thread-safe.
    """

    def __init__(self, host: PluginHost, parts: LanguageModelParts, device: str) -> None:
        self._host = host
        self._parts = parts
        self._device = device
        self._built: dict[tuple[str, str], Conditioner] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> tuple[Slot, Conditioner, bool] | None:
        """What feeds which slot, for the name of a slot or of a registered conditioner; None for any other.

        Raises:
            ConditionError: the conditioner of that name fits no slot of the model. PluginError, CheckpointError.
        """
        slots = {item.slot.name: item for item in self._parts.slots}
        registry = self._host.registries.conditioners
        if name in slots:
            item, conditioner = slots[name], slots[name].slot.conditioner
        elif name in registry:
            item, conditioner = self._slot_for(name), name
        else:
            return None
        key = (item.slot.name, conditioner)
        with self._lock:
            if key not in self._built:
                parts = self._parts
                width = parts.lm.config.d_model if isinstance(parts.lm, LanguageModel) else 0
                setup = ConditionerSetup(item.slot, item.tensors, parts.folder, parts.layout, parts.config,
                                         parts.codec, self._device, parts.name, width)
                made = self._host.conditioner(conditioner, setup)
                self._check_projection(conditioner, item.slot, made, width)
                self._built[key] = made
            return item.slot, self._built[key], registry[conditioner].automatic

    def _slot_for(self, name: str) -> SlotWeights:
        """The slot that a registered conditioner feeds here: the first of the model's that fits, else its own."""
        registry = self._host.registries.conditioners
        descriptor, slots = registry[name], [item.slot for item in self._parts.slots]
        fed = [item for item in self._parts.slots if not descriptor.misfit(item.slot)]
        if fed:
            return fed[0]
        own = descriptor.brings
        if own is not None and own.name not in {slot.name for slot in slots}:
            if own.fuse == "concat" or (own.fuse == "cross" and not self._attends):
                raise ConditionError(f"conditioner {name!r} of {registry.origin(name)} brings its own slot "
                                     f"{describe_slot(own)}, which model {self._parts.name!r} has no way to take in; "
                                     f"it takes sum, prepend{', cross' if self._attends else ''}")
            return SlotWeights(own)
        others = sorted(other for other, item in registry.items() if other != name
                        and any(not item.misfit(slot) for slot in slots))
        raise ConditionError(f"condition {name!r} came, but model {self._parts.name!r} has no slot for it; its slots: "
                             f"{', '.join(map(describe_slot, slots)) or 'none'}; conditioner {name!r} of "
                             f"{registry.origin(name)} feeds {descriptor.describe()}; conditioners for the model's "
                             f"slots: {', '.join(others) or 'none is loaded'}")

    @property
    def _attends(self) -> bool:
        return isinstance(self._parts.lm, LanguageModel) and self._parts.lm.config.cross_attention

    def _check_projection(self, name: str, slot: Slot, made: Conditioner, d_model: int) -> None:
        """Weights that the conditioner brings fit slot and network; one with a slot of its own must bring some."""
        registry = self._host.registries.conditioners
        origin = registry.origin(name)
        if not isinstance(made, BringsProjection):
            if slot not in [item.slot for item in self._parts.slots]:
                raise PluginError(f"conditioner {name!r} declares a slot of its own, {describe_slot(slot)}, but has no "
                                  "method projection() that gives its trained weights", origin.plugin, origin.version)
            return
        projection = made.projection()
        weight, bias = getattr(projection, "weight", None), getattr(projection, "bias", None)
        fits = isinstance(weight, torch.Tensor) and list(weight.shape) == [d_model, slot.width] and \
            bool(torch.isfinite(weight).all())
        fits = fits and (bias is None or (isinstance(bias, torch.Tensor) and list(bias.shape) == [d_model]
                                          and bool(torch.isfinite(bias).all())))
        if not fits:
            came = list(weight.shape) if isinstance(weight, torch.Tensor) else type(weight).__name__
            raise PluginError(f"the projection of conditioner {name!r} came as {came}, expected finite weights "
                              f"[{d_model}, {slot.width}] from slot {slot.name!r} to model {self._parts.name!r} and a "
                              f"bias [{d_model}] or None", origin.plugin, origin.version)


class DecoderFinder:
    """Decoders by name for one codec; built when first asked for and kept. Thread-safe."""

    def __init__(self, host: PluginHost, codec: Codec, codec_name: str, folder: Path | None, device: str) -> None:
        self._host = host
        self._setup = DecoderSetup(codec, codec_name, folder, device)
        self._built: dict[str, Decoder] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> Decoder:
        registry = self._host.registries.decoders
        if name not in registry:
            known = ", ".join(sorted(registry)) or "none is loaded"
            raise RequestError(f"decoder came as {name!r}, expected one of {known}, or None for the codec's own")
        with self._lock:
            if name not in self._built:
                self._built[name] = self._host.decoder(name, self._setup)
            return self._built[name]


def with_precision(codec: Codec, precision: str) -> Codec:
    """A codec that decodes in float32 (itself) or bfloat16.

    Raises:
        SettingsError: another precision, or a codec that has float32 only.
    """
    if precision not in CODEC_PRECISIONS:
        raise SettingsError(f"the codec's precision came as {precision!r}, expected {' or '.join(CODEC_PRECISIONS)}")
    if precision == "float32":
        return codec
    narrowed = getattr(codec, "decoding_in_bfloat16", None)
    if narrowed is None:
        raise SettingsError(f"the codec of this model ({type(codec).__name__}) decodes in float32 only; leave bfloat16 "
                            "out")
    made: Codec = narrowed()
    return made


def load_codec_by_name(host: PluginHost, name: str | os.PathLike[str]) -> Codec:
    """A codec by registered name, from a folder with a checkpoint, or from the hub.

    Raises:
        CheckpointError, PluginError, NotCachedError.
    """
    text = name_of(name, "codec")
    if text in host.registries.codecs:
        return host.codec(text)
    folder = Path(text).expanduser()
    if not folder.is_dir() and ("/" not in text or text.startswith((".", "/", "~")) or folder.exists()):
        raise CheckpointError(f"there is no codec {text!r}: no folder of that name; registered codecs: "
                              f"{_listed(host.registries.codecs)}")
    if not folder.is_dir():
        folder = host.resolve(text)
    from soundforge.checkpoints.codecs import load_codec_folder

    return load_codec_folder(folder, resolve=host.resolve)


def _listed(names: Sequence[str] | object) -> str:
    return ", ".join(sorted(names)) if names else "none"  # type: ignore[call-overload]
