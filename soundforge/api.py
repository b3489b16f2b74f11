"""The Python door: `load` gives an `Engine`, `load_codec` a codec.

    engine = sf.load("starter")
    clip = engine.generate("warm lo-fi drums, 90 bpm", seconds=8, seed=7)
    more = engine.extend(clip, seconds=8)
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from soundforge.host import PluginHost
from soundforge.interfaces import Codec
from soundforge.loaded_engine import Engine
from soundforge.model_loading import load_codec_by_name, load_model, with_precision
from soundforge.shared_host import shared_host

__all__ = ["Engine", "load", "load_codec"]


def load(name: str | os.PathLike[str] = "starter", device: str = "auto", quantize: str | None = None, *,
         codec_precision: str = "float32", plugins_dir: str | os.PathLike[str] | None = None,
         no_plugin: Iterable[str] = (), host: PluginHost | None = None) -> Engine:
    """Load a model.

    Args:
        name: an embedded model ("starter"), a checkpoint's folder, or a hub name ("facebook/musicgen-small").
        device: "auto" (CUDA where there is one, else CPU), "cpu", "cuda", "cuda:N", "mps".
        quantize: None, "int8" or "int4": weights of the language model in 8 or 4 bits.
        codec_precision: "float32", or "bfloat16": convolutional codecs (EnCodec, DAC) decode up to twice as fast,
            within a stated tolerance (docs/performance.md).
        plugins_dir: a folder with further one-file plugins.
        no_plugin: plugins that are not loaded.
        host: an own plugin host instead of these two.

    Raises:
        CheckpointError: missing, corrupted, or of no known family.
        NotCachedError: not on this machine, and it cannot be fetched now.
        PluginError: the part that should load it failed.
        SettingsError: a device or quantisation that is not to be had.
    """
    host = host or shared_host(plugins_dir, tuple(no_plugin))
    return Engine(load_model(host, name, device, quantize, codec_precision), host)


def load_codec(name: str | os.PathLike[str], *, precision: str = "float32", host: PluginHost | None = None) -> Codec:
    """Load a codec: registered name ("encodec_32khz", "dac_44khz", "starter"), folder, or hub name.

    Args:
        precision: in which it decodes, as `codec_precision` of `load`.

    Raises:
        CheckpointError, NotCachedError, PluginError, SettingsError: as of `load`.
    """
    return with_precision(load_codec_by_name(host or shared_host(None, ()), name), precision)
