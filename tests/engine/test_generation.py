"""Generation: the cached loop against a literal one that runs the whole sequence anew for every step."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.engine.generate import Generation
from soundforge.engine.guidance import plan_guidance
from soundforge.engine.model import LanguageModelRuntime
from soundforge.errors import CancelledError, ConditionError, RequestError
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams
from soundforge.testing.tiny_model import CARD, tiny_parts, tiny_runtime

AUDIO = Waveform(torch.randn(1, 900, generator=torch.Generator().manual_seed(3)).numpy() * 0.3, 8_000)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"text": "warm slow drums"}, {}),
    "nothing": ({}, {}),
    "no guidance": ({"text": "warm slow drums"}, {"cfg": 1.0}),
    "all slots": ({"text": "warm", "conditions": {"mood": AUDIO}, "bpm": 90.0}, {}),
    "double": ({"text": "warm", "conditions": {"mood": AUDIO}}, {"cfg_beta": 4.0}),
    "two steps": ({"text": "warm and long words", "conditions": {"mood": AUDIO}}, {"two_step_cfg": True, "cfg": 2.5}),
    "weights": ({"text": "warm", "conditions": {"mood": AUDIO}, "guidance": {"mood": 0.5, "text": 2.0}}, {}),
}


def requests_of(case: str, batch: int, frames: int, temperature: float = 0.0, **more: Any) -> list[GenerateRequest]:
    keywords, sampling = CASES[case]
    made = []
    for index in range(batch):
        own = dict(keywords)
        if index == 1:
            own["text"] = None  # a batch of different things, one of them without a text
        if index == 2 and "text" in own:
            own["text"] = "another text"
        made.append(GenerateRequest(seconds=frames / 50, seed=index, sampling=SamplingParams(
            temperature=temperature, **sampling), **own, **more))
    return made


def literal(runtime: LanguageModelRuntime, requests: Sequence[GenerateRequest], prompt: Tensor, frames: int) -> Tensor:
    """Greedy codes `[B, K, P + frames]`: the whole delayed sequence through the network, for every step and row."""
    total = prompt.shape[-1] + frames
    values = [runtime.conditions.collect(r) for r in requests]
    conditions = runtime.prepare(values, requests, n_frames=total, prompt_frames=prompt.shape[-1],
                                 first_new_seconds=0.0, prompt=None, window_start_frames=None, window_seconds=4.0)
    pattern, lm = runtime.decoder.pattern, runtime.decoder.lm
    plan = plan_guidance(conditions.active, requests[0].sampling, requests[0].guidance, runtime.conditions.names)
    sequence = pattern.delay(prompt, total)
    batch = len(requests)
    with torch.inference_mode():
        fused = [runtime.decoder.fuser.fuse(conditions.encode([plan.rows[r] for r in rows]), sequence.shape[-1], 50.0)
                 for rows in plan.passes]
        for s in range(1, sequence.shape[-1]):
            if not (sequence[:, :, s] == -1).any():
                continue
            logits = []
            for rows, inputs in zip(plan.passes, fused, strict=True):
                known = sequence[:, :, :s].repeat(len(rows), 1, 1)
                cut = type(inputs)(inputs.prepend, inputs.cross, inputs.cross_mask,
                                   None if inputs.sum is None else inputs.sum[:, :s])
                logits.append(lm(known, cut)[:, :, -1])
            merged = plan.merge(torch.cat(logits).view(len(plan.rows), batch, len(pattern.delays), -1))
            column = sequence[:, :, s]
            sequence[:, :, s] = torch.where(column == -1, merged.argmax(-1), column)
    return pattern.undelay(sequence, 0, total)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("delays", "prompt_frames"), [((0, 1, 2, 3), 0), ((0, 0, 1, 1), 7), ((1, 2, 4), 5)])
def test_cached_steps_equal_the_whole_sequence(case: str, batch: int, delays: tuple[int, ...],
                                               prompt_frames: int) -> None:
    runtime = tiny_runtime(tiny_parts(delays))
    requests = requests_of(case, batch, 12)
    generator = torch.Generator().manual_seed(1)
    prompt = torch.randint(0, CARD, (batch, len(delays), prompt_frames), generator=generator)
    generation = Generation(runtime, requests, prompt=prompt, new_frames=12)
    codes = torch.cat([prompt, generation.run()], dim=-1)
    assert torch.equal(codes, literal(runtime, requests, prompt, 12))


def run(runtime: LanguageModelRuntime, frames: int, seed: int = 3, **keywords: Any) -> Tensor:
    request = GenerateRequest(text="a b c", seconds=frames / 50, seed=seed, **keywords)
    return Generation(runtime, [request], prompt=keywords.pop("prompt", None), new_frames=frames).run()


def test_a_longer_request_begins_with_the_shorter_ones_tokens() -> None:
    runtime = tiny_runtime()
    long = run(runtime, 150, bpm=100.0)
    for frames in (1, 2, 17, 100):
        assert torch.equal(run(runtime, frames, bpm=100.0), long[:, :, :frames])


def test_seeds_decide_and_nothing_else_does() -> None:
    runtime = tiny_runtime()
    first = run(runtime, 40)
    torch.manual_seed(99)
    assert torch.equal(run(runtime, 40), first)
    assert not torch.equal(run(runtime, 40, seed=4), first)


def test_seeds_hold_while_others_run() -> None:
    runtime = tiny_runtime()
    alone = {seed: run(runtime, 60, seed=seed) for seed in range(4)}
    together: dict[int, Tensor] = {}
    threads = [threading.Thread(target=lambda s=seed: together.__setitem__(s, run(runtime, 60, seed=s)))
               for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(alone[seed], together[seed]) for seed in range(4))


def test_cancel_ends_it_before_the_next_step() -> None:
    cancel = CancelToken()
    done: list[int] = []

    def progress(frames: int, total: int) -> None:
        done.append(frames)
        if frames == 10:
            cancel.cancel()

    request = GenerateRequest(seconds=2.0, seed=0)
    generation = Generation(tiny_runtime(), [request], prompt=None, new_frames=100, cancel=cancel, progress=progress)
    with pytest.raises(CancelledError):
        generation.run()
    assert done == list(range(1, 11))


def test_progress_counts_new_frames_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    prompt = torch.zeros(1, 4, 30, dtype=torch.long)
    Generation(tiny_runtime(), [GenerateRequest(seed=0)], prompt=prompt, new_frames=25,
               progress=lambda done, total: seen.append((done, total))).run()
    assert seen[-1] == (25, 25)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_beyond_the_window_each_window_continues_the_end_of_the_last() -> None:
    """The reference's algorithm, window by window, with generations that each fit their window."""
    runtime = tiny_runtime()
    keywords: dict[str, Any] = {"sampling": SamplingParams(temperature=0.0)}
    window, stride = 50, 30
    long = run(runtime, 125, window_seconds=1.0, stride_seconds=0.6, **keywords)
    expected = run(runtime, window, **keywords)
    offset = 0
    while expected.shape[-1] < 125:
        offset += stride
        prompt = expected[:, :, offset:]
        n_frames = min(125 - offset, window)
        request = GenerateRequest(text="a b c", seed=3, **keywords)
        new = Generation(runtime, [request], prompt=prompt, new_frames=n_frames - prompt.shape[-1]).run()
        expected = torch.cat([expected, new], dim=-1)
    assert torch.equal(long, expected)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [201, 245, 320, 399, 400])
