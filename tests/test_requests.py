"""Requests: ranges, lengths, records fit for JSON, and errors that survive a process border."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest

from soundforge.audio import Waveform
from soundforge.errors import CancelledError, PluginError, RequestError, SoundForgeError
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams


@pytest.mark.parametrize("values", [
    {"temperature": -1}, {"temperature": math.nan}, {"temperature": math.inf}, {"temperature": "hot"},
    {"top_k": -1}, {"top_p": 1.5}, {"cfg": math.nan}, {"cfg_beta": math.inf}, {"temperature": True},
], ids=str)
def test_sampling_out_of_range_names_the_parameter(values: dict[str, object]) -> None:
    (name,) = values
    with pytest.raises(RequestError, match=f"{name} came as .* expected"):
        SamplingParams(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [
    {"seconds": -1.0}, {"seconds": 10**400}, {"seconds": math.nan}, {"seconds": 1e9}, {"bars": 4},
    {"bars": 0, "bpm": 120},
    {"bars": 4, "bpm": 5}, {"bars": 9_999, "bpm": 20}, {"seed": 1.5}, {"seed": 2**70}, {"text": 7},
    {"guidance": {"text": math.nan}}, {"beats_per_bar": 0},
], ids=str)
def test_requests_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        GenerateRequest(**values)  # type: ignore[arg-type]


def test_bars_win_over_seconds() -> None:
    assert GenerateRequest(bars=4, bpm=120, seconds=1.0).new_seconds == 8.0
    assert GenerateRequest(bars=4, bpm=100, beats_per_bar=3).new_seconds == pytest.approx(7.2)
    assert GenerateRequest().new_seconds == 8.0
    assert GenerateRequest(seconds=0).new_seconds == 0.0


def test_the_record_is_json_and_describes_audio_by_hash() -> None:
    wave = Waveform(np.linspace(-1, 1, 64, dtype=np.float32), 32000)
    request = GenerateRequest(text="x", conditions={"chroma": wave, "chords": ["Am", "F"]}, tags={"take": "take-0001"})
    record = json.loads(json.dumps(request.record()))
    assert record["conditions"]["chords"] == ["Am", "F"]
    described = record["conditions"]["chroma"]
    assert described["n_samples"] == 64 and len(described["audio_sha256"]) == 64
    assert record["sampling"]["cfg"] == 3.0 and record["tags"] == {"take": "take-0001"}


def test_requests_cross_processes() -> None:
    request = GenerateRequest(text="x", sampling=SamplingParams(cfg=1.0), seed=3)
    assert pickle.loads(pickle.dumps(request)) == request


def test_errors_cross_processes_unchanged() -> None:
    error = pickle.loads(pickle.dumps(PluginError("went wrong", "mine", "1.0")))
    assert (str(error), error.plugin, error.version) == ("plugin mine 1.0: went wrong", "mine", "1.0")
    assert isinstance(error, SoundForgeError)


def test_cancel_token() -> None:
    token = CancelToken()
    token.raise_if_cancelled()
    token.cancel()
    assert token.cancelled
    with pytest.raises(CancelledError):
        token.raise_if_cancelled()
