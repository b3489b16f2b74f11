"""Codec checkpoints in every layout: the references' numbers, and errors that name what is wrong with a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from goldens import find_golden
from safetensors.torch import load_file, save_file
from torch import Tensor

import soundforge as sf
import soundforge_plugins.dac as dac_plugin
import soundforge_plugins.encodec as encodec_plugin
from soundforge import CheckpointError, EncodedAudio, NotCachedError
from soundforge.checkpoints.codec_configs import dac_from_descript, dac_from_transformers, encodec_from_transformers
from soundforge.checkpoints.codec_names import descript_dac_names, fold_weight_norm
from soundforge.checkpoints.codecs import codec_from_transformers, load_codec_folder, save_codec_folder
from soundforge.checkpoints.files import build_empty, read_tensors
from soundforge.interfaces import CodecDescriptor, Host
from soundforge.nn.dac import DacCodec, dac_network
from soundforge.nn.encodec import EncodecCodec
from soundforge.nn.streaming_codec import NeuralCodec

AUDIOCRAFT = ("encodec_32k", "encodec_16k", "encodec_24k_causal", "encodec_48k_stereo_renorm")
ENCODEC = ("hf_encodec_24k_causal", "hf_encodec_48k_stereo")
DAC = ("hf_dac_16k", "hf_dac_44k")


class Case:
    """A golden codec with its inputs, and a comparison that knows the tolerance of every tensor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.json: dict[str, Any] = json.loads((folder / "case.json").read_text())
        self.tensors = load_file(folder / "case.safetensors")
        self.codec = load_codec_folder(folder)

    def check(self, name: str, got: Tensor) -> None:
        want, spec = self.tensors[f"out.{name}"], self.json["tensors"][f"out.{name}"]
        assert got.shape == want.shape, name
        if spec.get("exact"):
            assert torch.equal(got.to(want.dtype), want), name
        else:
            assert float((got - want).abs().max()) <= spec["recommended_max_abs_error"], name


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    folder = find_golden(request.param)
    if folder is None:
        pytest.skip(f"no golden case {request.param!r}")
    return Case(folder)


def cases(*names: str) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("case", names, indirect=True)


@cases(*AUDIOCRAFT)
def test_audiocraft_encodec(case: Case) -> None:
    codec, wav = case.codec, case.tensors["in.wav"]
    assert codec.sample_rate == case.json["sample_rate"] and codec.channels == case.json["channels"]
    assert codec.hop_length == case.json["hop_length"] and codec.frame_rate_hz == case.json["frame_rate"]
    assert codec.n_codebooks == case.json["n_q"] and codec.codebook_size == case.json["cardinality"]
    encoded = codec.encode(wav)
    case.check("latents", codec.encode_latent(wav))
    case.check("codes", encoded.codes)
    case.check("codes_2", codec.encode(wav, n_codebooks=2).codes)
    case.check("decode_latent", codec.decode_latent(encoded.codes))
    case.check("decoded", codec.decode(EncodedAudio(encoded.codes, encoded.scales)))
    case.check("decoded_2", codec.decode(EncodedAudio(encoded.codes[:, :2], encoded.scales)))
    case.check("forward", codec.decode(encoded))
    case.check("rand_decoded", codec.decode(case.tensors["in.rand_codes"]))
    if "out.scale" in case.tensors:
        assert encoded.scales is not None
        case.check("scale", encoded.scales)
    else:
        assert encoded.scales is None


@cases(*ENCODEC)
def test_transformers_encodec(case: Case) -> None:
    codec, wav = case.codec, case.tensors["in.wav"]
    for kbps in case.json["target_bandwidths_kbps"]:
        n = codec.codebooks_for_bandwidth(kbps)
        encoded = codec.encode(wav, bandwidth_kbps=kbps)
        chunks = case.tensors[f"out.codes_{n}"].shape[0]
        case.check(f"codes_{n}", encoded.codes.unflatten(2, (chunks, -1)).permute(2, 0, 1, 3))
        case.check(f"decoded_{n}", codec.decode(encoded))
        if "out.scales" in case.tensors:
            assert encoded.scales is not None
            case.check("scales", encoded.scales.t()[..., None])
    if "out.latents" in case.tensors:
        case.check("latents", codec.encode_latent(wav))