@pytest.mark.parametrize("prompt_frames", [0, 75, 199])
def test_long_generations_have_the_length_asked_for(frames: int, prompt_frames: int) -> None:
    prompt = torch.zeros(1, 4, prompt_frames, dtype=torch.long)
    request = GenerateRequest(seconds=frames / 50, seed=0, sampling=SamplingParams(cfg=1.0))
    codes = Generation(tiny_runtime(), [request], prompt=prompt, new_frames=frames).run()
    assert codes.shape == (1, 4, frames)


def test_a_prompt_longer_than_the_window_keeps_its_end_and_says_so() -> None:
    runtime = tiny_runtime()
    prompt = torch.randint(0, CARD, (1, 4, 300), generator=torch.Generator().manual_seed(0))
    request = GenerateRequest(text="x", seconds=0.4, seed=1)
    with pytest.warns(UserWarning, match=r"6 s.*holds 4 s.*last 1\.6 s"):
        cut = Generation(runtime, [request], prompt=prompt, new_frames=20).run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end = Generation(runtime, [request], prompt=prompt[:, :, -80:], new_frames=20).run()
    assert torch.equal(cut, end)


@pytest.mark.parametrize(("keywords", "match"), [
    ({"window_seconds": 5.0}, "at most 4"), ({"window_seconds": 1.0, "stride_seconds": 1.0}, "less than the window"),
    ({"stride_seconds": 0.001}, "at least one frame"),
])
def test_impossible_windows_are_refused(keywords: dict[str, float], match: str) -> None:
    with pytest.raises(RequestError, match=match):
        Generation(tiny_runtime(), [GenerateRequest(seed=0, **keywords)], prompt=None, new_frames=10)  # type: ignore[arg-type]


def test_an_endless_generation_goes_on_until_it_is_stopped() -> None:
    generation = Generation(tiny_runtime(), [GenerateRequest(seed=0)], prompt=None, new_frames=None)
    pieces = []
    while not generation.done:
        pieces.append(generation.step())
        if generation.done_frames >= 330:
            generation.stop()
    assert sum(p.shape[-1] for p in pieces) >= 330


