"""The conformance check of model families: what they recognise, what they load, and that it generates."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from soundforge.errors import CheckpointError
from soundforge.host import PluginHost
from soundforge.interfaces import Codec, GenerativeModel, LanguageModelParts, LoadOptions, ModelFamilyDescriptor
from soundforge.testing.asserting import must_refuse, require

FOREIGN_CONFIGS = ("", "{", "[]", "null", "{}", '{"model_type": "nobody-knows"}', "\x00\xff")


def check_model_family(descriptor: ModelFamilyDescriptor, host: PluginHost, folder: Path | None = None, *,
                       seconds: float = 0.2, keywords: dict[str, Any] | None = None) -> None:
    """Check a model family: it recognises its own folders only, loads, and generates the same for a seed.

    Args:
        descriptor: of the family.
        host: with the plugins that the model needs (codec, conditioners).
        folder: a checkpoint of the family, or None for its first embedded one.
        seconds: how much is generated, twice.
        keywords: of `Engine.generate` that make it quick.

    Raises:
        AssertionError: with one line that says what is wrong.
        CheckpointError, PluginError: the checkpoint itself cannot be loaded.
    """
    require(folder is not None or bool(descriptor.embedded),
            f"family {descriptor.name!r} has no embedded checkpoint; give a folder to check it with")
    check_recognises(descriptor, folder)
    with tempfile.TemporaryDirectory() as empty:
        must_refuse(lambda: descriptor.load(host, Path(empty), LoadOptions()), "loading an empty folder",
                    CheckpointError)
    loaded = descriptor.load(host, folder, LoadOptions())
    if isinstance(loaded, LanguageModelParts):
        _check_parts(loaded)
    else:
        require(isinstance(loaded, GenerativeModel),
                f"load gave {type(loaded).__name__}, expected LanguageModelParts or a GenerativeModel")
    _check_generation(loaded, host, seconds, keywords or {})


def check_recognises(descriptor: ModelFamilyDescriptor, folder: Path | None = None) -> None:
    """`recognises` says True for the family's own folder and False, never an error, for others."""
    if folder is not None:
        require(descriptor.recognises(folder) is True, f"recognises({folder.name!r}) is not True for its own folder")
    for config in (None, *FOREIGN_CONFIGS):
        with tempfile.TemporaryDirectory() as name:
            if config is not None:
                (Path(name) / "config.json").write_text(config, encoding="utf-8")
            try:
                answer = descriptor.recognises(Path(name))
            # Every folder that a user names is shown to every family: none may raise.
            except Exception as error:
                raise AssertionError(f"recognises raised {type(error).__name__} for a folder with config.json "
                                     f"{config!r}, expected False") from error
            require(answer is False, f"recognises gave {answer!r} for a folder with config.json {config!r}")


def _check_parts(parts: LanguageModelParts) -> None:
    require(isinstance(parts.codec, Codec), f"parts.codec is {type(parts.codec).__name__}, expected a Codec")
    delays = list(parts.delays)
    require(0 < len(delays) <= parts.codec.n_codebooks and delays == sorted(delays) and delays[0] >= 0,
            f"delays are {delays}, expected at most {parts.codec.n_codebooks} (the codec's codebooks), sorted, from 0")
    require(0 < parts.stride_seconds <= parts.window_seconds,
            f"stride is {parts.stride_seconds} s, expected more than 0, at most {parts.window_seconds} s (the window)")
    names = [item.slot.name for item in parts.slots]
    require(len(set(names)) == len(names), f"slots are {names}, expected each name once")
    for item in parts.slots:
        shape = None if item.weight is None else list(item.weight.shape)
        require(shape is None or (len(shape) == 2 and shape[1] == item.slot.width),
                f"the projection of slot {item.slot.name!r} is {shape}, expected [d_model, {item.slot.width}]")
    require(bool(parts.name), "parts.name is empty, expected the checkpoint's name")


def _check_generation(loaded: LanguageModelParts | GenerativeModel, host: PluginHost, seconds: float,
                      keywords: dict[str, Any]) -> None:
    from soundforge.api import Engine
    from soundforge.engine.model import LanguageModelRuntime
    from soundforge.model_loading import ConditionerFinder

    model = loaded
    runtime = (LanguageModelRuntime(model, ConditionerFinder(host, model, "cpu"))
               if isinstance(model, LanguageModelParts) else model)
    with Engine(runtime, host) as engine:
        given = {"seconds": seconds, **keywords}
        first, again = (engine.generate(seed=1, **given) for _ in range(2))
        require(bool(np.isfinite(first.waveform).all()) and first.waveform.size > 0, "generated NaN, or nothing")
        require(np.array_equal(first.waveform, again.waveform), "the same seed gave two different clips")
        if first.codes is not None:
            other = engine.generate(seed=2, **given)
            require(other.codes is not None and not np.array_equal(first.codes, other.codes),
                    "two seeds gave the same codes")
