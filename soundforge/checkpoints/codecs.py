"""Codec checkpoints to codec objects: AudioCraft, transformers, Descript and our own layout.

    codec = load_codec_folder("encodec_32khz/")

Weights are folded (weight normalisation) and kept in float32, as the references run them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from soundforge.checkpoints.codec_configs import (
    dac_from_descript,
    dac_from_transformers,
    encodec_from_audiocraft,
    encodec_from_native,
    encodec_from_transformers,
)
from soundforge.checkpoints.codec_names import (
    Names,
    audiocraft_encodec_names,
    descript_dac_names,
    gather,
    transformers_dac_names,
    transformers_encodec_names,
)
from soundforge.checkpoints.files import (
    AudioCraftFile,
    assign_state,
    build_empty,
    read_audiocraft,
    read_json,
    read_tensors,
    read_torch_file,
)
from soundforge.errors import CheckpointError, NotCachedError, SoundForgeError
from soundforge.nn.dac import DacCodec, DacConfig, dac_network
from soundforge.nn.encodec import EncodecCodec, EncodecConfig, encodec_network
from soundforge.nn.streaming_codec import CodecNetwork, NeuralCodec

AUDIOCRAFT_FILE = "compression_state_dict.bin"
NATIVE_CONFIG = "codec.json"
NATIVE_WEIGHTS = "codec.safetensors"
NATIVE_FORMAT = "soundforge-codec-1"

T = TypeVar("T")


def load_codec_folder(path: str | Path, *, resolve: Callable[[str], Path] | None = None) -> NeuralCodec:
    """The codec of a checkpoint folder or file.

    Args:
        path: a folder with `codec.json` (ours), `config.json` (transformers: EnCodec, DAC, or a MusicGen that
            contains one), `compression_state_dict.bin` (AudioCraft) or one `.pth` (Descript), looked for in
            this order; or one such `.bin`, `.th`, `.pth` file.
        resolve: gives the local folder of a model that an AudioCraft file only names and that is not beside it.

    Raises:
        CheckpointError: nothing there, corrupted, or tensors missing, surplus or misshapen (all are listed).
        NotCachedError: the file names another model that is not on this machine.
    """
    path = Path(path)
    if path.is_file():
        return _load_file(path, resolve)
    if (path / NATIVE_CONFIG).is_file():
        return _load_native(path)
    if (path / "config.json").is_file():
        config = read_json(path / "config.json")
        if config.get("model_type") in ("encodec", "dac"):
            return codec_from_transformers(config, read_tensors(path), str(path))
        if isinstance(config.get("audio_encoder"), dict):
            prefix = "audio_encoder."
            inside = {name.removeprefix(prefix): t for name, t in read_tensors(path).items() if name.startswith(prefix)}
            return codec_from_transformers(config["audio_encoder"], inside, str(path))
    if (path / AUDIOCRAFT_FILE).is_file():
        return _load_file(path / AUDIOCRAFT_FILE, resolve)
    descript = sorted(path.glob("*.pth")) if path.is_dir() else []
    if len(descript) == 1:
        return _load_file(descript[0], resolve)
    raise CheckpointError(
        f"{path} holds no codec; expected {NATIVE_CONFIG}, a config.json of EnCodec or DAC, or {AUDIOCRAFT_FILE}"
    )


def codec_from_audiocraft(file: AudioCraftFile) -> NeuralCodec:
    """The codec of an AudioCraft export with weights (see `read_audiocraft`)."""
    source = str(file.path)
    config = _understood(source, lambda: encodec_from_audiocraft(file.config))
    network = _understood(source, lambda: build_empty(lambda: encodec_network(config)))
    _fill(network, file.tensors, audiocraft_encodec_names(network, config.n_codebooks), source)
    return EncodecCodec(network, config)


def codec_from_transformers(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> NeuralCodec:
    """The codec that `config` (of model type `encodec` or `dac`) describes.

    Args:
        config: contents of `config.json`, or of its `audio_encoder` part.
        tensors: names as transformers saves the codec by itself.
        source: file or folder, for errors.
    """
    kind = config.get("model_type")
    if kind == "encodec":
        encodec = _understood(source, lambda: encodec_from_transformers(config))
        network = _understood(source, lambda: build_empty(lambda: encodec_network(encodec)))
        _fill(network, tensors, transformers_encodec_names(network, encodec.n_codebooks), source)
        return EncodecCodec(network, encodec)
    if kind == "dac":
        dac = _understood(source, lambda: dac_from_transformers(config))
        network = _understood(source, lambda: build_empty(lambda: dac_network(dac)))
        _fill(network, tensors, transformers_dac_names(network, dac), source)
        return DacCodec(network, dac)
    raise CheckpointError(f"{source}: the codec's model_type is {kind!r}, expected 'encodec' or 'dac'")


def save_codec_folder(codec: EncodecCodec | DacCodec, folder: str | Path) -> None:
    """Write a codec in our own layout: configuration as JSON, folded weights as safetensors."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "dac" if isinstance(codec, DacCodec) else "encodec"
    state = {name: tensor.contiguous() for name, tensor in codec.network.state_dict().items()}
    save_file(state, folder / NATIVE_WEIGHTS, metadata={"format": "pt"})
    written = {"format": NATIVE_FORMAT, "kind": kind, "name": codec.name, "config": dataclasses.asdict(codec.config)}
    (folder / NATIVE_CONFIG).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def _load_native(folder: Path) -> NeuralCodec:
    source = str(folder)
    written = read_json(folder / NATIVE_CONFIG)
    if written.get("format") != NATIVE_FORMAT:
        raise CheckpointError(f"{source}: format {written.get('format')!r}, this version reads {NATIVE_FORMAT!r}")
    kind, name = written.get("kind"), str(written.get("name", ""))
    tensors = {name: tensor.clone() for name, tensor in read_tensors(folder / NATIVE_WEIGHTS).items()}
    if kind == "dac":
        dac = _understood(source, lambda: DacConfig(**written["config"]))
        network = _understood(source, lambda: build_empty(lambda: dac_network(dac)))
        assign_state(network, tensors, source=source)
        return DacCodec(network, dac, name)
    if kind == "encodec":
        encodec = _understood(source, lambda: encodec_from_native(written["config"]))
        network = _understood(source, lambda: build_empty(lambda: encodec_network(encodec)))
        assign_state(network, tensors, source=source)
        return EncodecCodec(network, encodec, name)
    raise CheckpointError(f"{source}: codec of kind {kind!r}, expected 'encodec' or 'dac'")