@cases(*DAC)
def test_transformers_dac(case: Case) -> None:
    codec, wav = case.codec, case.tensors["in.wav"]
    assert codec.hop_length == case.json["hop_length"]
    encoded, three = codec.encode(wav), codec.encode(wav, 3)
    case.check("latents", codec.encode_latent(wav))
    case.check("codes", encoded.codes)
    case.check("codes_3", three.codes)
    case.check("quantized", codec.decode_latent(encoded.codes))
    case.check("quantized_3", codec.decode_latent(three.codes))
    case.check("decoded", codec.decode(encoded.codes)[:, 0])
    case.check("decoded_3", codec.decode(three.codes)[:, 0])
    case.check("rand_decoded", codec.decode(case.tensors["in.rand_codes"])[:, 0])


def a_case(*names: str) -> Path:
    """The folder of the first of these cases that is here."""
    found = next((folder for name in names if (folder := find_golden(name))), None)
    if found is None:
        pytest.skip(f"none of {names}")
    return found


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o700)
    return target


def same_codec(left: NeuralCodec, right: NeuralCodec) -> bool:
    codes = torch.randint(left.codebook_size, (1, left.total_codebooks, 7), generator=torch.Generator().manual_seed(1))
    return torch.equal(left.decode(codes), right.decode(codes))


def test_load_codec_takes_a_folder() -> None:
    assert isinstance(sf.load_codec(a_case("encodec_16k", "encodec_32k")), EncodecCodec)
    assert isinstance(sf.load_codec(a_case("hf_dac_16k", "hf_dac_44k")), DacCodec)


@pytest.mark.parametrize("name", ["musicgen_text", "hf_musicgen"])
def test_the_codec_inside_a_language_models_folder(name: str) -> None:
    assert isinstance(load_codec_folder(a_case(name)), EncodecCodec)


def test_pointer_to_a_folder_beside(tmp_path: Path) -> None:
    inside = copied(a_case("encodec_16k", "encodec_32k"), tmp_path / "encodec_32khz")
    torch.save({"pretrained": "facebook/encodec_32khz"}, tmp_path / "compression_state_dict.bin")
    assert same_codec(load_codec_folder(tmp_path), load_codec_folder(inside))


def test_pointer_to_somewhere_else(tmp_path: Path) -> None:
    torch.save({"pretrained": "//pretrained/facebook/encodec_32khz"}, tmp_path / "compression_state_dict.bin")
    with pytest.raises(NotCachedError, match="refers to facebook/encodec_32khz"):
        load_codec_folder(tmp_path)
    elsewhere = a_case("encodec_16k", "encodec_32k")
    asked: list[str] = []

    def resolve(name: str) -> Path:
        asked.append(name)
        return elsewhere

    assert same_codec(load_codec_folder(tmp_path, resolve=resolve), load_codec_folder(elsewhere))
    assert asked == ["facebook/encodec_32khz"]


@pytest.mark.parametrize("name", ["encodec_16k", "hf_encodec_48k_stereo", "hf_dac_16k"])
def test_native_layout_is_the_same_codec(name: str, tmp_path: Path) -> None:
    codec = load_codec_folder(a_case(name))
    assert isinstance(codec, (EncodecCodec, DacCodec))
    save_codec_folder(codec, tmp_path / "native")
    again = load_codec_folder(tmp_path / "native")
    assert same_codec(codec, again)
    assert isinstance(again, (EncodecCodec, DacCodec)) and again.config == codec.config and again.name == codec.name


def test_native_layout_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "codec.json").write_text(json.dumps({"format": "soundforge-codec-9"}))
    with pytest.raises(CheckpointError, match="soundforge-codec-9"):
        load_codec_folder(tmp_path)


