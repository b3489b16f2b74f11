"""The style conditioner: the reference's vectors, masks and options, deterministic excerpts, MERT's shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm_cases import FolderHost, LmCase, conditioner_of, context, lm_case, projected, slot_of

from soundforge import Waveform
from soundforge.checkpoints.files import build_empty
from soundforge.errors import CheckpointError, ConditionError, NotCachedError
from soundforge.interfaces import ConditionerSetup
from soundforge.nn.mert import MertFeatures
from soundforge.nn.style import SCALES, StyleConfig, StyleEncoder
from soundforge_plugins.style.conditioner import StyleConditioner, StyleSettings
from soundforge_plugins.style.loading import make_style_conditioner, style_tensors

CASE = pytest.mark.parametrize("golden", ["musicgen_style"], indirect=True)


def _where(case: LmCase, **options: Any) -> Any:
    return context(options={"excerpt_start_seconds": case.about["excerpt_start_sample"] / 32000,
                            "excerpt_seconds": case.about["excerpt_length_s"], "eval_q": case.about["eval_q"],
                            **options})


def _waves(case: LmCase, style: Any) -> list[Any]:
    return [style.prepare(case.wave(name), context()) for name in ("in.style_wav", "in.style_wav_2")]


@CASE
def test_every_stage_is_the_references(golden: Path) -> None:
    case = lm_case(golden)
    style = conditioner_of(case.parts, "style")
    waves = _waves(case, style)
    batch = torch.zeros(2, 1, waves[0].shape[0])
    for row, wave in zip(batch, waves, strict=True):
        row[0, : wave.shape[0]] = wave
    start = case.about["excerpt_start_sample"]
    codes = style._features(batch[..., start : start + int(case.about["excerpt_length_s"] * 32000)])
    case.close("out.excerpt_codes", codes)
    embedded = style.encoder.embed_features(codes)
    case.close("out.style_embed", embedded)
    before = style.encoder.before_quantiser(embedded)
    case.close("out.pre_rvq", before)
    case.close("out.rvq_codes", style.encoder.rvq.encode(before.transpose(1, 2), 4))


@CASE
def test_conditions_and_masks_are_the_references(golden: Path) -> None:
    case = lm_case(golden)
    style, item = conditioner_of(case.parts, "style"), slot_of(case.parts, "style")
    waves = _waves(case, style)
    for name, batch, options in (
        ("style_cond", waves, {}), ("style_cond_q1", waves, {"eval_q": 1}),
        ("style_cond_excerpt2", waves, {"excerpt_seconds": 0.6}), ("mixed_cond", [waves[0], None], {}),
        ("none_cond", [None, None], {}),
    ):
        condition = style.encode(batch, _where(case, **options))
        case.close(f"out.{name}", projected(item, condition))
        mask = f"out.{name.replace('cond', 'mask')}"
        if mask in case.tensors:
            case.close(mask, condition.mask.int())


@CASE
def test_the_excerpt_follows_the_seed_and_only_the_seed(golden: Path) -> None:
    case = lm_case(golden)
    style = conditioner_of(case.parts, "style")
    wave = style.prepare(case.wave("in.style_wav"), context())
    heard = {seed: style.encode([wave], context(seed=seed)).values for seed in range(6)}
    assert all(torch.equal(heard[seed], style.encode([wave], context(seed=seed)).values) for seed in heard)
    assert any(not torch.equal(heard[0], other) for other in heard.values())
    longest = style.encode([wave], context(options={"excerpt_seconds": 30.0})).values
    assert longest.shape[1] == -(-int(np.ceil(33600 / 640)) // 5)


@CASE
def test_an_excerpt_past_the_end_is_moved_back(golden: Path) -> None:
    case = lm_case(golden)
    style = conditioner_of(case.parts, "style")
    wave = style.prepare(case.wave("in.style_wav"), context())
    late = style.encode([wave], context(options={"excerpt_start_seconds": 3000.0})).values
    last = (33600 - int(0.8 * 32000)) / 32000
    assert torch.equal(late, style.encode([wave], context(options={"excerpt_start_seconds": last})).values)


@CASE
def test_beyond_the_window_the_wave_is_read_on_periodically(golden: Path) -> None:
    case = lm_case(golden)
    style = conditioner_of(case.parts, "style")
    wave = style.prepare(case.wave("in.style_wav"), context())
    options = {"excerpt_start_seconds": 0.25}
    windowed = style.encode([wave], context(window_start_frames=60, window_seconds=2.0, options=options))
    positions = torch.arange(int(60 / 50 * 32000), int(60 / 50 * 32000) + 64000) % 33600
    assert torch.equal(windowed.values, style.encode([wave[positions]], context(options=options)).values)
    assert bool(windowed.mask.all())


@pytest.mark.parametrize(("options", "words"), [
    ({"eval_q": 5}, "'eval_q'.*came as 5, expected a whole number from 1 to 4"),
    ({"eval_q": 0}, "came as 0"), ({"eval_q": 1.5}, "came as 1.5"), ({"eval_q": True}, "came as True"),
    ({"excerpt_seconds": -1}, "came as -1"), ({"excerpt_seconds": float("nan")}, "came as nan"),
    ({"excerpt_seconds": "3"}, "came as '3'"), ({"excerpt_start_seconds": -0.1}, "came as -0.1"),
    ({"encodec_n_q": 9}, "expected a whole number from 1 to 3"), ({"ds_factor": 0}, "came as 0"),
    ({"evalq": 2}, "got option 'evalq', expected one of eval_q"),
])
@CASE
def test_options_out_of_range_are_refused_before_anything_is_computed(golden: Path, options: dict[str, Any],
                                                                      words: str) -> None:
    case = lm_case(golden)
    with pytest.raises(ConditionError, match=words):
        conditioner_of(case.parts, "style").prepare(case.wave("in.style_wav"), context(options=options))


@pytest.mark.parametrize(("value", "words"), [
    ("a.wav", "came as str, expected audio"), (3.0, "came as float"),
    (Waveform(np.zeros(1, dtype=np.float32), 32000), "came with 1 samples, expected at least 640"),
    (Waveform(np.zeros(0, dtype=np.float32), 32000), "came with 0 samples"),
])
@CASE
def test_what_is_no_recording_is_refused(golden: Path, value: Any, words: str) -> None:
    with pytest.raises(ConditionError, match=words):
        conditioner_of(lm_case(golden).parts, "style").prepare(value, context())


def _setup(case: LmCase, **options: Any) -> ConditionerSetup:
    item = slot_of(case.parts, "style")
    slot = replace(item.slot, options={**item.slot.options, **options})
    return ConditionerSetup(slot, item.tensors, case.folder, "audiocraft", case.parts.config, case.parts.codec)


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"model_name": "clap"}, CheckpointError, "'clap' features"),
    ({"transformer_scale": "huge"}, CheckpointError, "scale 'huge'"),
    ({"transformer_scale": "default"}, CheckpointError, "width 256, but a style transformer.*gives 512"),
    ({"n_q_out": 5}, CheckpointError, r"misshapen: rvq\.codebooks"),
    ({"encodec_n_q": 4}, CheckpointError, r"missing: embed\.3\.weight"),
    ({"sample_rate": 16000}, CheckpointError, "mono codec at 16000 Hz"),
    ({"encodec_checkpoint": "//pretrained/facebook/encodec_24khz"}, NotCachedError, "facebook/encodec_24khz"),
    ({"model_name": "mert"}, NotCachedError, "MERT"),
])
@CASE
def test_a_checkpoint_that_does_not_fit_is_refused(golden: Path, options: dict[str, Any], error: type[Exception],
                                                   words: str) -> None:
    with pytest.raises(error, match=words):
        make_style_conditioner(FolderHost(), _setup(lm_case(golden), **options))


@CASE
def test_missing_weights_are_listed(golden: Path) -> None:
    setup = _setup(lm_case(golden))
    tensors = {name: t for name, t in setup.tensors.items() if "layers.2._codebook.embed" not in name}
    del tensors["transformer.layers.1.norm2.bias"]
    with pytest.raises(CheckpointError, match=r"missing: transformer\.layers\.1\.norm2\.bias, rvq\.codebooks"):
        make_style_conditioner(FolderHost(), replace(setup, tensors=tensors))


def test_the_published_shapes_are_what_the_names_say() -> None:
    """musicgen-style: width 512, 8 layers, 6 books of 1024; a tensor for every parameter."""
    encoder = build_empty(lambda: StyleEncoder(StyleConfig()))
    width, _, layers = SCALES["default"]
    assert (width, layers, encoder.config.n_quantisers) == (512, 8, 6)
    theirs = {name: torch.empty_like(t) for name, t in encoder.state_dict().items() if name != "rvq.codebooks"}
    for index in range(6):
        theirs[f"rvq.vq.layers.{index}._codebook.embed"] = torch.empty(1024, 512, device="meta")
        theirs[f"rvq.vq.layers.{index}._codebook.inited"] = torch.empty(1, device="meta")
    theirs["batch_norm.num_batches_tracked"] = torch.empty((), device="meta")
    found = style_tensors(theirs)
    assert {name: t.shape for name, t in found.items()} == {n: t.shape for n, t in encoder.state_dict().items()}


# --- MERT ---------------------------------------------------------------------------------------------------

# The published configuration with fewer and narrower layers.
MERT_CONFIG: dict[str, Any] = {
    "model_type": "mert_model", "architectures": ["MERTModel"], "auto_map": {"AutoModel": "modeling_MERT.MERTModel"},
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "conv_dim": [8] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False, "feat_extract_norm": "group", "feat_proj_layer_norm": True, "do_stable_layer_norm": False,
    "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 4, "num_feat_extract_layers": 7,
    "feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0, "sample_rate": 24000,
}


def mert_tensors(config: dict[str, Any] = MERT_CONFIG) -> dict[str, torch.Tensor]:
    from transformers import HubertConfig, HubertModel

    plain = {k: v for k, v in config.items() if k not in ("model_type", "architectures", "auto_map", "sample_rate",
                                                          "feature_extractor_cqt", "deepnorm", "attention_relax")}
    torch.manual_seed(0)
    state = HubertModel(HubertConfig(**plain)).state_dict()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, old in names.items():  # as the published file, of 2023, spells them
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    return {**state, "final_proj.weight": torch.zeros(3, 3)}


def test_mert_runs_at_75_frames_a_second_without_remote_code() -> None:
    mert = MertFeatures(MERT_CONFIG, mert_tensors(), source="mert")
    features = mert(torch.randn(2, 3 * 24000, generator=torch.Generator().manual_seed(0)) * 0.1)
    assert features.shape == (2, 224, 24) and bool(torch.isfinite(features).all())


def test_style_from_mert_has_the_published_rates() -> None:
    """3 s of audio: 224 frames, every 15th kept, each standing for 32000 / 75 * 15 samples in the mask."""
    config = StyleConfig(scale="xsmall", n_feature_books=0, codebook_size=0, feature_width=24)
    torch.manual_seed(0)
    encoder = StyleEncoder(config).eval()
    torch.nn.init.normal_(encoder.rvq.codebooks)  # type: ignore[union-attr]
    mert = MertFeatures(MERT_CONFIG, mert_tensors(), source="mert")
    style = StyleConditioner(encoder, lambda wave: mert(wave[:, 0, : 72000]), StyleSettings(feature_rate_hz=75.0,
                                                                                            n_books=0))
    wave = style.prepare(Waveform(np.zeros(96000, dtype=np.float32), 32000), context())
    condition = style.encode([wave, None], context())
    assert condition.values.shape == (2, 15, 256)
    assert bool(condition.mask[0].all()) and not condition.mask[1].any()


@pytest.mark.parametrize(("change", "words"), [
    ({"deepnorm": True}, "deepnorm is True"), ({"feature_extractor_cqt": True}, "cqt is True"),
    ({"num_hidden_layers": 3}, "missing or misshapen: encoder.layers.2"),
])
def test_other_merts_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        MertFeatures({**MERT_CONFIG, **change}, mert_tensors(), source="mert")
