"""The engine through its public door against the references' outputs: tokens exactly, sound within tolerance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import find_golden
from safetensors.torch import load_file
from torch import Tensor

import soundforge as sf
from soundforge.engine.generate import Generation
from soundforge.engine.model import LanguageModelRuntime
from soundforge.requests import GenerateRequest, SamplingParams


class Case:
    """A golden case and an engine over it."""

    def __init__(self, folder: Path) -> None:
        self.about: dict[str, Any] = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        self.tensors = load_file(folder / "case.safetensors")
        self.engine = sf.load(folder, device="cpu")
        self.texts: list[str] = self.about["texts"]

    def wave(self, name: str) -> sf.Waveform:
        tensor = self.tensors[f"in.{name}"]
        return sf.Waveform(tensor[0].numpy() if tensor.ndim == 3 else tensor.numpy(), self.engine.sample_rate)

    def codes(self, name: str) -> Tensor:
        return self.tensors[f"out.{name}"].long()

    def check_codes(self, name: str, clips: sf.Clip | list[sf.Clip]) -> None:
        made = np.stack([clip.codes for clip in (clips if isinstance(clips, list) else [clips])])
        np.testing.assert_array_equal(made, self.codes(name).numpy(), err_msg=name)

    def check_float(self, name: str, made: Any) -> None:
        expected = self.tensors[f"out.{name}"].numpy()
        tolerance = self.about["tensors"][f"out.{name}"]["recommended_max_abs_error"]
        assert made.shape == expected.shape
        assert np.abs(np.asarray(made) - expected).max() <= tolerance, name

    def logits(self, texts: list[str | None], steps: int, frames: int, **keywords: Any) -> Any:
        """Guided logits of the first steps `[B, steps, K, card]` of a greedy generation."""
        model = self.engine.model
        assert isinstance(model, LanguageModelRuntime)
        sampling = SamplingParams(temperature=0.0, **keywords.pop("sampling", {}))
        conditions = keywords.pop("conditions", [{}] * len(texts))
        requests = [GenerateRequest(text=text, seconds=frames / 50, seed=0, sampling=sampling, conditions=condition,
                                    **keywords) for text, condition in zip(texts, conditions, strict=True)]
        generation = Generation(model, requests, prompt=None, new_frames=frames)
        out = []
        for _ in range(steps):
            out.append(generation.window.guided_logits())
            generation.step()
        return torch.stack(out, dim=1).numpy()


_open: dict[str, Case] = {}


def case(name: str) -> Case:
    """Loaded once per run; skips when the files are not there."""
    folder = find_golden(name)
    if folder is None:
        pytest.skip(f"no golden case {name!r} in tests/golden or beside the checkout")
    if name not in _open:
        _open[name] = Case(folder)
    return _open[name]


@pytest.fixture(scope="module", autouse=True)
def close_all() -> Iterator[None]:
    yield
    for opened in _open.values():
        opened.engine.close()
    _open.clear()


class TestMusicgenText:
    def test_batch(self) -> None:
        c = case("musicgen_text")
        clips = c.engine.generate(c.texts, seconds=1.2, temperature=0)
        c.check_codes("greedy_tokens", clips)
        c.check_float("greedy_wav", c.engine.codec.decode(c.codes("greedy_tokens")[:, :, :25]))
        c.check_float("greedy_logits", c.logits(list(c.texts), 10, 60))

    def test_two_step_guidance(self) -> None:
        c = case("musicgen_text")
        c.check_codes("two_step_tokens", c.engine.generate(c.texts, seconds=1.2, temperature=0, two_step_cfg=True))
        c.check_float("two_step_logits", c.logits(list(c.texts), 10, 60, sampling={"two_step_cfg": True}))

    def test_two_step_guidance_honours_the_coefficient(self) -> None:
        # The reference ignores it and takes the checkpoint's own (3.0).
        c = case("musicgen_text")
        one = c.engine.generate(c.texts, seconds=0.4, temperature=0, two_step_cfg=True, cfg=1.5)
        assert not np.array_equal(one[0].codes, c.codes("two_step_tokens")[0, :, :20].numpy())

    def test_a_text_alone_is_padded_less(self) -> None:
        c = case("musicgen_text")
        c.check_codes("single_tokens", c.engine.generate(c.texts[1], seconds=0.4, temperature=0))
        c.check_float("single_logits", c.logits([c.texts[1]], 10, 20))

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_unconditional(self, nothing: str | None) -> None:
        c = case("musicgen_text")
        c.check_codes("uncond_tokens", c.engine.generate(nothing, seconds=0.4, temperature=0))

    def test_continuation(self) -> None:
        c = case("musicgen_text")
        clip = c.engine.extend(c.wave("prompt_wav"), c.texts[0], seconds=0.3, temperature=0)
        c.check_codes("cont_tokens", clip)
        c.check_float("cont_wav", clip.waveform[None])
        assert clip.prompt_samples == 32_000

    def test_beyond_the_window(self) -> None:
        c = case("musicgen_text")
        keywords = {"temperature": 0, "window_seconds": 2.0, "stride_seconds": 0.8}
        c.check_codes("long_tokens", c.engine.generate(c.texts[0], seconds=5.0, **keywords))
        c.check_codes("long_cont_tokens", c.engine.extend(c.wave("prompt_wav"), c.texts[0], seconds=4.0, **keywords))


class TestMusicgenMelody:
    def conditions(self, c: Case, *names: str | None) -> list[Any]:
        return [None if name is None else c.wave(name) for name in names]

    def test_two_melodies(self) -> None:
        c = case("musicgen_melody")
        melodies = self.conditions(c, "melody_wav", "melody_wav_2")
        clips = c.engine.generate(c.texts, seconds=0.8, temperature=0, conditions={"chroma": melodies})
        c.check_codes("tokens_melody", clips)
        c.check_float("wav_melody", clips[0].waveform[None])
        c.check_float("logits_melody", c.logits(list(c.texts), 10, 40, conditions=[{"chroma": m} for m in melodies]))

    def test_some_and_none(self) -> None:
        c = case("musicgen_melody")
        c.check_codes("tokens_none", c.engine.generate(c.texts, seconds=0.8, temperature=0))
        c.check_codes("tokens_mixed", c.engine.generate(
            c.texts, seconds=0.8, temperature=0, conditions={"chroma": self.conditions(c, "melody_wav", None)}))

    def test_two_step_continuation_and_beyond_the_window(self) -> None:
        c = case("musicgen_melody")
        keywords = {"temperature": 0, "conditions": {"chroma": c.wave("melody_wav")}}
        c.check_codes("tokens_two_step", c.engine.generate(c.texts[0], seconds=0.4, two_step_cfg=True, **keywords))
        c.check_codes("tokens_cont", c.engine.extend(c.codes("prompt_codes"), c.texts[0], seconds=0.54, **keywords))
        c.check_codes("tokens_long", c.engine.generate(c.texts[0], seconds=2.5, window_seconds=1.2, stride_seconds=0.6,
                                                       **keywords))


class TestMusicgenStereo:
    def test_batch_and_continuation(self) -> None:
        c = case("musicgen_stereo")
        clips = c.engine.generate(c.texts, seconds=0.6, temperature=0)
        c.check_codes("tokens", clips)
        c.check_float("wav", clips[0].waveform[None])
        c.check_float("logits", c.logits(list(c.texts), 10, 30))
        prompt = c.codes("codes")[:, :, :10]
        c.check_codes("cont_tokens", c.engine.extend(prompt, c.texts[0], seconds=0.3, temperature=0))


class TestMusicgenStyle:
    OPTIONS = {"style": {"excerpt_start_seconds": 5000 / 32_000}}  # noqa: RUF012

    def generate(self, c: Case, texts: Any, seconds: float, styles: Any, **keywords: Any) -> Any:
        options = {"style": {**self.OPTIONS["style"], **keywords.pop("style", {})}}
        return c.engine.generate(texts, seconds=seconds, temperature=0, conditions={"style": styles},
                                 condition_options=options, **keywords)

    def test_double_and_plain_guidance(self) -> None:
        c = case("musicgen_style")
        styles = [c.wave("style_wav"), c.wave("style_wav_2")]
        clips = self.generate(c, c.texts, 0.6, styles, cfg_beta=5.0)
        c.check_codes("tokens_beta", clips)
        c.check_float("wav_beta", clips[0].waveform[None])
        c.check_codes("tokens_plain", self.generate(c, c.texts, 0.6, styles))
        c.check_codes("tokens_q1", self.generate(c, c.texts, 0.4, styles, style={"eval_q": 1}))
        for name, sampling in (("logits_beta", {"cfg_beta": 5.0}), ("logits_plain", {})):
            c.check_float(name, c.logits(list(c.texts), 10, 30, sampling=sampling, condition_options=self.OPTIONS,
                                         conditions=[{"style": s} for s in styles]))

    def test_one_of_text_and_style(self) -> None:
        c = case("musicgen_style")
        c.check_codes("tokens_text_only", c.engine.generate(c.texts, seconds=0.6, temperature=0))
        c.check_codes("tokens_style_only", self.generate(c, None, 0.6, c.wave("style_wav")))


def test_audiogen() -> None:
    c = case("audiogen")
    clips = c.engine.generate(c.texts, seconds=0.8, temperature=0)
    c.check_codes("tokens", clips)
    c.check_float("wav", clips[0].waveform[None])
    c.check_float("logits", c.logits(list(c.texts), 10, 40))
    c.check_codes("cont_tokens", c.engine.extend(c.wave("prompt_wav"), c.texts[0], seconds=0.5, temperature=0))
    c.check_codes("long_tokens", c.engine.generate(c.texts[1], seconds=6.0, temperature=0))


@pytest.mark.parametrize("name", ["hf_musicgen", "hf_musicgen_stereo"])
def test_transformers_musicgen(name: str) -> None:
    c = case(name)
    keywords = {"seconds": 37 / 50, "temperature": 0}
    clips = c.engine.generate(c.texts, cfg=3.0, **keywords)
    c.check_codes("tokens", clips)
    c.check_float("wav", clips[0].waveform[None])
    c.check_float("scores", c.logits(list(c.texts), 10, 37))
    c.check_codes("tokens_noguide", c.engine.generate(c.texts, cfg=1.0, **keywords))
    c.check_codes("tokens_single", c.engine.generate(c.texts[1], cfg=3.0, **keywords))
    c.check_codes("tokens_uncond", c.engine.generate(None, cfg=1.0, **keywords))
    # transformers pads a prompt at its end to whole frames; ours is cut at its start, so its codes are given.
    prompt = c.engine.codec.encode(c.tensors["in.prompt_wav"]).codes
    clip = c.engine.extend(prompt, c.texts[1], cfg=3.0, **keywords)
    c.check_codes("tokens_cont", clip)
    c.check_float("wav_cont", clip.waveform[None])


def test_transformers_melody() -> None:
    c = case("hf_musicgen_melody")
    melodies = [c.wave("melody_wav"), c.wave("melody_wav_2")]
    keywords: dict[str, Any] = {"seconds": 37 / 50, "temperature": 0}
    c.check_codes("tokens", c.engine.generate(c.texts, cfg=3.0, conditions={"chroma": melodies}, **keywords))
    c.check_codes("tokens_noguide", c.engine.generate(c.texts, cfg=1.0, conditions={"chroma": melodies}, **keywords))
    c.check_codes("tokens_text_only", c.engine.generate(c.texts, cfg=3.0, **keywords))
    one = c.engine.generate(c.texts[1], cfg=3.0, conditions={"chroma": melodies[0]}, **keywords)
    c.check_codes("tokens_single", one)
    c.check_float("scores", c.logits(list(c.texts), 10, 37, conditions=[{"chroma": m} for m in melodies]))
    c.check_float("scores_text_only", c.logits(list(c.texts), 10, 37))