def test_descripts_own_layout(tmp_path: Path) -> None:
    folder = a_case("hf_dac_16k", "hf_dac_44k")
    codec = load_codec_folder(folder)
    assert isinstance(codec, DacCodec)
    config = codec.config
    kwargs = {
        "encoder_dim": config.encoder_width,
        "encoder_rates": list(config.ratios),
        "latent_dim": None,
        "decoder_dim": config.decoder_width,
        "decoder_rates": list(config.decoder_ratios),
        "n_codebooks": config.n_codebooks,
        "codebook_size": config.codebook_size,
        "codebook_dim": config.codebook_width,
        "sample_rate": config.sample_rate,
    }
    assert dac_from_descript(kwargs) == config
    names = descript_dac_names(build_empty(lambda: dac_network(config)), config)
    # Spot checks of the published names; the rest follows the same rule.
    assert names["encoder.1.block.1.conv.weight"] == "encoder.block.1.block.0.block.1.weight"
    assert names["decoder.2.conv.weight"] == "decoder.model.1.block.1.weight"
    state: dict[str, Tensor] = {}
    for ours, tensor in codec.network.state_dict().items():
        theirs = names[ours]
        assert isinstance(theirs, str)
        if theirs.endswith(".weight") and "codebook" not in theirs:  # Descript's files keep the two factors
            norm = tensor.flatten(1).norm(dim=1).view(-1, 1, 1)
            stem = theirs.removesuffix(".weight")
            state[f"{stem}.weight_g"], state[f"{stem}.weight_v"] = norm, tensor * 3
        else:
            state[theirs] = tensor
    torch.save({"state_dict": state, "metadata": {"kwargs": kwargs}}, tmp_path / "weights.pth")
    again = load_codec_folder(tmp_path)
    codes = torch.randint(config.codebook_size, (1, config.n_codebooks, 7))
    assert torch.allclose(again.decode(codes), codec.decode(codes), atol=1e-4)
    del kwargs["sample_rate"]
    torch.save({"state_dict": state, "metadata": {}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="metadata"):
        load_codec_folder(tmp_path)


def test_both_namings_of_weight_norm() -> None:
    folder = a_case("hf_encodec_24k_causal")
    config, tensors = json.loads((folder / "config.json").read_text()), read_tensors(folder)
    assert any("parametrizations" in name for name in tensors)
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in tensors.items()
    }
    plain = dict(tensors)
    for name in list(plain):
        if name.endswith("original0"):
            stem = name.removesuffix(".parametrizations.weight.original0")
            g, v = plain.pop(name), plain.pop(f"{stem}.parametrizations.weight.original1")
            plain[f"{stem}.weight"] = fold_weight_norm(v, g)
    codec = load_codec_folder(folder)
    for renamed in (old, plain):
        assert same_codec(codec_from_transformers(config, renamed, "here"), codec)


def test_half_precision_files_run_in_single() -> None:
    folder = a_case("hf_dac_16k", "hf_dac_44k")
    config = json.loads((folder / "config.json").read_text())
    halves = {name: tensor.half() for name, tensor in read_tensors(folder).items()}
    assert codec_from_transformers(config, halves, "here").dtype == torch.float32


def audiocraft_copy(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    folder = copied(a_case("encodec_16k", "encodec_32k"), tmp_path / "copy")
    path = folder / "compression_state_dict.bin"
    return path, torch.load(path, weights_only=True)  # not mapped: the tests write over the file


def test_misfits_are_listed_by_the_files_names(tmp_path: Path) -> None:
    path, package = audiocraft_copy(tmp_path)
    state = dict(package["best_state"])
    del state["encoder.model.0.conv.conv.bias"], state["decoder.model.3.convtr.convtr.weight_g"]
    del state["quantizer.vq.layers.1._codebook.embed"]
    state["decoder.model.99.bias"] = torch.zeros(1)
    torch.save({**package, "best_state": state}, path)
    with pytest.raises(CheckpointError) as caught:
        load_codec_folder(path.parent)
    text = str(caught.value)
    assert "3 missing" in text and "encoder.model.0.conv.conv.bias" in text
    assert "decoder.model.3.convtr.convtr.weight" in text and "quantizer.vq.layers.1._codebook.embed" in text
    assert "surplus" in text and "decoder.model.99.bias" in text and str(path) in text

    state = dict(package["best_state"])
    state["encoder.model.0.conv.conv.bias"] = torch.zeros(77)
    torch.save({**package, "best_state": state}, path)
    with pytest.raises(CheckpointError, match=r"model\.0\.conv\.conv\.bias \(expected \[\d+\], found \[77\]\)"):
        load_codec_folder(path.parent)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("quantizer: rvq", "quantizer: no_quant", "quantizer is 'no_quant'"),
        ("norm: weight_norm", "norm: layer_norm", "norm is 'layer_norm'"),
        ("activation: ELU", "activation: eval", "activation is 'eval'"),
        ("  dimension: ", "  dimensions: ", "not known here: dimensions"),
        ("compression_model: encodec", "compression_model: dac", "expected 'encodec'"),
        ("rvq:\n  n_q:", "rvq:\n  nq:", "no entry 'n_q'"),
    ],
)
def test_configurations_that_cannot_be_used(tmp_path: Path, old: str, new: str, named: str) -> None:
    path, package = audiocraft_copy(tmp_path)
    head, found, tail = package["xp.cfg"].partition(old)
    if old.startswith(("norm", "activation")):  # discriminators have entries of these names too
        at = package["xp.cfg"].index("seanet:\n")
        head, found, tail = package["xp.cfg"][at:].partition(old)
        head = package["xp.cfg"][:at] + head
    assert found
    torch.save({**package, "xp.cfg": head + new + tail}, path)
    with pytest.raises(CheckpointError, match=named):
        load_codec_folder(path.parent)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no codec"):
        load_codec_folder(tmp_path)
    with pytest.raises(CheckpointError, match="holds no codec"):
        load_codec_folder(tmp_path / "absent")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mimi"}))
    with pytest.raises(CheckpointError, match="holds no codec"):
        load_codec_folder(tmp_path)
    with pytest.raises(CheckpointError, match="'mimi', expected 'encodec' or 'dac'"):
        codec_from_transformers({"model_type": "mimi"}, {}, "here")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "encodec", "upsampling_ratios": "many"}))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="configuration cannot be used"):
        load_codec_folder(tmp_path)


