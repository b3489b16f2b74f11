"""The compiled step against the network in torch, over shapes, kinds of weights and caches, rows and positions.

Tolerances: float weights 1e-5 of the logits' size (only the order of sums differs); quantised weights 2.5 % against the
same integer weights computed in float (inputs, keys and values are rounded to 8 bits).
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge.nn.compiled_step import FEW_ROWS, CompiledStep
from soundforge.nn.kernels.build import load_kernels
from soundforge.nn.language_model import NOTHING_FUSED, FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.quantised_model import Recipe, quantise_language_model

pytestmark = pytest.mark.skipif(load_kernels() is None, reason="no C compiler here")
EXACT, ROUNDED = 1e-5, 2.5e-2


def make(config: LanguageModelConfig, recipe: Recipe | None = None, seed: int = 0) -> tuple[LanguageModel, Any]:
    """A model that steps in the kernels, and a copy of the same weights that does not."""
    torch.manual_seed(seed)
    lm = LanguageModel(config).eval().requires_grad_(False)
    for parameter in lm.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
    if recipe is not None:
        quantise_language_model(lm, recipe)
    reference = copy.deepcopy(lm)
    if recipe is not None:
        for module in reference.modules():
            if hasattr(module, "weight_float"):
                module._compiled = lambda x, library, m=module: torch.nn.functional.linear(  # exact inputs
                    x, m.weight_float(x.dtype), m.bias)
    lm.prepare_for_steps()
    assert lm.compiled is not None
    return lm, reference


def near(made: torch.Tensor, wanted: torch.Tensor, recipe: Recipe | None) -> bool:
    return float((made - wanted).norm() / wanted.norm()) < (EXACT if recipe is None else ROUNDED)


RECIPES = st.sampled_from([None, Recipe(8), Recipe(4, 32), Recipe(4, 64, ("linear2",))])


@settings(max_examples=25)
@given(data=st.data(), recipe=RECIPES, heads=st.integers(1, 4), head_width=st.sampled_from([2, 8, 20, 48, 64, 80]),
       biases=st.booleans(), cross=st.booleans(), rows=st.integers(1, 4))
@torch.inference_mode()
def test_steps_agree_with_one_pass(data: st.DataObject, recipe: Recipe | None, heads: int, head_width: int,
                                   biases: bool, cross: bool, rows: int) -> None:
    width = heads * head_width
    config = LanguageModelConfig(max(width, 4), heads if width >= 4 else 1, 2, 3, 21, cross_attention=cross,
                                 ffn_width=data.draw(st.sampled_from([None, 24, 70])), bias_attention=biases,
                                 bias_ffn=biases, bias_heads=biases)
    lm, reference = make(config, recipe)
    length, prefill = data.draw(st.integers(2, 40)), data.draw(st.integers(1, 30))
    prefill = min(prefill, length)
    codes = torch.randint(0, 22, (rows, 3, length))
    mask = torch.rand(rows, 5) > 0.4
    fused = FusedInputs(prepend=torch.randn(rows, 3, config.d_model) if data.draw(st.booleans()) else None,
                        cross=torch.randn(rows, 5, config.d_model), cross_mask=mask) if cross else NOTHING_FUSED
    wanted = reference(codes, fused)
    state = lm.new_state(rows, fused.prefix_length + length, fused)
    assert bool(state.narrow) == (recipe is not None)
    made = [lm.step(codes[:, :, :prefill], state, fused)]
    made += [lm.step(codes[:, :, s:s + 1], state) for s in range(prefill, length)]
    assert state.position == fused.prefix_length + length
    assert near(torch.stack(made, dim=2), wanted[:, :, prefill - 1:], recipe)


CONFIG = LanguageModelConfig(128, 2, 2, 4, 50, cross_attention=True)


@pytest.mark.parametrize("recipe", [None, Recipe(8), Recipe(4, 32)])
@torch.inference_mode()
def test_neither_threads_nor_neighbours_change_a_bit(recipe: Recipe | None) -> None:
    lm, _ = make(CONFIG, recipe)
    codes = torch.randint(0, 50, (5, 4, 30))
    before = torch.get_num_threads()
    outcomes = []
    try:
        for threads, rows in ((1, slice(0, 5)), (3, slice(0, 5)), (2, slice(1, 3)), (1, slice(1, 2))):
            torch.set_num_threads(threads)
            state = lm.new_state(codes[rows].shape[0], 30)
            outcomes.append([lm.step(codes[rows, :, s:s + 1], state) for s in range(30)])
    finally:
        torch.set_num_threads(before)
    alone, three, pair, single = (torch.stack(outcome, dim=2) for outcome in outcomes)
    assert torch.equal(alone, three)
    assert torch.equal(alone[1:3], pair) and torch.equal(alone[1:2], single)


@pytest.mark.parametrize("recipe", [None, Recipe(4, 32)])
@torch.inference_mode()
def test_forks_of_a_state_go_separate_ways(recipe: Recipe | None) -> None:
    lm, _ = make(CONFIG, recipe)
    codes = torch.randint(0, 50, (2, 4, 40))
    state = lm.new_state(2, 24)
    lm.step(codes[:, :, :19], state)
    fork, bigger = state.clone(), state.clone(40)
    assert (fork.capacity, bigger.capacity, bigger.batch_size) == (24, 40, 2)
    other = lm.step((codes[:, :, 19:20] + 7) % 50, fork)
    first = lm.step(codes[:, :, 19:20], state)
    assert torch.equal(first, lm.step(codes[:, :, 19:20], bigger)) and not torch.equal(first, other)
    for s in range(20, 40):
        lm.step(codes[:, :, s:s + 1], bigger)
    bigger.position = 19  # a column that is fed again replaces what stood there
    assert torch.equal(first, lm.step(codes[:, :, 19:20], bigger))
    with pytest.raises(ValueError, match="room for 24"):
        lm.step(codes[:, :, 20:25], state)
    with pytest.raises(ValueError, match="20 are filled"):
        state.clone(19)


@torch.inference_mode()
@pytest.mark.parametrize("recipe", [None, Recipe(4, 32)])
@torch.inference_mode()
def test_addresses_are_kept_until_a_part_of_the_state_is_replaced(recipe: Recipe | None) -> None:
    lm, _ = make(CONFIG, recipe)
    codes, first, other = torch.randint(0, 50, (2, 4, 6)), *(
        FusedInputs(cross=torch.randn(2, length, 128)) for length in (5, 9))
    state = lm.new_state(2, 8, first)
    lm.step(codes[:, :, :1], state)
    kept = state.addresses
    lm.step(codes[:, :, 1:2], state)
    assert state.addresses is kept
    assert state.clone().addresses is None
    lm.set_cross(state, other)
    changed = lm.step(codes[:, :, 2:3], state)
    assert state.addresses is not kept
    state.keys_values, state.narrow = list(state.keys_values), list(state.narrow)
    state.position -= 1
    assert torch.equal(lm.step(codes[:, :, 2:3], state), changed)
    again = lm.new_state(2, 8, first)
    for s in range(2):
        lm.step(codes[:, :, s:s + 1], again)
    copy = again.clone()
    lm.set_cross(copy, other)
    assert torch.equal(lm.step(codes[:, :, 2:3], copy), changed)
    assert not torch.equal(lm.step(codes[:, :, 2:3], again), changed)


def test_a_quantised_cache_is_less_than_a_third() -> None:
    narrow, wide = make(CONFIG, Recipe(8))[0].new_state(2, 320), make(CONFIG)[0].new_state(2, 320)
    assert narrow.nbytes * 3 < wide.nbytes


@torch.inference_mode()
def test_a_prompt_of_floats_goes_through_torch_and_its_steps_follow() -> None:
    lm, reference = make(CONFIG)
    assert lm.compiled is not None and not lm.compiled.takes(FEW_ROWS + 1) and lm.compiled.takes(FEW_ROWS)
    codes = torch.randint(0, 50, (2, 4, 60))
    state = lm.new_state(2, 60)
    lm.step(codes[:, :, :59], state)
    assert near(lm.step(codes[:, :, 59:], state), reference(codes)[:, :, -1], None)


def test_moved_or_copied_weights_let_go_of_the_kernels() -> None:
    lm, _ = make(CONFIG)
    assert copy.deepcopy(lm).compiled is None
    assert lm.compiled is not None and lm.double().compiled is None
    assert CompiledStep.of(lm) is None, "float64 is none for them"


@torch.inference_mode()
def test_steps_of_several_threads_do_not_disturb_each_other() -> None:
    from concurrent.futures import ThreadPoolExecutor

    lm, _ = make(CONFIG, Recipe(4, 32))
    codes = torch.randint(0, 50, (6, 1, 4, 25))

    def run(index: int) -> torch.Tensor:
        with torch.inference_mode():
            torch.set_num_threads(2)
            state = lm.new_state(1, 25)
            return torch.stack([lm.step(codes[index, :, :, s:s + 1], state) for s in range(25)])

    wanted = [run(index) for index in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert all(torch.equal(a, b) for a, b in zip(pool.map(run, range(6)), wanted, strict=True))
    torch.set_num_threads(1)
