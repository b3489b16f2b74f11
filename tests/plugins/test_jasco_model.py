"""JASCO through the public door: both golden cases, guidance, lengths, seeds, cancel, and one-line errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plugin_hosts import host_with
from safetensors.torch import load_file

import soundforge as sf
from soundforge.checkpoints.jasco import load_jasco
from soundforge.errors import CancelledError, CheckpointError, ConditionError, RequestError
from soundforge_plugins.jasco.options import JascoParams, guidance_rows

BOTH = ["jasco_chords_drums", "jasco_chords_drums_melody"]
both = pytest.mark.parametrize("golden", BOTH, indirect=True)
with_melody = pytest.mark.parametrize("golden", BOTH[1:], indirect=True)


@dataclass
class Case:
    """A golden case with its engine and conditions as users give them."""

    info: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    engine: sf.Engine
    conditions: dict[str, Any]

    def generate(self, *names: str, text: Any = None, **keywords: Any) -> Any:
        given = {name: self.conditions[name] for name in names}
        options = {"chords": {"table": self.info["chord_indices"]}, **keywords.pop("condition_options", {})}
        return self.engine.generate(self.info["texts"] if text is None else text, conditions=given,
                                    condition_options=options, **keywords)

    def latents(self, *names: str, **keywords: Any) -> torch.Tensor:
        """Normalised latents `[2, T, D]` from the golden noise."""
        model: Any = self.engine.model
        made = []
        original = model.solve

        def solve(*args: Any, **more: Any) -> torch.Tensor:
            made.append(original(*args, **more))
            return made[-1]

        model.solve = solve
        try:
            self.generate(*names, noise=self.tensors["in.noise"], cfg=5.0, **keywords)
        finally:
            del model.solve
        return made[0]

    def assert_close(self, value: torch.Tensor, name: str) -> None:
        limit = self.info["tensors"][name]["recommended_max_abs_error"]
        assert value.shape == self.tensors[name].shape
        assert (value - self.tensors[name]).abs().max() <= limit


@pytest.fixture
def case(golden: Path) -> Case:
    tensors = load_file(golden / "case.safetensors")
    info = json.loads((golden / "case.json").read_text())
    conditions = {"chords": tuple((symbol, start) for symbol, start in info["chords"]),
                  "drums": sf.Waveform(tensors["in.drums_wav"].numpy(), 32_000)}
    if "in.melody" in tensors:
        conditions["melody"] = tensors["in.melody"].numpy()
    host = host_with("text", "encodec", "chords", "jasco")
    return Case(info, tensors, sf.load(golden, device="cpu", host=host), conditions)


EULER = {"solver": "euler", "steps": 10, "cfg_text": 1.5}


@both
def test_the_reference_s_latents_by_both_solvers(case: Case) -> None:
    everything = tuple(case.conditions)
    case.assert_close(case.latents(*everything, options=EULER), "out.latents_euler")
    case.assert_close(case.latents(*everything, options={"cfg_text": 1.5}), "out.latents_dopri5")


@both
@pytest.mark.parametrize(("out", "names"), [
    ("out.latents_text_only", ()), ("out.latents_no_drums", ("chords", "melody")),
    ("out.latents_drums_only", ("drums",)), ("out.latents_melody_only", ("melody",))])
def test_the_reference_s_latents_for_any_subset_of_conditions(case: Case, out: str, names: tuple[str, ...]) -> None:
    if out not in case.tensors:
        pytest.skip(f"the case has no {out}")
    given = tuple(name for name in names if name in case.conditions)
    case.assert_close(case.latents(*given, options=EULER), out)


@both
def test_the_reference_s_conditions_and_fields(case: Case) -> None:
    model: Any = case.engine.model
    requests = [sf.GenerateRequest(text=text, conditions=case.conditions,
                                   condition_options={"chords": {"table": case.info["chord_indices"]}})
                for text in case.info["texts"]]
    prepared = model._prepare(requests)
    assert torch.equal(prepared[0]["chords"].int(), case.tensors["out.frame_chords"])
    present = [frozenset(name for name, value in item.items() if value is not None) for item in prepared]
    rows = guidance_rows(JascoParams(cfg=5.0, cfg_text=1.5), present, model._parts.dropped)
    assert [weight for _, weight in rows] == case.info["decision_margins"]["cfg_weights"]
    with torch.inference_mode():
        text, beside = model.conditions(prepared, [row for row, _ in rows])
        case.assert_close(text, "out.cond_description")
        at = 0
        for name in ("chords", "self_wav", "melody"):
            if f"out.cond_{name}" in case.tensors:
                width = case.tensors[f"out.cond_{name}"].shape[2]
                case.assert_close(beside[..., at:at + width], f"out.cond_{name}")
                at += width
        noise = case.tensors["in.noise"]
        for time, name in ((0.0, "t0"), (0.37, "t037")):
            terms = model._network(noise.repeat(3, 1, 1), torch.tensor(time), beside, text)
            case.assert_close(terms, f"out.v_terms_{name}")
            merged = sum(w * v for (_, w), v in zip(rows, terms.chunk(3), strict=True))
            case.assert_close(merged, f"out.v_merged_{name}")  # type: ignore[arg-type]
        latents = case.tensors["out.latents_euler"][:1, :25] * model._parts.latent_std + model._parts.latent_mean
        case.assert_close(model.codec.decode_from_latent(latents.transpose(1, 2)), "out.wav_euler")


@both
def test_the_seed_makes_the_clip_again_alone_and_in_a_batch(case: Case) -> None:
    fast = {"solver": "euler", "steps": 4}
    alone = case.generate("chords", text="calm piano", seed=6, options=fast)
    again = case.generate("chords", text="calm piano", seed=6, options=fast)
    np.testing.assert_array_equal(alone.waveform, again.waveform)
    pair = case.generate("chords", text=["calm piano", "calm piano"], seed=5, options=fast)
    np.testing.assert_allclose(pair[1].waveform, alone.waveform, atol=1e-4)
    assert np.abs(pair[0].waveform - alone.waveform).max() > 0.1
    assert alone.codes is None and alone.waveform.shape == (1, 64_000)


@both
def test_every_condition_changes_the_sound(case: Case) -> None:
    fast = {"solver": "euler", "steps": 4}
    plain = case.generate(text="calm piano", seed=1, options=fast).waveform
    for name in case.conditions:
        assert np.abs(case.generate(name, text="calm piano", seed=1, options=fast).waveform - plain).max() > 0.05, name


@both
def test_shorter_clips_and_bars_are_the_beginning(case: Case) -> None:
    fast = {"solver": "euler", "steps": 2}
    whole = case.generate(text="calm piano", seed=1, options=fast).waveform
    bars = case.generate(text="calm piano", seed=1, bars=0.5, bpm=131, options=fast).waveform
    assert bars.shape[1] == round(2 * 60 / 131 * 32_000)
    np.testing.assert_allclose(bars[:, :20_000], whole[:, :20_000], atol=1e-4)


@both
def test_the_reference_s_names_of_the_guidance_weights(case: Case) -> None:
    one = case.latents(options=EULER)
    fast = {"solver": "euler", "steps": 10}
    model_way = case.latents(options=fast, guidance={"all": 5.0, "text": 1.5})
    torch.testing.assert_close(one, model_way)


def test_guidance_rows_merge_and_add_up_to_one() -> None:
    full = frozenset({"text", "chords", "melody"})
    dropped = frozenset({"chords", "melody", "drums"})
    three = guidance_rows(JascoParams(cfg=5.0, cfg_text=1.5), [full], dropped)
    assert [(set(row[0]), weight) for row, weight in three] == [(set(full), 5.0), ({"text"}, 1.5), (set(), -5.5)]
    assert len(guidance_rows(JascoParams(cfg=5.0), [full], dropped)) == 2  # no weight, no branch
    assert guidance_rows(JascoParams(cfg=1.0), [full], dropped) == [((full,), 1.0)]
    assert guidance_rows(JascoParams(cfg=5.0, cfg_text=1.5), [frozenset()], dropped) == [((frozenset(),), 1.0)]
    # Without chords the melody stays on in every branch, as in the reference.
    quirk = guidance_rows(JascoParams(cfg=5.0), [frozenset({"melody", "drums"})], dropped)
    assert [set(row[0]) for row, _ in quirk] == [{"melody", "drums"}, {"melody"}]
    more = guidance_rows(JascoParams(cfg=5.0, weights=(("chords", 2.0),)), [full], dropped)
    assert sum(weight for _, weight in more) == pytest.approx(1.0)
    assert {tuple(sorted(row[0])): weight for row, weight in more}["melody", "text"] == -5.0


@both
def test_progress_and_cancel(case: Case) -> None:
    for options, calls in (({"solver": "euler", "steps": 8}, 9), ({}, None)):
        seen: list[tuple[int, int]] = []
        case.generate(text="x", seed=1, options=options, progress=lambda done, total, s=seen: s.append((done, total)))
        assert seen == sorted(seen) and seen[-1] == (100, 100)
        assert calls is None or len(seen) == calls
    token, count = sf.CancelToken(), []

    def stop(done: int, total: int) -> None:
        count.append(done)
        token.cancel()

    with pytest.raises(CancelledError):
        case.generate(text="x", progress=stop, cancel=token)
    assert len(count) == 1


@with_melody
@pytest.mark.parametrize(("keywords", "error", "words"), [
    ({"seconds": 3}, RequestError, "3 s were asked for, expected one frame to 2 s"),
    ({"conditions": {"chroma": "x"}}, ConditionError, "condition 'chroma' came, but model"),
    ({"conditions": {"chords": "Xm@0"}}, ConditionError, "chord 'Xm' is unknown; expected a root such as C"),
    ({"conditions": {"chords": "Em@0"}}, ConditionError, "chord 'Em' is unknown to the model; with this root it knows"),
    ({"conditions": {"chords": "C@2.5"}}, ConditionError, "starts at 2.5 s, expected 0 to below 2 s"),
    ({"conditions": {"chords": "C@4b"}}, ConditionError, "no tempo came"),
    ({"conditions": {"chords": "C@0 G Am"}}, ConditionError, "expected symbols with start times"),
    ({"conditions": {"chords": "C Xm"}}, ConditionError, "chord 'Xm' is unknown; expected a root such as C"),
    ({"conditions": {"chords": " | "}}, ConditionError, "expected symbols such as 'Am F C G'"),
    ({"conditions": {"drums": sf.Waveform(np.zeros((1, 96_000)), 32_000)}}, ConditionError,
     "has 3 s, expected at most 2 s"),
    ({"conditions": {"drums": "boom"}}, ConditionError, "came as str, expected audio"),
    ({"conditions": {"melody": np.zeros((53, 172))}}, ConditionError, "has 172 frames, expected 100"),
    ({"conditions": {"melody": np.zeros((12, 100))}}, ConditionError, r"expected floats \[53, 100\]"),
    ({"options": {"wings": 2}}, RequestError, "'wings' is unknown to JASCO; it takes solver"),
    ({"options": {"solver": "rk4"}}, RequestError, "expected dopri5 or euler"),
    ({"options": {"solver": "dopri5", "steps": 3}}, RequestError, "which chooses its own"),
    ({"noise": np.zeros((3, 3))}, RequestError, r"expected \[1, 100, 16\]"),
    ({"cfg_beta": 2}, RequestError, "JASCO is guided by cfg"),
])
def test_what_is_wrong_is_named(case: Case, keywords: dict[str, Any], error: type[Exception], words: str) -> None:
    options = {"chords": {"table": case.info["chord_indices"]}}
    with pytest.raises(error, match=words):
        case.engine.generate("calm piano", condition_options=options, **keywords)


@both
def test_it_says_that_it_cannot_continue(case: Case) -> None:
    with pytest.raises(RequestError, match="cannot continue audio"):
        case.engine.extend(sf.Waveform(np.zeros((1, 32_000)), 32_000), "x", seconds=1)


@both
def test_symbols_without_a_table_say_what_is_missing(case: Case, golden: Path) -> None:
    if any((golden / name).exists() for name in ("chord_to_index_mapping.json", "chord_to_index_mapping.pkl")):
        pytest.skip("the case has a table")
    with pytest.raises(ConditionError, match=r"no table .* put AudioCraft's assets/chord_to_index_mapping.pkl into"):
        case.engine.generate("x", conditions={"chords": "Em@0"}, condition_options={"chords": {"table": None}})


@with_melody
def test_other_ways_to_give_a_condition(case: Case) -> None:
    """Rows of the table, text, beats; a melody at its own rate and from audio."""
    fast = {"solver": "euler", "steps": 2}

    def made(chords: Any, **more: Any) -> Any:
        case.conditions["chords"] = chords
        return case.generate("chords", text="x", seed=1, options=fast, **more).waveform

    base = made(case.conditions["chords"])
    np.testing.assert_array_equal(base, made(case.tensors["out.frame_chords"].numpy()))
    np.testing.assert_array_equal(base, made("C@0 Am7@0.5, F#m@1.1 G7@1.62"))
    np.testing.assert_array_equal(base, made(case.info["chords"]))  # lists of two, as JSON has them
    np.testing.assert_array_equal(base, made("C@0b Am7@0.5b Gbm@1.1b G7@1.62b", bpm=60))
    time = np.arange(64_000) / 32_000
    case.conditions["melody"] = sf.Waveform(0.5 * np.sin(2 * np.pi * 440 * time), 32_000)
    heard = case.generate("melody", text="x", seed=1, options=fast).waveform
    matrix = np.zeros((53, 172))
    matrix[69 - 43] = 1
    case.conditions["melody"] = matrix
    given = case.generate("melody", text="x", seed=1, options=fast,
                          condition_options={"melody": {"frame_rate_hz": 86}}).waveform
    assert np.abs(heard - given).mean() < 0.2 * np.abs(given).mean()


def _reconfigure(package: dict[str, Any], old: str, new: str) -> None:
    package["xp.cfg"] = package["xp.cfg"].replace(old, new)


@pytest.mark.parametrize("golden", BOTH[:1], indirect=True)
@pytest.mark.parametrize(("change", "words"), [
    (lambda p: p["best_state"].pop("temb_proj.bias"), r"1 missing: time_out\.bias"),
    (lambda p: _reconfigure(p, "norm_first: true", "norm_first: false"), "norm_first is False"),
    (lambda p: _reconfigure(p, "lm_model: flow_matching", "lm_model: x"), "expected JASCO's"),
])
def test_another_network_is_refused(golden: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object],
                                    words: str) -> None:
    package = torch.load(golden / "state_dict.bin", weights_only=True)
    change(package)
    torch.save(package, tmp_path / "state_dict.bin")
    (tmp_path / "compression_state_dict.bin").write_bytes((golden / "compression_state_dict.bin").read_bytes())
    with pytest.raises(CheckpointError, match=words):
        load_jasco(tmp_path, resolve=lambda name: golden / "encodec_32khz")


