"""Model files: every layout is read, nothing is executed, every misfit is named."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from soundforge.checkpoints.files import (
    assign_state,
    build_empty,
    read_audiocraft,
    read_json,
    read_tensors,
    read_torch_file,
)
from soundforge.checkpoints.xp_config import parse_xp_config
from soundforge.errors import CheckpointError


def two_tensors() -> dict[str, torch.Tensor]:
    return {"weight": torch.randn(3, 2), "bias": torch.randn(3)}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_safetensors_single_and_folder(tmp_path: Path) -> None:
    want = two_tensors()
    save_file(want, tmp_path / "model.safetensors")
    assert same(read_tensors(tmp_path / "model.safetensors"), want)
    assert same(read_tensors(tmp_path), want)


def test_safetensors_sharded(tmp_path: Path) -> None:
    want = two_tensors()
    for number, name in enumerate(want):
        save_file({name: want[name]}, tmp_path / f"model-{number}.safetensors")
    index = {"weight_map": {name: f"model-{number}.safetensors" for number, name in enumerate(want)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same(read_tensors(tmp_path), want)
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors"):
        read_tensors(tmp_path)


def test_shard_index_stays_in_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file(two_tensors(), tmp_path / "secret.safetensors")
    index = {"weight_map": {"weight": "../secret.safetensors"}}
    (inside / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside its folder"):
        read_tensors(inside)


@pytest.mark.parametrize("new_form", [True, False], ids=["zip", "legacy"])
def test_torch_file_with_views_into_one_storage(tmp_path: Path, new_form: bool) -> None:
    base = torch.arange(12.0)
    want = {"weight": base[4:10].view(2, 3), "bias": base[1:3]}
    path = tmp_path / "pytorch_model.bin"
    torch.save(want, path, _use_new_zipfile_serialization=new_form)
    assert same(read_tensors(path), want)


def test_audiocraft_export_resolves_interpolations(tmp_path: Path) -> None:
    path = tmp_path / "state_dict.bin"
    text = "sample_rate: 32000\nlr: 1e-5\nencodec:\n  sample_rate: ${sample_rate}\n  causal: false\n"
    text += "seanet:\n  causal: ${encodec.causal}\n  name: r_${.causal}_${sample_rate}\n  home: ${oc.env:HOME}\n"
    torch.save({"best_state": two_tensors(), "xp.cfg": text, "version": "1", "exported": True}, path)
    read = read_audiocraft(path)
    assert read.pretrained is None and set(read.tensors) == {"weight", "bias"}
    assert read.config["encodec"]["sample_rate"] == 32000 and read.config["lr"] == 1e-5
    assert read.config["seanet"] == {"causal": False, "name": "r_False_32000", "home": "${oc.env:HOME}"}


def test_audiocraft_pointer(tmp_path: Path) -> None:
    path = tmp_path / "compression_state_dict.bin"
    torch.save({"pretrained": "facebook/encodec_32khz", "exported": True}, path)
    assert read_audiocraft(path).pretrained == "facebook/encodec_32khz"


def test_audiocraft_rejects_other_dictionaries(tmp_path: Path) -> None:
    torch.save(two_tensors(), tmp_path / "state_dict.bin")
    with pytest.raises(CheckpointError, match="not an AudioCraft export"):
        read_audiocraft(tmp_path / "state_dict.bin")


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "a: ${a}", "a: x${b}${b}\nb: x${a}${a}", "a: " + "[" * 500 + "]" * 500],
    ids=["broken", "list", "self", "doubling", "deep"],
)
def test_bad_configuration_text(text: str) -> None:
    with pytest.raises(CheckpointError, match="the file"):
        parse_xp_config(text, source="the file")


class Dropper:
    """Creates a file when unpickled by a careless reader."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_malicious_file_executes_nothing(tmp_path: Path, form: str) -> None:
    path, target = tmp_path / "state_dict.bin", tmp_path / "executed"
    package = {"best_state": Dropper(target), "xp.cfg": "a: 1"}
    if form == "pickle":
        path.write_bytes(pickle.dumps(package))
    else:
        torch.save(package, path, _use_new_zipfile_serialization=form == "zip")
    for read in (read_torch_file, read_audiocraft, read_tensors):
        with pytest.raises(CheckpointError, match="nothing in it was executed"):
            read(path)
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_corrupted_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".bin":
        torch.save(two_tensors(), path)
    else:
        save_file(two_tensors(), path)
    whole = path.read_bytes()
    for broken in (b"", whole[:3], whole[: len(whole) // 2], b"\xff" * 64, whole[:40] + bytes(60) + whole[100:]):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError):
            read_tensors(path)


def test_absent_files_and_bad_json(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_tensors(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_tensors(tmp_path)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="expected an object"):
        read_json(tmp_path / "config.json")


def test_assign_state_takes_the_tensors_over(tmp_path: Path) -> None:
    save_file(two_tensors(), tmp_path / "model.safetensors")
    tensors = read_tensors(tmp_path)
    linear = build_empty(lambda: nn.Linear(2, 3))
    assert linear.weight.is_meta and not linear.training
    assign_state(linear, tensors, source="here")
    assert linear.weight.data_ptr() == tensors["weight"].data_ptr()
    assert not linear.weight.requires_grad


def test_assign_state_converts_floating_tensors() -> None:
    linear = build_empty(lambda: nn.Linear(2, 3))
    halves = {name: value.half() for name, value in two_tensors().items()}
    assign_state(linear, halves, source="here", dtype=torch.float32)
    assert linear.weight.dtype == torch.float32 and linear.bias.dtype == torch.float32


def test_assign_state_lists_every_misfit_and_assigns_nothing() -> None:
    linear = build_empty(lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3, bias=False)))
    tensors = {"0.weight": torch.zeros(2, 3), "0.bias": torch.zeros(3), "extra.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        assign_state(linear, tensors, source="file.bin")
    text = str(caught.value)
    assert "file.bin" in text and "\n" not in text
    assert "1 missing: 1.weight" in text and "1 surplus: extra.weight" in text
    assert "1 misshapen: 0.weight (expected [3, 2], found [2, 3])" in text
    assert linear[0].bias.is_meta


def test_assign_state_refuses_integers_for_weights() -> None:
    linear = build_empty(lambda: nn.Linear(2, 3, bias=False))
    with pytest.raises(CheckpointError, match=r"found int64 \[3, 2\]"):
        assign_state(linear, {"weight": torch.zeros(3, 2, dtype=torch.int64)}, source="here")
