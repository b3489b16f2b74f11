"""`soundforge bench`: figures under their promised names, and advice that follows from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from soundforge.cli.bench import lines
from soundforge.cli.bench_advice import advice

GOOD: dict[str, Any] = {
    "model": "starter", "device": "cpu", "quantize": None, "machine": {"cores": 4, "threads": 4, "load_average": 0.2},
    "load_seconds": 1.0, "real_time_factor": 5.0, "first_sound_seconds": 0.03,
    "trigger_seconds": {"2": 0.05, "8": 0.06},
    "prefill_seconds_per_second": 0.03, "step_seconds": 0.004, "steps_per_second": 250.0,
    "steps_needed_per_second": 50.0, "guidance_factor": 1.3, "bytes_per_step": 10**8, "limit_steps_per_second": 360.0,
    "bandwidth_share": 0.7, "codec_encode_rtf": 50.0, "codec_decode_rtf": 20.0, "codec_stream_rtf": 15.0,
    "codec_precision": "float32", "codec_has_bfloat16": True}


def test_the_figures_of_a_run_are_there_and_agree(run: Any) -> None:
    told = run("bench", "--json", "--seconds", "0.3", "--runs", "1")
    assert told.status == 0, told.err
    found = json.loads(told.out)
    assert set(GOOD) - {"quantize"} <= set(found)
    assert {"processor", "cores", "threads", "torch", "commit"} <= set(found["machine"])
    assert found["bandwidth_share"] == pytest.approx(found["steps_per_second"] / found["limit_steps_per_second"])
    assert min(found[key] for key in ("real_time_factor", "first_sound_seconds", "step_seconds")) > 0
    assert found["advice"]


def test_nothing_to_do() -> None:
    assert advice(GOOD) == ["nothing to do: faster than real time, and quick to answer"]


@pytest.mark.parametrize(("change", "words"), [
    ({"real_time_factor": 0.8}, "quantise"), ({"real_time_factor": 1.1, "guidance_factor": 1.9}, "leave guidance out"),
    ({"real_time_factor": 0.8, "quantize": "int4", "device": "cuda"}, "smaller model"),
    ({"real_time_factor": 1.1, "bandwidth_share": 0.2}, "OMP_NUM_THREADS"),
    ({"trigger_seconds": {"8": 0.4}}, "400 ms from a trigger"), ({"codec_stream_rtf": 1.5}, "codec decodes 1.5"),
    ({"codec_stream_rtf": 1.5}, "--codec-precision bfloat16"),
    ({"machine": {"cores": 2, "threads": 2, "load_average": 5.0}}, "busy"),
])
def test_each_weakness_has_its_advice(change: dict[str, Any], words: str) -> None:
    assert any(words in sentence for sentence in advice({**GOOD, **change}))


def test_a_quantised_model_is_not_told_to_quantise() -> None:
    assert "quantise (" not in " ".join(advice({**GOOD, "real_time_factor": 0.5, "quantize": "int8"}))


@pytest.mark.parametrize("change", [{"codec_precision": "bfloat16"}, {"codec_has_bfloat16": False}])
def test_bfloat16_is_advised_only_where_it_is_left(change: dict[str, Any]) -> None:
    assert "bfloat16" not in " ".join(advice({**GOOD, "codec_stream_rtf": 1.5, **change}))


def test_a_model_without_steps_is_shown_too() -> None:
    without = {key: value for key, value in GOOD.items() if key not in ("step_seconds", "trigger_seconds")}
    assert "steps" not in dict(lines(without))
    assert "shorter clips" in advice({**without, "real_time_factor": 0.5})[0]
    assert dict(lines(GOOD))["steps"].startswith("250 per second")
