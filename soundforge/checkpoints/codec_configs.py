"""Published codec configurations as ours: AudioCraft's `xp.cfg`, transformers' `config.json`, Descript's metadata."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from soundforge.nn.dac import DacConfig
from soundforge.nn.encodec import EncodecConfig
from soundforge.nn.seanet import SeanetConfig

# What transformers' EncodecConfig means by an entry that a file leaves out.
_TRANSFORMERS_ENCODEC = {
    "target_bandwidths": (1.5, 3.0, 6.0, 12.0, 24.0),
    "sampling_rate": 24_000,
    "audio_channels": 1,
    "normalize": False,
    "chunk_length_s": None,
    "overlap": None,
    "hidden_size": 128,
    "num_filters": 32,
    "num_residual_layers": 1,
    "upsampling_ratios": (8, 5, 4, 2),
    "norm_type": "weight_norm",
    "kernel_size": 7,
    "last_kernel_size": 7,
    "residual_kernel_size": 3,
    "dilation_growth_rate": 2,
    "use_causal_conv": True,
    "pad_mode": "reflect",
    "compress": 2,
    "num_lstm_layers": 2,
    "trim_right_ratio": 1.0,
    "codebook_size": 1024,
    "use_conv_shortcut": True,
}
_TRANSFORMERS_DAC = {
    "sampling_rate": 16_000,
    "encoder_hidden_size": 64,
    "decoder_hidden_size": 1536,
    "downsampling_ratios": (2, 4, 8, 8),
    "n_codebooks": 9,
    "codebook_size": 1024,
    "codebook_dim": 8,
}


def encodec_from_audiocraft(config: Mapping[str, Any]) -> EncodecConfig:
    """From a resolved `xp.cfg` with `compression_model: encodec`.

    Raises:
        KeyError, TypeError, ValueError: something is missing or not supported.
    """
    kind = config["compression_model"]
    if kind != "encodec":
        raise ValueError(f"compression_model is {kind!r}, expected 'encodec'")
    codec = config["encodec"]
    for what, known in (("autoencoder", "seanet"), ("quantizer", "rvq")):
        if codec[what] != known:
            raise ValueError(f"encodec.{what} is {codec[what]!r}, expected {known!r}")
    shared = dict(config["seanet"])
    encoder, decoder = (dict(shared.pop(half, None) or {}) for half in ("encoder", "decoder"))
    halves = [_seanet({**shared, **own}) for own in (encoder, decoder)]
    sample_rate = int(codec["sample_rate"])
    return EncodecConfig(
        sample_rate=sample_rate,
        encoder=halves[0],
        decoder=halves[1],
        n_codebooks=int(config["rvq"]["n_q"]),
        codebook_size=int(config["rvq"]["bins"]),
        frame_rate_hz=float(sample_rate // halves[0].hop_length),  # the reference counts whole frames
        renormalise=bool(codec.get("renormalize", False)),
    )


def encodec_from_transformers(config: Mapping[str, Any]) -> EncodecConfig:
    """From `config.json` with `model_type: encodec`."""
    given = {**_TRANSFORMERS_ENCODEC, **{name: value for name, value in config.items() if value is not None}}
    seanet = SeanetConfig(
        channels=given["audio_channels"],
        dimension=given["hidden_size"],
        n_filters=given["num_filters"],
        n_residual_layers=given["num_residual_layers"],
        ratios=tuple(given["upsampling_ratios"]),
        norm=given["norm_type"],
        kernel_size=given["kernel_size"],
        last_kernel_size=given["last_kernel_size"],
        residual_kernel_size=given["residual_kernel_size"],
        dilation_base=given["dilation_growth_rate"],
        causal=given["use_causal_conv"],
        pad_mode=given["pad_mode"],
        true_skip=not given["use_conv_shortcut"],  # the two families name the opposite things
        compress=given["compress"],
        lstm=given["num_lstm_layers"],
        trim_right_ratio=given["trim_right_ratio"],
    )
    sample_rate, size = int(given["sampling_rate"]), int(given["codebook_size"])
    kilobits_per_book = math.ceil(sample_rate / seanet.hop_length) * math.ceil(math.log2(size))
    chunk = stride = None
    if given["chunk_length_s"] is not None:
        chunk = int(given["chunk_length_s"] * sample_rate)
        stride = max(1, int((1.0 - (given["overlap"] or 0.0)) * chunk))
    return EncodecConfig(
        sample_rate=sample_rate,
        encoder=seanet,
        decoder=seanet,
        n_codebooks=int(1000 * given["target_bandwidths"][-1] // kilobits_per_book),
        codebook_size=size,
        frame_rate_hz=sample_rate / seanet.hop_length,
        renormalise=given["normalize"],
        chunk_samples=chunk,
        chunk_stride_samples=stride,
    )


def dac_from_transformers(config: Mapping[str, Any]) -> DacConfig:
    """From `config.json` with `model_type: dac`."""
    given = {**_TRANSFORMERS_DAC, **{name: value for name, value in config.items() if value is not None}}
    ratios = tuple(given["downsampling_ratios"])
    return DacConfig(
        sample_rate=int(given["sampling_rate"]),
        encoder_width=given["encoder_hidden_size"],
        decoder_width=given["decoder_hidden_size"],
        ratios=ratios,
        latent_width=given.get("hidden_size", 0),
        n_codebooks=given["n_codebooks"],
        codebook_size=given["codebook_size"],
        codebook_width=given["codebook_dim"],
        decoder_ratios=tuple(given.get("upsampling_ratios", ())),
    )


def dac_from_descript(kwargs: Mapping[str, Any]) -> DacConfig:
    """From the `metadata.kwargs` of a Descript `.pth` file; its defaults are the 44.1 kHz model's."""
    return DacConfig(
        sample_rate=int(kwargs.get("sample_rate", 44_100)),
        encoder_width=kwargs.get("encoder_dim", 64),
        decoder_width=kwargs.get("decoder_dim", 1536),
        ratios=tuple(kwargs.get("encoder_rates", (2, 4, 8, 8))),
        latent_width=kwargs.get("latent_dim") or 0,
        n_codebooks=kwargs.get("n_codebooks", 9),
        codebook_size=kwargs.get("codebook_size", 1024),
        codebook_width=kwargs.get("codebook_dim", 8),
        decoder_ratios=tuple(kwargs.get("decoder_rates", ())),
    )


def encodec_from_native(config: Mapping[str, Any]) -> EncodecConfig:
    """Inverse of `dataclasses.asdict`."""
    halves = {half: SeanetConfig(**config[half]) for half in ("encoder", "decoder")}
    return EncodecConfig(**{**config, **halves})


def _seanet(entries: Mapping[str, Any]) -> SeanetConfig:
    known = {entry.name for entry in dataclasses.fields(SeanetConfig)}
    unknown = sorted(set(entries) - known)
    if unknown:
        raise ValueError(f"seanet has entries that are not known here: {', '.join(unknown)}")
    # AudioCraft's own defaults differ from ours in these; its configuration files always name them.
    defaults = {"norm": "none", "n_residual_layers": 3, "lstm": 0, "activation_params": {"alpha": 1.0}}
    given = {**defaults, **entries}
    for params in ("activation_params", "norm_params"):
        given[params] = dict(given.get(params) or {})
    return SeanetConfig(**given)
