"""The text conditioner: ids, masks, hidden states and projected conditions of the reference, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_cases import FolderHost, LmCase, conditioner_of, context, lm_case, projected, slot_of
from safetensors.torch import load_file, save_file

from soundforge.errors import CheckpointError, ConditionError, NotCachedError
from soundforge.interfaces import ConditionerSetup
from soundforge_plugins.text.conditioner import MAX_TOKENS, make_text_conditioner

AUDIOCRAFT = ["musicgen_text", "musicgen_melody", "musicgen_stereo", "musicgen_style", "audiogen"]


def _setup(case: LmCase, folder: Path | None = None) -> ConditionerSetup:
    item = slot_of(case.parts, "text")
    return ConditionerSetup(item.slot, item.tensors, folder or case.folder, case.parts.layout, case.parts.config)


@pytest.mark.parametrize("golden", AUDIOCRAFT, indirect=True)
def test_token_ids_are_the_references(golden: Path) -> None:
    case = lm_case(golden)
    text = conditioner_of(case.parts, "text")
    for words, ids in case.about["text_encoder"]["token_ids"].items():
        assert text.prepare(words, context()) == ids


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_batch_with_null_texts_is_the_references(golden: Path) -> None:
    """None and "" are padded to the longest text, masked, and zero after the projection and its bias."""
    case = lm_case(golden)
    text = conditioner_of(case.parts, "text")
    condition = text.encode([text.prepare(value, context()) for value in case.about["text_batch"]], context())
    case.close("out.t5_hidden", condition.values)
    case.close("out.text_mask", condition.mask.int())
    case.close("out.text_cond", projected(slot_of(case.parts, "text"), condition))
    assert condition.values.dtype == torch.float32


@pytest.mark.parametrize(("golden", "cond", "mask"), [
    ("musicgen_melody", "out.desc_cond", "out.desc_mask"), ("audiogen", "out.text_cond", "out.text_mask"),
], indirect=["golden"])
def test_projected_texts_are_the_references(golden: Path, cond: str, mask: str) -> None:
    case = lm_case(golden)
    text = conditioner_of(case.parts, "text")
    condition = text.encode([text.prepare(value, context()) for value in case.about["texts"]], context())
    case.close(cond, projected(slot_of(case.parts, "text"), condition))
    case.close(mask, condition.mask.int())


@pytest.mark.parametrize("golden", ["hf_musicgen", "hf_musicgen_stereo", "hf_musicgen_melody"], indirect=True)
def test_the_text_encoder_inside_a_checkpoint_is_the_references(golden: Path) -> None:
    case = lm_case(golden)
    text = conditioner_of(case.parts, "text")
    rows = [text.prepare(value, context()) for value in case.about["texts"]]
    condition = text.encode(rows, context())
    case.close("out.t5_hidden", condition.values)
    assert torch.equal(condition.mask.int(), case["in.attention_mask"])
    assert [row + [0] * (31 - len(row)) for row in rows] == case["in.input_ids"].tolist()


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_only_the_empty_text_is_null(golden: Path) -> None:
    text = conditioner_of(lm_case(golden).parts, "text")
    assert text.prepare(None, context()) is None and text.prepare("", context()) is None
    assert text.prepare(" ", context()) is not None
    alone = text.encode([None, None], context())
    assert alone.values.shape == (2, 1, 32) and not alone.mask.any() and bool(torch.isfinite(alone.values).all())


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_an_item_does_not_depend_on_its_neighbours_beyond_padding(golden: Path) -> None:
    text = conditioner_of(lm_case(golden).parts, "text")
    short, long = text.prepare("calm piano", context()), text.prepare("a long text about an orchestra", context())
    alone = text.encode([short], context()).values[0]
    together = text.encode([long, short, None], context()).values[1, : alone.shape[0]]
    torch.testing.assert_close(together, alone, atol=5e-6, rtol=0)


@pytest.mark.parametrize(("value", "words"), [
    (3, "came as int, expected text"), (["a"], "came as list"), (b"a", "came as bytes"),
    ("word " * (MAX_TOKENS + 1), "expected at most 2048"),
])
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_what_is_no_text_is_refused(golden: Path, value: Any, words: str) -> None:
    with pytest.raises(ConditionError, match=words):
        conditioner_of(lm_case(golden).parts, "text").prepare(value, context())


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_there_are_no_options(golden: Path) -> None:
    with pytest.raises(ConditionError, match="got option 'language', but takes none"):
        conditioner_of(lm_case(golden).parts, "text").prepare("calm piano", context(options={"language": "fr"}))


@pytest.mark.parametrize("value", ["\x00", "🎷" * 50, "\ud800", "a\nb\tc", "¹²³ ﬁne ℃", "́" * 100])
@pytest.mark.parametrize("golden", ["musicgen_text", "hf_musicgen"], indirect=True)
def test_odd_texts_do_not_crash(golden: Path, value: str) -> None:
    text = conditioner_of(lm_case(golden).parts, "text")
    try:
        prepared = text.prepare(value, context())
    except ConditionError:
        return
    assert bool(torch.isfinite(text.encode([prepared], context()).values).all())


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_without_t5_at_hand_the_hub_is_asked(golden: Path, tmp_path: Path) -> None:
    case = lm_case(golden)
    with pytest.raises(NotCachedError, match="t5-base"):
        make_text_conditioner(FolderHost(), _setup(case, tmp_path))


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_t5_of_another_width_is_refused(golden: Path) -> None:
    case = lm_case(golden)
    setup = _setup(case)
    with pytest.raises(CheckpointError, match="width 768, but the text encoder"):
        make_text_conditioner(FolderHost(), replace(setup, slot=replace(setup.slot, width=768)))


@pytest.mark.parametrize(("file", "content", "words"), [
    ("spiece.model", b"junk", "SentencePiece"), ("spiece.model", None, "no tokenizer"),
    ("config.json", b'{"model_type": "bert"}', "'bert'"), ("config.json", b"{", "JSON"),
    ("config.json", None, "config.json"), ("model.safetensors", b"x", "safetensors"),
    ("model.safetensors", None, "no weights"),
])
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_damaged_text_encoder_is_an_error(golden: Path, tmp_path: Path, file: str, content: bytes | None,
                                            words: str) -> None:
    folder = tmp_path / "text_encoder"
    shutil.copytree(golden / "text_encoder", folder, copy_function=shutil.copyfile)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        make_text_conditioner(FolderHost(), _setup(lm_case(golden), tmp_path))


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_tensors_of_t5_that_do_not_fit_are_listed(golden: Path, tmp_path: Path) -> None:
    folder = tmp_path / "text_encoder"
    shutil.copytree(golden / "text_encoder", folder, copy_function=shutil.copyfile)
    tensors = load_file(golden / "text_encoder" / "model.safetensors")
    del tensors["encoder.final_layer_norm.weight"]
    tensors["encoder.block.0.layer.0.SelfAttention.q.weight"] = torch.zeros(2, 2)
    tensors["decoder.block.0.layer.0.SelfAttention.q.weight"] = torch.zeros(2, 2)  # a full T5 has these
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing encoder\.final_layer_norm\.weight, misshapen.*SelfAttention"):
        make_text_conditioner(FolderHost(), _setup(lm_case(golden), tmp_path))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_heads": "two"}))
    with pytest.raises(CheckpointError, match="T5"):
        make_text_conditioner(FolderHost(), _setup(lm_case(golden), tmp_path))
