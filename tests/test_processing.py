"""Processors in a request: what users may write, what runs on the clip, what its record says, and that it repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import soundforge as sf
from soundforge.errors import PluginError, RequestError
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import ClipProcessorDescriptor
from soundforge.processing import processor_calls
from soundforge.registry import Origin
from soundforge.requests import GenerateRequest
from soundforge.testing.tiny_model import tiny_engine
from soundforge.wav import read_clip
from soundforge_plugins.clip_tools.resampling import Resample


@pytest.mark.parametrize(("value", "expected"), [
    (None, ()), ("", ()), ("peak_safe", (("peak_safe", {}),)),
    ("loudness:lufs=-14,x=a peak_safe", (("loudness", {"lufs": -14, "x": "a"}), ("peak_safe", {}))),
    (["fade", ("loudness", {"lufs": -14.5})], (("fade", {}), ("loudness", {"lufs": -14.5}))),
    ([["resample", {"rate": 44100}]], (("resample", {"rate": 44100}),)),
])
def test_what_is_understood(value: object, expected: object) -> None:
    assert processor_calls(value) == expected
    again = GenerateRequest(processors=value)
    assert GenerateRequest(processors=again.record()["processors"]) == again


@pytest.mark.parametrize("value", [5, "Loud!", "fade:", "fade:x", "fade:=1", [5], [("fade",)], ["a"] * 33, [(5, {})]])
def test_what_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="processor"):
        processor_calls(value)


def test_a_clip_is_processed_and_says_so_and_is_made_again(tmp_path: Path) -> None:
    with tiny_engine(host=create_host(only=["clip_tools"])) as engine:
        plain = engine.generate("a b", bars=1, bpm=120, seed=4)
        made = engine.generate("a b", bars=1, bpm=120, seed=4, processors="fade:out_seconds=0.5 resample:rate=44100")
        assert (made.sample_rate, made.waveform.shape[-1]) == (44_100, 2 * 44_100)
        assert np.abs(made.waveform[:, -5:]).max() < 0.01 < np.abs(plain.waveform[:, -5:]).max()
        assert [(p["name"], p["plugin"], p["version"]) for p in made.info["processors"]] == [
            ("fade", "clip_tools", sf.__version__), ("resample", "clip_tools", sf.__version__)]
        assert made.info["processors"][1]["options"]["bpm"] == 120
        read = read_clip(made.save(tmp_path / "clip.wav"))
        again = engine.run([read.request])[0]
    np.testing.assert_array_equal(again.waveform, made.waveform)
    np.testing.assert_array_equal(plain.codes, made.codes)


def test_a_slip_is_told_before_anything_is_generated() -> None:
    with tiny_engine(host=create_host(only=["clip_tools"])) as engine:
        seen: list[int] = []
        for text, what in (("fate", "clip processor came as 'fate', expected one of"), ("fade:im=1", "got option 'im'"),
                           ("loudness:lufs=9", "lufs came as 9")):
            with pytest.raises(RequestError, match=what):
                engine.generate("a", seconds=0.5, processors=text, progress=lambda done, total: seen.append(done))
        with pytest.raises(RequestError, match="need the whole clip"):
            engine.stream("a", processors="fade")
        assert not seen


def host_with(process: object, version: str = "1.2") -> PluginHost:
    host = create_host(only=[])
    host.registries.clip_processors.add(ClipProcessorDescriptor("odd", lambda host, options: process),  # type: ignore[arg-type, return-value]
                                        Origin("odd_plugin", "odd-dist", version))
    return host


@pytest.mark.parametrize(("process", "what"), [
    (lambda wave: 1 / 0, "raised ZeroDivisionError in processing"),
    (lambda wave: sf.Waveform(wave.samples * np.nan, wave.sample_rate), "gave NaN or infinite samples"),
    (lambda wave: wave.samples, "gave a ndarray, expected a soundforge.Waveform"),
    (lambda wave: sf.Waveform(np.zeros((3, 4), np.float32), 8000), "gave 3 channels of 4 samples, expected 1"),
])
def test_a_processor_that_fails_is_named(process: object, what: str) -> None:
    with tiny_engine(host=host_with(process)) as engine, pytest.raises(PluginError, match=what) as caught:
        engine.generate("a", seconds=0.2, processors="odd")
    assert str(caught.value).startswith("plugin odd_plugin 1.2: clip processor 'odd' ")


def tone(n: int, rate: int = 32_000) -> sf.Waveform:
    return sf.Waveform(np.sin(np.arange(n) * 0.05, dtype=np.float32), rate)


def test_resampling_keeps_bars_exact() -> None:
    # 4 bars at 93 BPM: 10.32... s; the model gives whole frames, a little more or less.
    exact = 16 * 60 / 93
    for off in (-300, 0, 250):
        wave = tone(round(exact * 32_000) + off)
        assert Resample(44_100, bpm=93)(wave).n_samples == round(exact * 44_100)
        assert Resample(48_000, bpm=93, to_bpm=120)(wave).n_samples == 8 * 48_000
    assert Resample(44_100)(tone(32_000)).n_samples == 44_100
    assert Resample()(tone(1000)).samples.shape == (1, 1000)


def test_a_tape_that_runs_faster_sounds_higher() -> None:
    wave = sf.Waveform(np.sin(2 * np.pi * 500 * np.arange(64_000) / 32_000).astype(np.float32), 32_000)
    fast = Resample(bpm=120, to_bpm=180)(wave)
    spectrum = np.abs(np.fft.rfft(fast.samples[0] * np.hanning(fast.n_samples)))
    assert np.argmax(spectrum) * fast.sample_rate / fast.n_samples == pytest.approx(750, abs=2)


def test_resampling_refuses_what_cannot_be() -> None:
    with pytest.raises(sf.AudioError, match="the clip has no tempo"):
        Resample(to_bpm=100)(tone(100))
    with pytest.raises(RequestError, match="to_bpm came as 5"):
        Resample(to_bpm=5)
    with pytest.raises(sf.AudioError, match="sample rate came as 3"):
        Resample(rate=3)
