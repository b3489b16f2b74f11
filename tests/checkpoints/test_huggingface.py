"""The transformers layout: goldens compute the reference's logits, in one file, in shards, and with old names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_cases import LmCase, conditioner_of, context, lm_case, projected, slot_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from soundforge.checkpoints.codecs import codec_from_transformers
from soundforge.checkpoints.huggingface import lm_tensors, load_huggingface
from soundforge.errors import CheckpointError
from soundforge.interfaces import LanguageModelParts
from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.stereo_codec import StereoCodec

ALL = ["hf_musicgen", "hf_musicgen_stereo", "hf_musicgen_melody"]


def _load(folder: Path) -> LanguageModelParts:
    return load_huggingface(folder, codec_from_tensors=codec_from_transformers)


def _logits(case: LmCase, parts: LanguageModelParts, waves: bool = True) -> Tensor:
    assert isinstance(parts.lm, LanguageModel)
    text = conditioner_of(parts, "text")
    read = text.encode([text.prepare(value, context()) for value in case.about["texts"]], context())
    words = projected(slot_of(parts, "text"), read)
    if len(parts.slots) == 2:
        chroma = conditioner_of(parts, "chroma")
        names = ["in.melody_wav", "in.melody_wav_2"]
        heard = chroma.encode([chroma.prepare(case.wave(name), context()) if waves else None for name in names],
                              context())
        fused = FusedInputs(prepend=torch.cat([projected(slot_of(parts, "chroma"), heard), words], dim=1))
    else:
        fused = FusedInputs(cross=words, cross_mask=read.mask)
    books = parts.lm.config.n_codebooks
    ids = case["in.decoder_input_ids"].long()
    with torch.inference_mode():
        logits = parts.lm(ids.view(-1, books, ids.shape[-1]), fused)
    return logits.reshape(ids.shape[0], ids.shape[1], -1)


@pytest.mark.slow
@pytest.mark.parametrize("golden", ALL, indirect=True)
def test_logits_are_the_references(golden: Path) -> None:
    case = lm_case(golden)
    case.close("out.logits", _logits(case, case.parts))
    if "out.logits_text_only" in case.tensors:
        case.close("out.logits_text_only", _logits(case, case.parts, waves=False))


@pytest.mark.parametrize(("golden", "delays", "channels"), [
    ("hf_musicgen", (0, 1, 2, 3), 1), ("hf_musicgen_stereo", (0, 0, 1, 1, 2, 2, 3, 3), 2),
], indirect=["golden"])
def test_codec_delays_and_window(golden: Path, delays: tuple[int, ...], channels: int) -> None:
    case = lm_case(golden)
    parts = case.parts
    assert (parts.delays, parts.codec.channels, parts.layout) == (delays, channels, "transformers")
    assert (parts.window_seconds, parts.stride_seconds, parts.defaults["cfg"]) == (30.0, 18.0, 3.0)
    codes = parts.codec.encode(case["in.prompt_wav"]).codes
    left = codes[:, ::2] if isinstance(parts.codec, StereoCodec) else codes
    case.close("out.prompt_codes", left)
    case.close("out.wav", parts.codec.decode(case["out.tokens"][:1].long()))


def test_separate_projections_become_the_fused_ones() -> None:
    """Every tensor of a network with cross-attention finds its place, from transformers' names."""
    config = LanguageModelConfig(d_model=8, n_heads=2, n_layers=2, n_codebooks=2, card=5, cross_attention=True)
    ours = LanguageModel(config).state_dict()
    theirs: dict[str, Tensor] = {"model.decoder.embed_positions.weights": torch.zeros(4, 8)}
    names = {"norm1": "self_attn_layer_norm", "norm_cross": "encoder_attn_layer_norm", "norm2": "final_layer_norm",
             "linear1": "fc1", "linear2": "fc2", "self_attn.out_proj": "self_attn.out_proj",
             "cross_attn.out_proj": "encoder_attn.out_proj", "cross_attn.q_proj": "encoder_attn.q_proj"}
    for name, tensor in ours.items():
        *_, kind = name.split(".")
        if name.startswith("layers."):
            layer, part = name.split(".")[1], ".".join(name.split(".")[2:-1])
            base = f"model.decoder.layers.{layer}."
            if part == "self_attn.in_proj":
                theirs |= {f"{base}self_attn.{p}_proj.{kind}": t for p, t in zip("qkv", tensor.chunk(3), strict=True)}
            elif part == "cross_attn.kv_proj":
                theirs |= {f"{base}encoder_attn.{p}_proj.{kind}": t
                           for p, t in zip("kv", tensor.chunk(2), strict=True)}
            else:
                theirs[f"{base}{names[part]}.{kind}"] = tensor
        elif name.startswith("emb."):
            theirs[f"model.decoder.embed_tokens.{name.split('.')[1]}.weight"] = tensor
        elif name.startswith("heads."):
            theirs[f"lm_heads.{name.split('.')[1]}.weight"] = tensor
        else:
            theirs[f"model.decoder.layer_norm.{kind}"] = tensor
    found = lm_tensors(theirs)
    assert set(found) == set(ours)
    assert all(torch.equal(found[name], ours[name]) for name in ours)


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(golden, folder, copy_function=shutil.copyfile)
    return folder


