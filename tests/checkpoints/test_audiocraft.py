"""AudioCraft's layout: goldens load and compute the reference's logits; what does not fit is refused by name."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_cases import FolderHost, conditioner_of, context, lm_case, projected, slot_of, teacher_forced
from torch import Tensor

from soundforge.checkpoints.audiocraft import load_audiocraft, referenced_folder
from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.errors import CheckpointError, NotCachedError
from soundforge.interfaces import LanguageModelParts
from soundforge.nn.language_model import FusedInputs
from soundforge.nn.stereo_codec import StereoCodec


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_text_model_computes_the_references_logits(golden: Path) -> None:
    case = lm_case(golden)
    text, item = conditioner_of(case.parts, "text"), slot_of(case.parts, "text")
    rows = [text.prepare(value, context()) for value in case.about["texts"]]
    valid = case["out.tf_mask"].bool()[..., None]
    for name, batch in (("cond", rows), ("null", [None, None])):
        fused = FusedInputs(cross=projected(item, text.encode(batch, context())))
        logits = teacher_forced(case.parts, case["in.codes"], fused)
        case.close(f"out.tf_logits_{name}", logits.where(valid, torch.zeros(())))


@pytest.mark.parametrize("golden", ["musicgen_melody", "musicgen_style"], indirect=True)
def test_prefix_models_compute_the_references_logits(golden: Path) -> None:
    case = lm_case(golden)
    parts = case.parts
    text = conditioner_of(parts, "text")
    wave_slot = parts.slots[0].slot.name
    listener = conditioner_of(parts, wave_slot)
    if wave_slot == "chroma":
        waves, where = ["in.melody_wav", "in.melody_wav_2"], context()
    else:
        waves = ["in.style_wav", "in.style_wav_2"]
        options = {"excerpt_start_seconds": case.about["excerpt_start_sample"] / 32000, "eval_q": 2,
                   "excerpt_seconds": case.about["excerpt_length_s"]}
        where = context(options=options)
    heard = listener.encode([listener.prepare(case.wave(name), where) for name in waves], where)
    read = text.encode([text.prepare(value, context()) for value in case.about["texts"]], context())
    prefix = torch.cat([projected(parts.slots[0], heard), projected(parts.slots[1], read)], dim=1)
    logits = teacher_forced(parts, case["in.codes"], FusedInputs(prepend=prefix))
    case.close("out.tf_logits", logits.where(case["out.tf_mask"].bool()[..., None], torch.zeros(())))


@pytest.mark.parametrize("golden", ["musicgen_stereo"], indirect=True)
def test_stereo_interleaves_the_codec_and_pairs_the_delays(golden: Path) -> None:
    case = lm_case(golden)
    parts = case.parts
    assert isinstance(parts.codec, StereoCodec) and parts.codec.channels == 2
    assert list(parts.delays) == case.about["delays"]
    encoded = parts.codec.encode(case["in.wav_in"])
    case.close("out.codes", encoded.codes)
    case.close("out.decoded", parts.codec.decode(encoded.codes))
    text, item = conditioner_of(parts, "text"), slot_of(parts, "text")
    fused = FusedInputs(cross=projected(item, text.encode([text.prepare(case.about["texts"][0], context())],
                                                          context())))
    logits = teacher_forced(parts, case["in.rand_codes"], fused)
    case.close("out.tf_logits", logits.where(case["out.tf_mask"].bool()[..., None], torch.zeros(())))


@pytest.mark.parametrize(("golden", "window", "stride", "slots"), [
    ("musicgen_text", 30.0, 18.0, [("text", "cross", "description")]),
    ("musicgen_style", 30.0, 18.0, [("style", "prepend", "self_wav"), ("text", "prepend", "description")]),
    ("musicgen_melody", 30.0, 18.0, [("chroma", "prepend", "self_wav"), ("text", "prepend", "description")]),
    ("audiogen", 3.0, 2.0, [("text", "cross", "description")]),
], indirect=["golden"])
def test_slots_window_and_defaults(golden: Path, window: float, stride: float,
                                   slots: list[tuple[str, str, str]]) -> None:
    parts = lm_case(golden).parts
    assert (parts.window_seconds, parts.stride_seconds) == (window, stride)
    assert [(s.slot.name, s.slot.fuse, s.slot.source_name) for s in parts.slots] == slots
    assert parts.defaults["cfg"] == 3.0 and parts.defaults["top_k"] == 250
    assert parts.layout == "audiocraft"
    assert {p.dtype for p in parts.lm.parameters()} == {torch.float32}


@pytest.mark.parametrize("golden", ["musicgen_style"], indirect=True)
def test_a_codec_that_is_only_named_is_taken_from_the_folder_beside(golden: Path, tmp_path: Path) -> None:
    assert lm_case(golden).parts.codec.codebook_size == 64
    shutil.copytree(golden, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "encodec_32khz")
    with pytest.raises(NotCachedError, match="facebook/encodec_32khz"):
        _load(tmp_path / "moved")
    assert referenced_folder("//pretrained/facebook/encodec_32khz", golden, _refuse) == golden / "encodec_32khz"
    assert referenced_folder("../x/..", golden, Path) == Path("../x/..")


# --- what does not fit ----------------------------------------------------------------------------------------


def _refuse(name: str) -> Path:
    raise AssertionError(name)


def _load(folder: Path) -> LanguageModelParts:
    return load_audiocraft(folder, load_codec=load_codec_folder, resolve=FolderHost().resolve)


Change = Callable[[dict[str, Any], dict[str, Tensor]], None]


def _changed(golden: Path, folder: Path, change: Change) -> Path:
    """A copy of a case with its configuration and tensors changed."""
    folder.mkdir()
    shutil.copyfile(golden / "compression_state_dict.bin", folder / "compression_state_dict.bin")
    package = torch.load(golden / "state_dict.bin", weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    change(config, package["best_state"])
    torch.save({**package, "xp.cfg": yaml.safe_dump(config)}, folder / "state_dict.bin")
    return folder


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_the_other_attention_layout_is_read(golden: Path, tmp_path: Path) -> None:
    """Checkpoints trained with another attention kernel have one more level of names."""
    def rename(config: dict[str, Any], state: dict[str, Tensor]) -> None:
        for name in list(state):
            for part in ("self_attn", "cross_attention"):
                if f".{part}." in name:
                    state[name.replace(f".{part}.", f".{part}.mha.")] = state.pop(name)

    ours, theirs = lm_case(golden).parts.lm, _load(_changed(golden, tmp_path / "mha", rename)).lm
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def _set(path: str, value: Any) -> Change:
    def change(config: dict[str, Any], _state: dict[str, Tensor]) -> None:
        *parents, last = path.split(".")
        node = config
        for key in parents:
            node = node[key]
        node[last] = value
    return change


def _drop(path: str) -> Change:
    def change(config: dict[str, Any], _state: dict[str, Tensor]) -> None:
        *parents, last = path.split(".")
        node = config
        for key in parents:
            node = node[key]
        del node[last]
    return change


def _tensor(name: str, tensor: Tensor | None) -> Change:
    def change(_config: dict[str, Any], state: dict[str, Tensor]) -> None:
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    return change


_LAYER = "transformer.layers.1."


@pytest.mark.parametrize(("change", "words"), [
    (_set("transformer_lm.activation", "relu"), "transformer_lm.activation is 'relu'"),
    (_set("transformer_lm.positional_embedding", "rope"), "positional_embedding is 'rope'"),
    (_set("transformer_lm.kv_repeat", 2), "kv_repeat is 2"),
    (_set("transformer_lm.num_heads", 7), "d_model came as 64"),
    (_set("transformer_lm.num_layers", "three"), "num_layers is 'three'"),
    (_set("transformer_lm.num_layers", 4), r"missing: .*transformer\.layers\.3\.self_attn\.in_proj_weight"),
    (_set("lm_model", "transformer_lm_magnet"), "'transformer_lm_magnet'"),
    (_set("codebooks_pattern.modeling", "unroll"), "pattern is 'unroll'"),
    (_set("codebooks_pattern.delay.delays", [0, 2, 1, 3]), r"delays is \[0, 2, 1, 3\]"),
    (_set("codebooks_pattern.delay.delays", [0, 1]), "expected 4 whole numbers"),
    (_set("codebooks_pattern.delay.empty_initial", 1), "empty_initial"),
    (_set("fuser.input_interpolate", ["description"]), "input_interpolate"),
    (_set("fuser.cross_attention_pos_emb", True), "cross_attention_pos_emb"),
    (_set("interleave_stereo_codebooks", {"use": True, "per_timestep": True}), "per_timestep"),
    (_set("interleave_stereo_codebooks", {"use": True}), "do not belong together"),
    (_set("sample_rate", 16000), "trained at 16000 Hz, but its codec runs at 32000"),
    (_set("conditioners", {}), "its configuration lacks: description"),
    (_drop("dataset.segment_duration"), "no 'dataset.segment_duration'"),
    (_drop("transformer_lm.dim"), "no 'dim'"),
    (_tensor(_LAYER + "linear1.weight", None), r"1 missing: transformer\.layers\.1\.linear1\.weight"),
    (_tensor(_LAYER + "linear1.weight", torch.zeros(3, 3)), r"layers\.1\.linear1\.weight \(expected \[256, 64\]"),
    (_tensor(_LAYER + "cross_attention.in_proj_weight", torch.zeros(5, 64)), "cross_attention.in_proj_weight"),
    (_tensor(_LAYER + "extra.weight", torch.zeros(3)), r"1 surplus: transformer\.layers\.1\.extra\.weight"),
    (_tensor("condition_provider.conditioners.description.extra", torch.zeros(3)), "1 surplus tensors"),
    (_tensor("condition_provider.conditioners.description.output_proj.bias", None), "output_proj"),
    (_tensor("condition_provider.conditioners.description.output_proj.weight", torch.zeros(9, 32)), r"\[9, 32\]"),
])
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_what_does_not_fit_is_named(golden: Path, tmp_path: Path, change: Change, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        _load(_changed(golden, tmp_path / "changed", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_every_damaged_tensor_is_listed_at_once(golden: Path, tmp_path: Path) -> None:
    def change(_config: dict[str, Any], state: dict[str, Tensor]) -> None:
        del state["emb.0.weight"]
        state["linears.2.weight"] = torch.zeros(2, 2)
        state["surplus"] = torch.zeros(1)

    with pytest.raises(CheckpointError, match=r"missing: emb\.0.*surplus: surplus.*misshapen: linears\.2"):
        _load(_changed(golden, tmp_path / "changed", change))


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("file", ["state_dict.bin", "compression_state_dict.bin"])
@pytest.mark.parametrize("how", ["hostile", "pickle", "truncated", "empty", "noise", "absent"])
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_damaged_or_hostile_file_is_an_error_and_runs_nothing(golden: Path, tmp_path: Path, file: str,
                                                                how: str) -> None:
    marker, folder = tmp_path / "ran", tmp_path / "checkpoint"
    shutil.copytree(golden, folder)
    path = folder / file
    if how == "hostile":
        torch.save({"best_state": _Hostile(marker), "xp.cfg": "a: 1"}, path)
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"best_state": _Hostile(marker)}))
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "noise":
        path.write_bytes(bytes(range(256)) * 40)
    else:
        path.unlink()
    with pytest.raises(CheckpointError):
        _load(folder)
    assert not marker.exists()
