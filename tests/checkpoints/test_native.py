"""The native form: exact both ways, self-contained, never half written, and strict about what it reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_cases import FolderHost, conditioner_of, context, lm_case
from safetensors.torch import load_file, save_file

from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.checkpoints.native import load_native, quantization_of
from soundforge.checkpoints.native_convert import convert
from soundforge.checkpoints.native_save import save_native
from soundforge.errors import CheckpointError
from soundforge.interfaces import LanguageModelParts, LoadOptions
from soundforge.nn.language_model import LanguageModel
from soundforge.nn.quantised_model import quantise_language_model
from soundforge_plugins.musicgen.loading import load_musicgen
from soundforge_plugins.musicgen.recognise import layout_of

EACH = ["musicgen_text", "musicgen_style", "musicgen_melody", "musicgen_stereo", "audiogen", "hf_musicgen",
        "hf_musicgen_melody", "hf_musicgen_stereo"]


def _load(folder: Path) -> LanguageModelParts:
    return load_native(folder, load_codec=load_codec_folder)


@pytest.mark.slow
@pytest.mark.parametrize("golden", EACH, indirect=True)
def test_everything_comes_back_exactly(golden: Path, tmp_path: Path) -> None:
    case, folder = lm_case(golden), tmp_path / "native"
    save_native(case.parts, folder)
    assert layout_of(folder) == "native"
    back = load_musicgen(FolderHost(), folder, LoadOptions())
    theirs = back.lm.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in case.parts.lm.state_dict().items())
    same = ("delays", "window_seconds", "stride_seconds", "layout", "defaults", "licence")
    assert all(getattr(back, name) == getattr(case.parts, name) for name in same)
    for old, new in zip(case.parts.slots, back.slots, strict=True):
        assert (old.slot.name, old.slot.fuse, old.slot.width) == (new.slot.name, new.slot.fuse, new.slot.width)
        assert old.weight is not None and new.weight is not None and torch.equal(old.weight, new.weight)
    wave = torch.randn(1, back.codec.channels, 3000, generator=torch.Generator().manual_seed(1))
    old_codes, new_codes = case.parts.codec.encode(wave).codes, back.codec.encode(wave).codes
    assert torch.equal(old_codes, new_codes)
    # Not to the last bit: where in memory weights lie decides which kernel multiplies them.
    torch.testing.assert_close(case.parts.codec.decode(old_codes), back.codec.decode(new_codes), atol=1e-5, rtol=0)
    for item in back.slots:
        value: Any = "calm piano" if item.slot.name == "text" else case.wave(
            "in.style_wav" if item.slot.name == "style" else "in.melody_wav")
        encoded = []
        for parts in (case.parts, back):
            conditioner = conditioner_of(parts, item.slot.name)
            encoded.append(conditioner.encode([conditioner.prepare(value, context()), None], context()))
        torch.testing.assert_close(encoded[0].values, encoded[1].values, atol=1e-5, rtol=0)
        assert torch.equal(encoded[0].mask, encoded[1].mask)


@pytest.mark.parametrize(("golden", "kept"), [("audiogen", "float16"), ("hf_musicgen", "float32")], indirect=["golden"])
def test_precision_is_the_smallest_that_loses_nothing(golden: Path, tmp_path: Path, kept: str) -> None:
    save_native(lm_case(golden).parts, tmp_path / "native")
    assert json.loads((tmp_path / "native" / "config.json").read_text())["dtype"] == kept
    stored = load_file(tmp_path / "native" / "model.safetensors")["lm.out_norm.weight"]
    assert stored.dtype == getattr(torch, kept)


class _Source(FolderHost):
    def load_model(self, name: str, options: LoadOptions) -> LanguageModelParts:
        return load_musicgen(self, Path(name), options)


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_convert(golden: Path, tmp_path: Path) -> None:
    convert(_Source(), str(golden), tmp_path / "half", precision="float16")
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "float16"
    convert(_Source(), str(tmp_path / "half"), tmp_path / "again")
    first, second = _load(tmp_path / "half").lm.state_dict(), _load(tmp_path / "again").lm.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(CheckpointError, match="exists already"):
        convert(_Source(), str(golden), tmp_path / "half")
    with pytest.raises(CheckpointError, match="expected int8 or int4"):
        convert(_Source(), str(golden), tmp_path / "q", quantize="int3")
    with pytest.raises(CheckpointError, match="expected float32 or float16"):
        convert(_Source(), str(golden), tmp_path / "q", precision="float8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "half"]


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_failed_write_leaves_nothing(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("soundforge.checkpoints.native_save._write_tensors", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        save_native(lm_case(golden).parts, tmp_path / "native")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def native(golden: Path, tmp_path: Path) -> Path:
    save_native(lm_case(golden).parts, tmp_path / "native")
    return tmp_path / "native"


@pytest.mark.parametrize(("change", "words"), [
    ({"format_version": 2}, "version 2"),
    ({"quantization": "int3"}, "quantised to 'int3', this version reads int8 and int4"),
    ({"quantization": "int8"}, "layout of version 1, this version reads 2; convert the original checkpoint again"),
    ({"quantization": "int8", "quantization_version": 2, "quantization_recipe": {"bits": 8, "group": 32, "wide": []}},
     r"missing: emb\.weight, layers\.0\.self_attn\.in_proj\.quantised"),
    ({"quantization": "int4", "quantization_version": 2, "quantization_recipe": {"bits": 3, "group": 32, "wide": []}},
     "a recipe of 3 bits"),
    ({"language_model": {"d_model": 64}}, "cannot be built"),
    ({"language_model": {"wings": 2}}, "unexpected keyword argument 'wings'"),
    ({"language_model": {"n_layers": 10**12}}, "n_layers came as 1000000000000, expected 1 to 1024"),
    ({"window_seconds": float("nan")}, "window came as nan"),
    ({"delays": "many"}, "cannot be used"),
    ({"slots": [{"name": "text"}]}, "cannot be used"),
    ({"slots": []}, r"2 surplus tensors: slot\.text\."),
    ({"codec": "../../elsewhere"}, "elsewhere"),
])
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_configuration_that_cannot_be_used_is_refused(native: Path, change: dict[str, Any], words: str) -> None:
    config = json.loads((native / "config.json").read_text())
    (native / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=words):
        _load(native)


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_damaged_weights_are_refused(native: Path) -> None:
    path = native / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    save_file({name: tensor for name, tensor in tensors.items() if name != "lm.emb.0.weight"}, path)
    with pytest.raises(CheckpointError, match=r"missing: emb\.0\.weight"):
        _load(native)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        _load(native)
    shutil.rmtree(native / "codec")
    with pytest.raises(CheckpointError):
        _load(native)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_quantised_weights_come_back_as_they_were(golden: Path, tmp_path: Path, quantize: str) -> None:
    folder, whole, again = tmp_path / quantize, tmp_path / "whole", tmp_path / "again"
    convert(_Source(), str(golden), folder, quantize=quantize)
    wanted = load_musicgen(FolderHost(), golden, LoadOptions())
    assert isinstance(wanted.lm, LanguageModel)
    quantise_language_model(wanted.lm, quantize)
    found = load_musicgen(FolderHost(), folder, LoadOptions(quantize=quantize))
    theirs = found.lm.state_dict()
    assert set(theirs) == set(wanted.lm.state_dict())
    for name, tensor in wanted.lm.state_dict().items():
        assert torch.equal(tensor, theirs[name]) and tensor.dtype == theirs[name].dtype, name
    codes = torch.zeros(1, 4, 6, dtype=torch.int64)
    with torch.inference_mode():
        torch.testing.assert_close(found.lm(codes), wanted.lm(codes), atol=1e-4, rtol=0)
    convert(_Source(), str(golden), whole, precision="float32")
    sizes = [(place / "model.safetensors").stat().st_size for place in (folder, whole)]
    assert sizes[0] < 0.6 * sizes[1]
    convert(_Source(), str(folder), again)
    assert quantization_of(again) == quantize and quantization_of(golden) is None
    other = "int4" if quantize == "int8" else "int8"
    with pytest.raises(CheckpointError, match=f"holds {quantize} weights"):
        load_musicgen(FolderHost(), folder, LoadOptions(quantize=other))
    with pytest.raises(CheckpointError, match=f"quantised to {quantize} already"):
        convert(_Source(), str(folder), tmp_path / "twice", quantize=other)
