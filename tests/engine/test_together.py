"""Independent generations in one step loop, and the static step of a GPU, against the ordinary step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.engine.generate import Generation
from soundforge.engine.model import LanguageModelRuntime
from soundforge.engine.resident import ResidentSteps
from soundforge.engine.together import Together, row_count
from soundforge.errors import CancelledError
from soundforge.nn.language_model import FusedInputs
from soundforge.nn.static_step import StaticStep
from soundforge.nn.step_graphs import StepGraphs
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams
from soundforge.testing.tiny_model import CARD, tiny_parts, tiny_runtime

TOLERANCE = 2e-5
"""Of logits near 1: the same sums in another order."""

AUDIO = Waveform(torch.randn(1, 900, generator=torch.Generator().manual_seed(3)).numpy() * 0.3, 8_000)
REQUESTS = [
    GenerateRequest(text="warm slow drums", seconds=0.6, seed=1),
    GenerateRequest(text=None, seconds=0.2, seed=2),
    GenerateRequest(text="a", seconds=5.0, seed=3, sampling=SamplingParams(top_k=5, cfg=1.0)),  # beyond the window
    GenerateRequest(text="many other words than those", conditions={"mood": AUDIO}, bpm=90.0, seconds=1.0, seed=4),
    GenerateRequest(text="b c", seconds=0.04, seed=5, sampling=SamplingParams(temperature=0.0)),
    GenerateRequest(text="b c", conditions={"mood": AUDIO}, seconds=0.7, seed=6, sampling=SamplingParams(cfg_beta=2.0)),
    GenerateRequest(text="d", seconds=0.5, seed=7, sampling=SamplingParams(two_step_cfg=True)),
]


def generation(runtime: LanguageModelRuntime, request: GenerateRequest, **more: Any) -> Generation:
    prompt = None
    if (request.seed or 0) % 3 == 0:
        generator = torch.Generator().manual_seed(request.seed or 0)
        prompt = torch.randint(CARD, (1, 4, 7 * (request.seed or 0)), generator=generator)
    return Generation(runtime, [request], prompt=prompt, new_frames=round(request.new_seconds * 50), **more)


@pytest.mark.parametrize("most_rows", [1, 4, 7, 32])
def test_requests_of_all_kinds_give_together_what_they_give_alone(most_rows: int) -> None:
    runtime = tiny_runtime()
    alone = [generation(runtime, request).run() for request in REQUESTS]
    together = Together(runtime, most_rows).run([generation(runtime, request) for request in REQUESTS])
    for request, a, b in zip(REQUESTS, alone, together, strict=True):
        assert isinstance(b, Tensor)
        assert torch.equal(a, b), request


def test_one_that_is_cancelled_leaves_the_others_alone() -> None:
    runtime, token = tiny_runtime(), CancelToken()
    alone = generation(runtime, REQUESTS[0]).run()

    def cancel_early(done: int, wanted: int) -> None:
        if done == 3:
            token.cancel()

    stopped = generation(runtime, REQUESTS[2], cancel=token, progress=cancel_early)
    first, second = Together(runtime).run([stopped, generation(runtime, REQUESTS[0])])
    assert isinstance(first, CancelledError)
    assert isinstance(second, Tensor)
    assert torch.equal(second, alone)


@pytest.mark.parametrize(("text", "cfg", "rows"), [("a b", 3.0, 2), ("a b", 1.0, 1), (None, 3.0, 1), ("", 3.0, 1)])
def test_the_null_half_is_run_only_where_it_counts(text: str | None, cfg: float, rows: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is left out changes nothing: one row is what both rows would have merged into."""
    runtime, seen = tiny_runtime(), []
    step = runtime.decoder.lm.step
    monkeypatch.setattr(runtime.decoder.lm, "step", lambda codes, *rest: (seen.append(codes.shape[0]),
                                                                         step(codes, *rest))[1])
    request = GenerateRequest(text=text, seed=1, seconds=0.4, sampling=SamplingParams(cfg=cfg))
    made = Generation(runtime, [request], prompt=None, new_frames=20).run()
    assert set(seen) == {rows}
    if rows == 1:
        # Two rows that come to the same: of weight 1 but for rounding, or of weight 0, which is the null row alone.
        both = GenerateRequest(text=text or "b", seed=1, seconds=0.4, sampling=SamplingParams(
            cfg=1.0 + 1e-9 if text else 0.0))
        assert torch.equal(made, Generation(runtime, [both], prompt=None, new_frames=20).run())
        assert seen[-1] == 2


