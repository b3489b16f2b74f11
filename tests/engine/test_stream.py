"""Streams: the same sound in pieces; prompts that grow while they are captured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import soundforge as sf
from soundforge.engine.live_prompt import LivePrompt
from soundforge.engine.model import LanguageModelRuntime
from soundforge.requests import GenerateRequest, SamplingParams
from soundforge.testing.tiny_model import HOP, SAMPLE_RATE, TinyMood, TinyPulse, TinyText, tiny_engine, tiny_parts


def tone(seconds: float, level: float = 0.3) -> sf.Waveform:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return sf.Waveform((level * np.sin(2 * np.pi * 330 * time)).astype(np.float32), SAMPLE_RATE)


def joined(chunks: Any) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks], axis=-1)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("seconds", [0.02, 0.5, 6.3])
def test_a_stream_is_the_clip_in_pieces(causal: bool, seconds: float) -> None:
    engine = tiny_engine(tiny_parts(causal=causal))
    clip = engine.generate("a b", seconds=seconds, seed=4)
    np.testing.assert_allclose(joined(engine.stream("a b", seconds=seconds, seed=4)), clip.waveform, atol=2e-5)


def test_a_stream_after_a_prompt_is_the_new_part() -> None:
    engine = tiny_engine(tiny_parts(causal=False))
    more = engine.extend(tone(1.01), "a b", seconds=0.7, seed=4, only_new=True)
    np.testing.assert_allclose(joined(engine.stream("a b", prompt=tone(1.01), seconds=0.7, seed=4)), more.waveform,
                               atol=2e-5)


def test_the_first_chunk_comes_after_a_few_frames_only() -> None:
    engine = tiny_engine()
    steps: list[int] = []
    stream = engine.stream("a", seconds=3.0, seed=1, progress=lambda done, total: steps.append(done))
    first = next(stream)
    assert first.n_samples > 0
    assert steps[-1] <= 4
    assert 3.0 * SAMPLE_RATE - first.n_samples == sum(chunk.n_samples for chunk in stream)


def test_bars_are_exact_to_the_sample() -> None:
    engine = tiny_engine()
    wanted = round(2 * 4 * 60 / 123.4 * SAMPLE_RATE)
    assert sum(c.n_samples for c in engine.stream("a", bars=2, bpm=123.4, seed=1)) == wanted
    assert engine.generate("a", bars=2, bpm=123.4, seed=1).waveform.shape[1] == wanted


def test_leaving_the_loop_ends_the_generation() -> None:
    engine = tiny_engine()
    stream = engine.stream("a", seconds=3000.0, seed=1)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == []


def test_a_stream_may_be_changed_and_is_endless_on_demand() -> None:
    engine = tiny_engine()
    request = GenerateRequest(text="a", seconds=1.0, seed=1)
    plain, changed = engine.stream_request(request), engine.stream_request(request)
    first = next(changed)
    changed.update(sampling=SamplingParams(temperature=2.0), conditions={"text": "other words"})
    assert changed.changes[0]["frame"] == 3
    assert not np.array_equal(np.concatenate([first.samples, joined(changed)], axis=-1), joined(plain))
    endless, made = engine.stream_request(request, endless=True), 0
    for chunk in endless:
        made += chunk.samples.shape[-1]
        if made > 6 * SAMPLE_RATE:
            endless.stop()
    assert made > 6 * SAMPLE_RATE


class TestLivePrompt:
    def fed(self, engine: sf.Engine, wave: sf.Waveform, block: int, **keywords: Any) -> LivePrompt:
        prompt = engine.open_prompt(**keywords)
        for start in range(0, wave.n_samples, block):
            prompt.feed(wave.samples[:, start:start + block])
        prompt.flush()
        return prompt

    @pytest.mark.parametrize("causal", [True, False])
    @pytest.mark.parametrize("block", [1, 100, 160, 777, 100_000])
    def test_any_feeding_gives_the_same_prompt(self, causal: bool, block: int) -> None:
        engine = tiny_engine(tiny_parts(causal=causal))
        wave = tone(0.3 if block == 1 else 1.003)
        whole, pieces = self.fed(engine, wave, wave.n_samples), self.fed(engine, wave, block)
        assert pieces.n_frames == whole.n_frames > 0
        assert np.array_equal(pieces.codes.numpy(), whole.codes.numpy())
        greedy = GenerateRequest(seconds=0.4, seed=1, sampling=SamplingParams(temperature=0.0))
        np.testing.assert_allclose(joined(pieces.continue_(greedy)), joined(whole.continue_(greedy)), atol=2e-5)

    def test_it_continues_as_extend_does(self) -> None:
        # A causal codec and whole frames: both know the same frames.
        engine = tiny_engine()
        wave = tone(1.0)
        prompt = self.fed(engine, wave, 333, text="a b")
        assert prompt.n_frames * HOP == wave.n_samples
        run = prompt.continue_(GenerateRequest(text="a b", seconds=0.5, seed=9))
        live = joined(run)
        clip = engine.extend(wave, "a b", seconds=0.5, seed=9, only_new=True)
        assert np.array_equal(run.codes, clip.codes)
        decoded = engine.codec.decode(prompt.codes[None]).numpy()[0]
        np.testing.assert_allclose(live, run.match.applied(clip.waveform, decoded), atol=2e-5)
        assert len(run.match.taps) > 1 and run.match.colour_db > 0.0

    @pytest.mark.parametrize("causal", [True, False])
    @pytest.mark.parametrize("lead", [0, 50, 400])
    def test_its_length_is_exact_whatever_was_captured(self, causal: bool, lead: int) -> None:
        engine = tiny_engine(tiny_parts(causal=causal))
        prompt = self.fed(engine, tone(1.0123), 512)
        run = prompt.continue_(GenerateRequest(seconds=0.5, seed=1), lead_samples=lead)
        assert joined(run).shape == (1, round(0.5 * SAMPLE_RATE) + lead)

    def test_the_lead_is_the_prompts_end_as_the_codec_gives_it(self) -> None:
        engine = tiny_engine()
        wave = tone(1.0)
        prompt = self.fed(engine, wave, 160)
        run = prompt.continue_(GenerateRequest(seconds=0.2, seed=1), lead_samples=300)
        decoded = engine.codec.decode(prompt.codes[None]).numpy()[0]
        np.testing.assert_allclose(joined(run)[:, :300], run.match.applied(decoded)[:, -300:], atol=2e-5)

    @pytest.mark.parametrize("lead", [0, 40])
    def test_it_is_matched_as_a_spliced_clip_is(self, lead: int) -> None:
        # Not whole frames: part of the overlap is generated and dropped, and the filter must have seen it.
        engine = tiny_engine()
        prompt = self.fed(engine, tone(1.0123), 333)
        run = prompt.continue_(GenerateRequest(seconds=0.5, seed=9), lead_samples=lead)
        live = joined(run)
        codes = torch.from_numpy(np.concatenate([run.prompt_codes, run.codes], axis=1))[None]
        whole = run.match.applied(engine.codec.decode(codes).numpy()[0])
        start = round(1.0123 * SAMPLE_RATE) - lead
        np.testing.assert_allclose(live, whole[:, start:start + live.shape[1]], atol=2e-5)

    def test_many_continuations_of_one_prompt(self) -> None:
        engine = tiny_engine()
        prompt = self.fed(engine, tone(1.0), 500)
        request = GenerateRequest(seconds=0.5, seed=1)
        one, two = prompt.continue_(request), prompt.continue_(replace(request, seed=2))
        first = joined(one)
        assert not np.array_equal(first, joined(two))
        prompt.feed(tone(0.2).samples)
        assert joined(prompt.continue_(request)).shape == first.shape
        fresh = self.fed(engine, tone(1.0), 500)
        np.testing.assert_array_equal(joined(fresh.continue_(request)), first)

    def test_a_capture_longer_than_the_window_goes_on(self) -> None:
        engine = tiny_engine()  # its window holds 4 s
        prompt = self.fed(engine, tone(9.0), 1600)
        assert prompt.n_frames == 450
        window = prompt._window
        assert window is not None and window.prompt_frames <= 0.8 * 200
        assert joined(prompt.continue_(GenerateRequest(seconds=6.0, seed=1))).shape == (1, 6 * SAMPLE_RATE)

    def test_another_text_than_the_prompt_was_opened_with(self) -> None:
        engine = tiny_engine()
        prompt = self.fed(engine, tone(1.0), 500, text="a")
        base = GenerateRequest(text="a", seconds=0.5, seed=1)
        changed = replace(base, text="quite different")
        same, other = prompt.continue_(base), prompt.continue_(changed)
        joined(same), joined(other)
        assert not np.array_equal(same.codes, other.codes)
        prompt.change(changed)
        again, direct = (p.continue_(changed) for p in (prompt, self.fed(engine, tone(1.0), 500, text=changed.text)))
        joined(again), joined(direct)
        assert np.array_equal(direct.codes, again.codes)

    def test_endless_until_stopped_and_changes_are_kept_with_their_frame(self) -> None:
        engine = tiny_engine()
        run = self.fed(engine, tone(1.0), 500).continue_(GenerateRequest(seed=1), endless=True)
        made = 0
        for chunk in run:
            made += chunk.samples.shape[-1]
            if made > 2 * SAMPLE_RATE and not run.changes:
                run.update(sampling=SamplingParams(temperature=0.5))
            if made > 9 * SAMPLE_RATE:
                run.stop()
        assert made > 9 * SAMPLE_RATE
        assert run.changes[0]["frame"] >= 100

    @pytest.mark.parametrize("n", [0, 1, 159])
    def test_too_little_is_an_error_that_says_how_much(self, n: int) -> None:
        prompt = tiny_engine().open_prompt()
        prompt.feed(np.zeros((1, n), dtype=np.float32))
        with pytest.raises(sf.AudioError, match=rf"^{n} samples are captured.*0\.02 s"):
            prompt.continue_()

    def test_its_state_grows_with_the_capture(self) -> None:
        engine = tiny_engine()
        sizes = []
        prompt = engine.open_prompt("a b")
        for _ in range(5):
            prompt.feed(tone(0.5).samples)
            assert prompt._window is not None
            sizes.append(prompt._window.nbytes)
        assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[0]
        run = prompt.continue_(GenerateRequest(text="a b", seconds=0.5, seed=9))
        joined(run)
        whole = np.concatenate([tone(0.5).samples] * 5, axis=1)
        clip = engine.extend(sf.Waveform(whole, SAMPLE_RATE), "a b", seconds=0.5, seed=9, only_new=True)
        assert np.array_equal(run.codes, clip.codes)

    def test_a_conditioner_that_listens_hears_the_capture_and_later_windows_remember(self) -> None:
        heard: list[tuple[int, float, int]] = []

        class Ear(TinyPulse):
            def prepare(self, value: Any, context: Any) -> Any:
                if context.prompt is not None:
                    heard.append((context.prompt.n_samples, float(context.prompt.samples[0, 0]), context.prompt_frames))
                return None

        parts = tiny_parts()
        slots = {item.slot.name: item.slot for item in parts.slots}
        parts_of = {"text": TinyText(), "mood": TinyMood(), "pulse": Ear()}
        runtime = LanguageModelRuntime(parts, lambda name: (slots[name], parts_of[name], name == "pulse"))
        prompt = LivePrompt(runtime, GenerateRequest())
        ramp = np.arange(9 * SAMPLE_RATE, dtype=np.float32)[None] / 1e6
        for start in range(0, ramp.shape[1], 500):
            prompt.feed(ramp[:, start:start + 500])
        # Every two seconds, what is heard is just the known frames of the window, whatever was captured before.
        assert [n // HOP for n, _, _ in heard] == [frames for _, _, frames in heard]
        assert len(heard) >= 5
        _, first, frames = heard[-1]
        assert frames <= 160 and first > 0
        heard.clear()
        for _ in prompt.continue_(GenerateRequest(seconds=5.0, seed=1)):
            pass
        assert heard and all(n >= frames * HOP or frames == 80 for n, _, frames in heard), "later windows are told, too"

    @pytest.mark.parametrize("start_beat", [None, 2.5])
    def test_the_beat_goes_on_through_capture_and_later_windows(self, start_beat: float | None) -> None:
        tags = {} if start_beat is None else {"start_beat": start_beat}
        prompt = self.fed(tiny_engine(), tone(1.0), 500, bpm=90.0, tags=tags)
        run = prompt.continue_(GenerateRequest(seconds=8.0, seed=1, bpm=90.0))
        windows = []
        for _ in run:
            window = run._generation.window
            if window not in windows:
                windows.append(window)
        beats, first = [], 0
        for window in windows:
            context = window.conditions.contexts["pulse"]
            assert context.start_beat is not None
            # The beat at the window's first frame, taken back to the first frame of the capture.
            at_start = context.start_beat - context.prompt_frames / 50 * 1.5
            beats.append(at_start - first / 50 * 1.5)
            first += 120  # the stride
        assert len(windows) == 4
        np.testing.assert_allclose(beats, start_beat or 0.0, atol=1e-9)

    def test_the_window_is_the_one_the_capture_was_opened_with(self) -> None:
        prompt = self.fed(tiny_engine(), tone(1.0), 500)
        run = prompt.continue_(GenerateRequest(seconds=1.0, seed=1, window_seconds=0.5, stride_seconds=0.2))
        assert joined(run).shape == (1, SAMPLE_RATE) and run.request.window_seconds is None

    def test_bad_audio_is_refused(self) -> None:
        prompt = tiny_engine().open_prompt()
        for bad in (np.zeros((2, 100), np.float32), np.full((1, 10), np.nan, np.float32), np.zeros(10, np.float32)):
            with pytest.raises(sf.AudioError, match="captured audio came with shape"):
                prompt.feed(bad)
