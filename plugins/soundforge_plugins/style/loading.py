"""A style conditioner from what a checkpoint holds: configuration, encoder weights, and the features' network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.audio import resample
from soundforge.checkpoints.audiocraft import referenced_folder
from soundforge.checkpoints.files import assign_state, build_empty, read_json, read_tensors
from soundforge.checkpoints.parts import number, reading
from soundforge.errors import CheckpointError
from soundforge.interfaces import Codec, ConditionerSetup, Host
from soundforge.nn import mert
from soundforge.nn.style import SCALES, StyleConfig, StyleEncoder
from soundforge_plugins.style.conditioner import StyleConditioner, StyleSettings

_BOOK = re.compile(r"^rvq\.vq\.layers\.(\d+)\._codebook\.(embed|inited|cluster_size|embed_avg)$")


def make_style_conditioner(host: Host, setup: ConditionerSetup) -> StyleConditioner:
    """Build the style conditioner that a checkpoint describes.

    Raises:
        CheckpointError: the configuration is unknown here, tensors do not fit, or the features' network does not.
        NotCachedError: that network would have to come from the hub and cannot.
    """
    with reading("the style condition"):
        return _make(host, setup)


def _make(host: Host, setup: ConditionerSetup) -> StyleConditioner:
    options = setup.slot.options
    model = options.get("model_name", "encodec")
    if model not in ("encodec", "mert"):
        raise CheckpointError(f"the style condition takes {model!r} features, expected 'encodec' or 'mert'")
    rate = int(number(options, "sample_rate", 32000, 1000, 768000))
    codec = _feature_codec(host, setup) if model == "encodec" else None
    if codec is not None and (codec.sample_rate != rate or codec.channels != 1):
        raise CheckpointError(f"the style condition was trained on a mono codec at {rate} Hz, but this one has "
                              f"{codec.channels} channels at {codec.sample_rate} Hz")
    features = _codec_features(codec) if codec is not None else _mert_features(host, setup, rate)
    config = _config(options, codec)
    if config.width != setup.slot.width:
        raise CheckpointError(f"slot {setup.slot.name!r} takes features of width {setup.slot.width}, but a style "
                              f"transformer of scale {config.scale!r} gives {config.width}")
    encoder = build_empty(lambda: StyleEncoder(config))
    assign_state(encoder, style_tensors(setup.tensors), source="the style encoder", dtype=torch.float32)
    encoder.to(setup.device)
    settings = StyleSettings(
        sample_rate=rate,
        feature_rate_hz=codec.frame_rate_hz if codec is not None else mert.FRAME_RATE_HZ,
        excerpt_seconds=float(number(options, "length", 3.0, 0.01, 3600.0)),
        eval_q=int(number(options, "eval_q", 3, 1, config.n_quantisers)) if config.n_quantisers else 0,
        ds_factor=int(number(options, "ds_factor", 15, 1, 10_000)),
        n_books=config.n_feature_books,
        from_middle=bool(options.get("use_middle_of_segment", False)),
    )
    return StyleConditioner(encoder, features, settings, device=setup.device, name=setup.slot.name)


def style_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AudioCraft's names to ours: the quantiser's books in one tensor, statistics of its training left out."""
    renamed: dict[str, Tensor] = {}
    books: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        book = _BOOK.match(name)
        if book:
            if book[2] == "embed":
                books[int(book[1])] = tensor
        elif name != "batch_norm.num_batches_tracked":
            renamed[name.replace(".self_attn.mha.", ".self_attn.")] = tensor
    if books and sorted(books) == list(range(len(books))) and len({book.shape for book in books.values()}) == 1:
        renamed["rvq.codebooks"] = torch.stack([books[index] for index in range(len(books))])
    return renamed


def _config(options: Mapping[str, Any], codec: Codec | None) -> StyleConfig:
    scale = str(options.get("transformer_scale", "default"))
    if scale not in SCALES:
        raise CheckpointError(f"the style transformer has scale {scale!r}, expected one of {', '.join(SCALES)}")
    return StyleConfig(
        scale=scale,
        n_feature_books=int(number(options, "encodec_n_q", 4, 1, codec.n_codebooks)) if codec is not None else 0,
        codebook_size=codec.codebook_size if codec is not None else 0,
        n_quantisers=int(number(options, "n_q_out", 6, 0, 64)),
        quantiser_size=int(number(options, "bins", 1024, 1, 1 << 20)),
        batch_norm=bool(options.get("batch_norm", True)),
    )


def _feature_codec(host: Host, setup: ConditionerSetup) -> Codec:
    name = str(setup.slot.options.get("encodec_checkpoint", "//pretrained/facebook/encodec_32khz"))
    return host.codec("encodec", referenced_folder(name, setup.folder, host.resolve))


def _codec_features(codec: Codec) -> Callable[[Tensor], Tensor]:
    return lambda wave: codec.encode(wave).codes


def _mert_features(host: Host, setup: ConditionerSetup, rate: int) -> Callable[[Tensor], Tensor]:
    folder: Path = referenced_folder(mert.HUB_NAME, setup.folder, host.resolve)
    extractor = mert.MertFeatures(read_json(folder / "config.json"), read_tensors(folder), source=str(folder),
                                  device=setup.device)

    def features(wave: Tensor) -> Tensor:
        mono = resample(wave[:, 0].cpu().numpy(), rate, mert.SAMPLE_RATE)
        return extractor(torch.from_numpy(mono).to(wave.device))

    return features