def test_nothing_to_run_and_rows() -> None:
    runtime = tiny_runtime()
    assert Together(runtime).run([]) == []
    assert [row_count(generation(runtime, request)) for request in REQUESTS[:3]] == [2, 1, 1]


@pytest.mark.parametrize("cross", [0, 3, 40])
@pytest.mark.parametrize("masked", [False, True])
@torch.inference_mode()
def test_the_static_step_is_the_step(cross: int, masked: bool) -> None:
    lm = tiny_parts().lm
    generator = torch.Generator().manual_seed(5)
    fused = FusedInputs()
    if cross:
        mask = torch.arange(cross)[None] < torch.tensor([[1], [cross], [2]]) if masked else None
        fused = FusedInputs(cross=torch.randn(3, cross, 32, generator=generator), cross_mask=mask)
    state = lm.new_state(3, 30, fused)
    lm.step(torch.randint(CARD, (3, 4, 5), generator=generator), state, fused)
    static = StaticStep(lm, 5, 64)
    rows = [4, 0, 2]
    static.load(state, rows)
    graphs = StepGraphs(static)
    for step in range(20):
        column = torch.randint(CARD, (3, 4, 1), generator=generator)
        added = torch.randn(3, 1, 32, generator=generator)
        static.codes[rows], static.sum_at[rows], static.positions[rows] = column, added, state.position
        expected = lm.step(column, state, fused, added)
        found = graphs.run(5, state.position)[rows]
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, msg=f"step {step}")


@torch.inference_mode()
def test_a_resident_state_is_stepped_as_by_the_network_and_can_be_cloned_and_swapped() -> None:
    runtime = tiny_runtime()
    lm = runtime.decoder.lm
    resident = ResidentSteps(lm)
    generator = torch.Generator().manual_seed(1)
    conditions = [FusedInputs(cross=torch.randn(2, n, 32, generator=generator)) for n in (2, 6, 3)]
    ours, theirs = ([lm.new_state(2, room, f) for f, room in zip(conditions, (40, 40, 300), strict=True)]
                    for _ in range(2))
    for turn in range(24):
        which = (turn // 3) % 3 if turn < 18 else turn % 3
        if turn == 12:  # a condition that changes between steps
            for state in (ours[which], theirs[which]):
                lm.set_cross(state, FusedInputs(cross=torch.ones(2, 9, 32)))
        if turn == 15:
            ours[which], theirs[which] = ours[which].clone(50), theirs[which].clone(50)
        column = torch.randint(CARD, (2, 4, 1 + 2 * (turn % 5 == 0)), generator=generator)
        expected = lm.step(column, theirs[which], conditions[which])
        found = resident.step(column, ours[which], conditions[which])
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, msg=f"turn {turn}")
        assert ours[which].position == theirs[which].position


@pytest.mark.parametrize("case", [0, 2, 3, 5, 6])
def test_a_generation_with_resident_steps_gives_the_same_codes(case: int) -> None:
    plain, runtime = tiny_runtime(), tiny_runtime()
    object.__setattr__(runtime.decoder, "resident", ResidentSteps(runtime.decoder.lm))
    assert torch.equal(generation(runtime, REQUESTS[case]).run(), generation(plain, REQUESTS[case]).run())


@torch.inference_mode()
def test_bfloat16_stays_near_float32() -> None:
    """What a GPU computes in: the logits' error is a few per cent of their spread."""
    exact, rough = tiny_parts().lm, tiny_parts().lm.to(torch.bfloat16)
    generator = torch.Generator().manual_seed(2)
    codes = torch.randint(CARD, (1, 4, 30), generator=generator)
    state, static = exact.new_state(1, 64), StaticStep(rough, 1, 64)
    error, spread = [], []
    for step in range(30):
        column = codes[:, :, step:step + 1]
        expected = exact.step(column, state)
        static.codes.copy_(column)
        static.positions.fill_(step)
        found = static(1, 64)
        error.append((found - expected).square().mean())
        spread.append(expected.var())
    assert (torch.stack(error).mean() / torch.stack(spread).mean()).sqrt() < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the captured graph itself is not run")
@torch.inference_mode()
def test_a_captured_graph_is_the_step() -> None:
    lm = tiny_parts().lm.to("cuda")
    generator = torch.Generator().manual_seed(5)
    state, resident = lm.new_state(2, 300), ResidentSteps(lm)
    own = lm.new_state(2, 300)
    for _ in range(290):  # across a bucket of positions
        column = torch.randint(CARD, (2, 4, 1), generator=generator).cuda()
        expected = lm.step(column, own)
        torch.testing.assert_close(resident.step(column, state), expected, atol=1e-3, rtol=0)