def test_codecs_are_registered_by_their_published_names() -> None:
    registered: dict[str, CodecDescriptor] = {}
    for plugin in (encodec_plugin, dac_plugin):
        plugin.register_codecs(lambda descriptor: registered.update({descriptor.name: descriptor}))
    encodecs = {f"encodec_{rate}khz" for rate in (16, 24, 32, 48)}
    assert set(registered) == {"encodec", "dac", *encodecs, *(f"dac_{rate}khz" for rate in (16, 24, 44))}
    for name, descriptor in registered.items():
        assert name in ("encodec", "dac") or f"_{descriptor.sample_rate // 1000}khz" in name
    assert registered["dac_44khz"].frame_rate_hz == 44_100 / 512
    folder = a_case("encodec_16k", "encodec_32k")
    host = SimpleNamespace(resolve=lambda name: folder)  # what a hub that has it would give
    asked_for = registered["encodec_16khz"].factory(cast(Host, host), None)
    assert isinstance(asked_for, EncodecCodec)
    given = registered["encodec"].factory(cast(Host, host), a_case("hf_dac_16k", "hf_dac_44k"))
    assert isinstance(given, DacCodec)


def test_published_sizes() -> None:
    """The released models' configurations, as their `config.json` gives them."""
    music = encodec_from_transformers(
        {
            "sampling_rate": 32_000,
            "num_filters": 64,
            "upsampling_ratios": [8, 5, 4, 4],
            "target_bandwidths": [2.2],
            "codebook_size": 2048,
            "use_causal_conv": False,
            "use_conv_shortcut": False,
        }
    )
    assert (music.n_codebooks, music.hop_length, music.frame_rate_hz) == (4, 640, 50.0)
    assert music.encoder.true_skip and not music.encoder.causal and music.streams
    stereo = encodec_from_transformers(
        {
            "sampling_rate": 48_000,
            "audio_channels": 2,
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
            "normalize": True,
            "norm_type": "time_group_norm",
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "use_causal_conv": False,
        }
    )
    assert (stereo.n_codebooks, stereo.chunk_samples, stereo.chunk_stride_samples) == (16, 48_000, 47_520)
    assert not stereo.streams
    assert encodec_from_transformers({}).n_codebooks == 32  # the 24 kHz model is the default
    assert dac_from_transformers({"sampling_rate": 44_100}).latent_width == 1024


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("num_residual_layers", 2**40),
        ("num_lstm_layers", 10**30),
        ("target_bandwidths", [2.0**40]),
        ("target_bandwidths", [0]),
        ("upsampling_ratios", []),
        ("upsampling_ratios", [2] * 40),
        ("num_filters", True),
        ("sampling_rate", 1e308),
        ("use_causal_conv", "yes"),
        ("trim_right_ratio", float("nan")),
    ],
)
def test_sizes_out_of_all_proportion_are_refused_before_anything_is_built(entry: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match="configuration cannot be used"):
        codec_from_transformers({"model_type": "encodec", entry: value}, {}, "here")


def test_dac_sizes_out_of_all_proportion() -> None:
    for entry, value in (("n_codebooks", 2**40), ("downsampling_ratios", [0]), ("encoder_hidden_size", 10**30)):
        with pytest.raises(CheckpointError, match="configuration cannot be used"):
            codec_from_transformers({"model_type": "dac", entry: value}, {}, "here")