@pytest.mark.parametrize("golden", ["hf_musicgen"], indirect=True)
def test_shards_are_read_as_one(golden: Path, copied: Path) -> None:
    tensors = load_file(golden / "model.safetensors")
    (copied / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in shards.items():
        save_file({name: tensors[name] for name in own}, copied / file)
    index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    case = lm_case(golden)
    case.close("out.logits", _logits(case, _load(copied)))
    (copied / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        _load(copied)


@pytest.mark.parametrize("golden", ["hf_musicgen"], indirect=True)
def test_half_precision_is_upcast(golden: Path, copied: Path) -> None:
    stored = load_file(golden / "model.safetensors")
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
    (copied / "model.safetensors").unlink()
    torch.save(half, copied / "pytorch_model.bin")
    parts = _load(copied)
    assert {p.dtype for p in parts.lm.parameters()} == {torch.float32}
    assert torch.equal(parts.lm.state_dict()["heads.0.weight"], half["decoder.lm_heads.0.weight"].float())


Change = Callable[[dict[str, Any], dict[str, Tensor]], None]


def _rename(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    config["model_type"] = "bark"


def _activation(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    config["decoder"]["activation_function"] = "relu"


def _no_decoder(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    del config["decoder"]


def _no_query(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    del state["decoder.model.decoder.layers.0.self_attn.q_proj.weight"]


def _surplus(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    state["decoder.model.decoder.layers.0.lora.weight"] = torch.zeros(1)


def _stray(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    state["classifier.weight"] = torch.zeros(1)


def _projection(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    del state["enc_to_dec_proj.bias"]


def _card(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    config["decoder"]["vocab_size"] = 63


def _codec(config: dict[str, Any], state: dict[str, Tensor]) -> None:
    del state["audio_encoder.quantizer.layers.2.codebook.embed"]


@pytest.mark.parametrize(("change", "words"), [
    (_rename, "holds a 'bark'"),
    (_activation, "activation_function is 'relu'"),
    (_no_decoder, "no 'decoder'"),
    (_no_query, r"1 missing: decoder\.model\.decoder\.layers\.0\.self_attn\.\{q,k,v\}_proj\.weight.*k_proj"),
    (_surplus, r"1 surplus: model\.decoder\.layers\.0\.lora\.weight"),
    (_stray, r"surplus tensors: classifier\.weight"),
    (_projection, "enc_to_dec_proj"),
    (_card, "codebooks of 63 entries, but its codec"),
    (_codec, "codebook"),
])
@pytest.mark.parametrize("golden", ["hf_musicgen"], indirect=True)
def test_what_does_not_fit_is_named(golden: Path, copied: Path, change: Change, words: str) -> None:
    config = json.loads((copied / "config.json").read_text())
    state = load_file(golden / "model.safetensors")
    change(config, state)
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "model.safetensors").unlink()
    save_file(state, copied / "model.safetensors")
    with pytest.raises(CheckpointError, match=words) as caught:
        _load(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("golden", ["hf_musicgen"], indirect=True)
def test_a_text_encoder_folder_replaces_the_one_inside(golden: Path, copied: Path) -> None:
    inside = slot_of(_load(copied), "text").tensors
    assert "shared.weight" in inside
    (copied / "text_encoder").mkdir()
    parts = _load(copied)
    assert not slot_of(parts, "text").tensors
    with pytest.raises(CheckpointError, match="text_encoder"):
        conditioner_of(parts, "text")
