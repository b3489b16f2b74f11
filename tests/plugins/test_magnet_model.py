"""MAGNeT through the public door: the golden case, seeds, batches, prompts, cancel, and one-line errors."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plugin_hosts import host_with
from safetensors.torch import load_file

import soundforge as sf
from soundforge.checkpoints.magnet import load_magnet
from soundforge.errors import CancelledError, CheckpointError, ConditionError, RequestError

pytestmark = pytest.mark.parametrize("golden", ["magnet"], indirect=True)


@pytest.fixture
def engine(golden: Path) -> sf.Engine:
    return sf.load(golden, device="cpu", host=host_with("text", "encodec", "magnet"))


@pytest.fixture
def case(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "case.json").read_text())


def test_logits_of_full_and_local_attention(golden: Path, case: dict[str, Any]) -> None:
    tensors = load_file(golden / "case.safetensors")
    network = load_magnet(golden).network
    keys_values = network.keys_values(tensors["out.text_cond"])
    for stage in (0, 1):
        name = f"out.logits_stage{stage}"
        logits = network(tensors["in.codes"].long(), stage, keys_values)
        assert (logits - tensors[name]).abs().max() <= case["tensors"][name]["recommended_max_abs_error"]


@pytest.mark.parametrize("arrangement", ["nonoverlap", "stride1"])
def test_the_reference_s_tokens_and_sound(golden: Path, engine: sf.Engine, case: dict[str, Any],
                                          arrangement: str) -> None:
    tensors = load_file(golden / "case.safetensors")
    want = tensors["out.tokens" if arrangement == "nonoverlap" else "out.tokens_stride1"].numpy()
    clips = engine.generate(case["texts"], seconds=2, temperature=0,
                            options={"decoding_steps": case["decoding_steps"], "span_arrangement": arrangement})
    for clip, codes in zip(clips, want, strict=True):
        np.testing.assert_array_equal(clip.codes, codes)
        assert clip.waveform.shape == (1, codes.shape[1] * 640)
    if arrangement == "nonoverlap":
        wave = engine.codec.decode(torch.as_tensor(want[:1, :, :25]).long())
        assert (wave - tensors["out.wav"]).abs().max() <= case["tensors"]["out.wav"]["recommended_max_abs_error"]


def test_a_seed_is_the_same_alone_and_in_a_batch(engine: sf.Engine) -> None:
    alone = engine.generate("calm piano", seconds=1, seed=6)
    pair = engine.generate([None, "calm piano"], seconds=1, seed=5)
    np.testing.assert_array_equal(alone.codes, pair[1].codes)
    other = engine.generate("calm piano", seconds=1, seed=7)
    assert (alone.codes != other.codes).mean() > 0.2
    assert (alone.codes != pair[0].codes).mean() > 0.2


def test_guidance_counts_and_without_it_the_text_still_does(engine: sf.Engine) -> None:
    def made(text: str | None, **keywords: Any) -> Any:
        return engine.generate(text, seconds=1, temperature=0, **keywords).codes

    guided, unguided = made("calm piano"), made("calm piano", cfg=1)
    assert (guided != unguided).any()
    assert (unguided != made("rock", cfg=1)).any()
    np.testing.assert_array_equal(made(None), made(None, cfg=1))  # nothing conditioned: guidance is nothing
    np.testing.assert_array_equal(made("calm piano", cfg=5, guidance={"text": 2}, options={"cfg_min": 0.5}),
                                  made("calm piano", cfg=10, options={"cfg_min": 1.0}))


def test_a_prompt_is_continued(engine: sf.Engine) -> None:
    first = engine.generate("calm piano", seconds=1, seed=1)
    longer = engine.extend(first, "calm piano", seconds=1, seed=2)
    assert longer.prompt_samples == first.waveform.shape[1]
    assert longer.codes is not None and first.codes is not None
    np.testing.assert_array_equal(longer.codes[:, : first.codes.shape[1]], first.codes)
    with pytest.warns(UserWarning, match=r"its last 0.5 s fit the window"):
        last = engine.extend(first, "calm piano", seconds=1.5, seed=2)
    assert last.codes is not None
    np.testing.assert_array_equal(last.codes[:, : first.codes.shape[1]], first.codes)


def test_bars_have_their_samples(engine: sf.Engine) -> None:
    clip = engine.generate("calm piano", bars=1, bpm=131, seed=1)
    assert clip.waveform.shape[1] == round(4 * 60 / 131 * 32_000)


def test_progress_and_cancel(engine: sf.Engine) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate("calm piano", seconds=1, seed=1, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 20 + 3 * 10 + 1 and seen[-1] == (50, 50) and seen == sorted(seen)
    token = sf.CancelToken()
    seen.clear()

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        token.cancel()

    with pytest.raises(CancelledError):
        engine.generate("calm piano", seconds=1, progress=stop, cancel=token)
    assert len(seen) == 1


def test_a_stream_gives_what_generate_gives(engine: sf.Engine) -> None:
    chunks = [chunk.samples for chunk in engine.stream("calm piano", seconds=1, seed=4)]
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1),
                                  engine.generate("calm piano", seconds=1, seed=4).waveform)


def test_a_stream_that_continues_gives_the_new_sound_alone(engine: sf.Engine) -> None:
    first = engine.generate("calm piano", seconds=1, seed=1)
    whole = engine.extend(first, "calm piano", seconds=0.9, seed=2, only_new=True)
    chunks = [chunk.samples for chunk in engine.stream("calm piano", prompt=first, seconds=0.9, seed=2)]
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), whole.waveform)
    bar = [chunk.samples for chunk in engine.stream("calm piano", bars=0.25, bpm=131, seed=2)]
    assert sum(samples.shape[1] for samples in bar) == round(60 / 131 * 32_000)


@pytest.mark.parametrize(("keywords", "error", "words"), [
    ({"seconds": 3}, RequestError, r"3 s were asked for, expected 0.06 to 2 s"),
    ({"seconds": 0.01}, RequestError, r"0.01 s were asked for"),
    ({"conditions": {"chroma": "x"}}, ConditionError, "no slot for it; its slots: text"),
    ({"guidance": {"style": 2}}, ConditionError, "guidance for condition 'style' came"),
    ({"cfg_beta": 2}, RequestError, "MAGNeT has one condition and one pass"),
    ({"noise": np.zeros(3)}, RequestError, "starts from masked codes"),
    ({"options": {"steps": 3}}, RequestError, "'steps' is unknown to MAGNeT; it takes decoding_steps"),
    ({"options": {"decoding_steps": [1, 2]}}, RequestError, "expected 4 whole numbers"),
    ({"options": {"span_arrangement": "diagonal"}}, RequestError, "expected nonoverlap or stride1"),
    ({"options": {"cfg_min": "low"}}, RequestError, "expected a number from -100 to 100"),
])
def test_what_is_wrong_is_named(engine: sf.Engine, keywords: dict[str, Any], error: type[Exception],
                                words: str) -> None:
    with pytest.raises(error, match=words), warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.generate("calm piano", **keywords)


def test_another_network_is_refused(golden: Path, tmp_path: Path) -> None:
    package = torch.load(golden / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace("causal: false", "causal: true")
    torch.save(package, tmp_path / "state_dict.bin")
    with pytest.raises(CheckpointError, match="causal is True, expected MAGNeT's False"):
        load_magnet(tmp_path)
    del package["best_state"]["linears.2.weight"]
    package["xp.cfg"] = package["xp.cfg"].replace("causal: true", "causal: false")
    torch.save(package, tmp_path / "state_dict.bin")
    with pytest.raises(CheckpointError, match=r"1 missing: heads\.2\.weight"):
        load_magnet(tmp_path)