class TestChangesWhileItRuns:
    def start(self, **keywords: Any) -> Generation:
        generation = Generation(tiny_runtime(), [GenerateRequest(seed=1, **keywords)], prompt=None, new_frames=80)
        while generation.done_frames < 20:
            generation.step()
        return generation

    def rest(self, generation: Generation) -> Tensor:
        return generation.run()

    @pytest.mark.parametrize("change", [
        {"sampling": SamplingParams(temperature=0.3)}, {"sampling": SamplingParams(cfg=8.0)},
        {"guidance": {"text": 4.0}}, {"conditions": {"text": "something else"}}, {"conditions": {"mood": AUDIO}},
        {"conditions": {"text": ""}}, {"sampling": SamplingParams(cfg=1.0)},
    ])
    def test_a_change_is_heard(self, change: dict[str, Any]) -> None:
        changed = self.start(text="a b")
        changed.update(**change)
        assert not torch.equal(self.rest(changed), self.rest(self.start(text="a b")))

    def test_to_the_same_changes_nothing(self) -> None:
        same = self.start(text="a b", conditions={"mood": AUDIO})
        same.update(sampling=SamplingParams(), guidance={}, conditions={"text": "a b", "mood": AUDIO})
        assert torch.equal(self.rest(same), self.rest(self.start(text="a b", conditions={"mood": AUDIO})))

    def test_switched_off_guidance_equals_never_having_had_it_from_there(self) -> None:
        # Greedy, so that what follows depends on the tokens so far and the parameters only.
        greedy = SamplingParams(temperature=0.0)
        generation = Generation(tiny_runtime(), [GenerateRequest(text="a", seed=1, sampling=greedy)], prompt=None,
                                new_frames=60)
        while generation.done_frames < 20:
            generation.step()
        plain = SamplingParams(temperature=0.0, cfg=1.0)
        generation.update(sampling=plain)
        window = generation.window
        logits = window.guided_logits()
        runtime = generation.runtime
        with torch.inference_mode():
            fed = window.sequence[:, :, :window._known]
            fused = runtime.decoder.fuser.fuse(window.conditions.encode([frozenset({"text"})]),
                                               window.sequence.shape[-1], 50.0)
            cut = type(fused)(fused.prepend, fused.cross, fused.cross_mask, fused.sum[:, :fed.shape[-1]])  # type: ignore[index]
            torch.testing.assert_close(logits, runtime.decoder.lm(fed, cut)[:, :, -1], atol=1e-5, rtol=1e-5)

    def test_a_weight_that_goes_over_to_another_condition_is_computed_from_its_own_rows(self) -> None:
        request = GenerateRequest(text="a b", conditions={"mood": AUDIO}, seed=1, guidance={"text": 3.0})
        generation = Generation(tiny_runtime(), [request], prompt=None, new_frames=60)
        while generation.done_frames < 20:
            generation.step()
        generation.update(guidance={"mood": 3.0})  # as many rows as before, one of them another
        window, lm = generation.window, generation.runtime.decoder.lm
        logits = window.guided_logits()
        with torch.inference_mode():
            fed = window.sequence[:, :, :window._known]
            rows = []
            for sources in window._plan.rows:
                fused = generation.runtime.decoder.fuser.fuse(window.conditions.encode([sources]),
                                                              window.sequence.shape[-1], 50.0)
                cut = type(fused)(fused.prepend, fused.cross, fused.cross_mask,
                                  fused.sum[:, :fed.shape[-1]])  # type: ignore[index]
                rows.append(lm(fed, cut)[:, :, -1])
        torch.testing.assert_close(logits, window._plan.merge(torch.stack(rows)), atol=1e-4, rtol=1e-4)

    def test_a_bad_change_is_refused_and_nothing_is_changed(self) -> None:
        generation = self.start(text="a b")
        with pytest.raises(ConditionError, match="colour"):
            generation.update(conditions={"colour": "red"})
        with pytest.raises(ConditionError, match="mood"):
            generation.update(conditions={"mood": "no audio"})
        with pytest.raises(ConditionError, match="guidance came for 'colour'"):
            generation.update(guidance={"colour": 2.0}, sampling=SamplingParams(temperature=0.1),
                              conditions={"text": "other"})
        assert torch.equal(self.rest(generation), self.rest(self.start(text="a b")))


@pytest.mark.parametrize(("request_", "match"), [
    (GenerateRequest(conditions={"chroma": AUDIO}), r"'chroma'.*'tiny'.*mood \(prepend, width 8\), text \(cross"),
    (GenerateRequest(text="a", conditions={"text": "b"}), "give it once"),
    (GenerateRequest(condition_options={"style": {"eval_q": 1}}), "options came for condition 'style'"),
    (GenerateRequest(guidance={"style": 2.0}), "guidance came for 'style'"),
    (GenerateRequest(conditions={"mood": 3.0}), "expected audio"),
])
def test_bad_conditions_name_both_sides(request_: GenerateRequest, match: str) -> None:
    with pytest.raises(ConditionError, match=match):
        Generation(tiny_runtime(), [request_.with_seed(0)], prompt=None, new_frames=5)