def _load_file(path: Path, resolve: Callable[[str], Path] | None) -> NeuralCodec:
    package = read_torch_file(path) if path.suffix == ".pth" else None
    if isinstance(package, dict) and isinstance(package.get("state_dict"), dict):
        return _from_descript(package, path)
    file = read_audiocraft(path)
    if file.pretrained is None:
        return codec_from_audiocraft(file)
    wanted = file.pretrained.removeprefix("//pretrained/")
    beside = path.parent / wanted.rstrip("/").rsplit("/", 1)[-1]
    if beside.is_dir() and beside.resolve() != path.parent.resolve():
        return load_codec_folder(beside, resolve=resolve)
    if resolve is None:
        raise NotCachedError(f"{path} refers to {wanted}; put that model's files into {beside}, or let it be fetched")
    return load_codec_folder(resolve(wanted))


def _from_descript(package: Mapping[str, Any], path: Path) -> NeuralCodec:
    metadata = package.get("metadata")
    kwargs = metadata.get("kwargs") if isinstance(metadata, dict) else None
    if not isinstance(kwargs, dict):
        raise CheckpointError(f"{path} has no 'metadata' with 'kwargs', which say the shape of the DAC")
    config = _understood(str(path), lambda: dac_from_descript(kwargs))
    network = _understood(str(path), lambda: build_empty(lambda: dac_network(config)))
    _fill(network, package["state_dict"], descript_dac_names(network, config), str(path))
    return DacCodec(network, config)


def _fill(network: CodecNetwork, tensors: Mapping[str, Tensor], names: Names, source: str) -> None:
    shown = {ours: theirs if isinstance(theirs, str) else theirs[0] for ours, theirs in names.items()}
    assign_state(network, gather(tensors, names, source=source), source=source, names=shown)


def _understood(source: str, build: Callable[[], T]) -> T:
    """What `build` gives; a configuration that lacks something or asks for the unknown is the file's fault."""
    try:
        return build()
    except SoundForgeError:
        raise
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError, RuntimeError) as error:
        what = f"no entry {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise CheckpointError(f"{source}: its configuration cannot be used: {what}") from error


__all__ = [
    "DacConfig",
    "EncodecConfig",
    "codec_from_audiocraft",
    "codec_from_transformers",
    "load_codec_folder",
    "save_codec_folder",
]
