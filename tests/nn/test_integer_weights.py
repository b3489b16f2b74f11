"""The layout of integer weights: nothing is lost on the way there and back, whatever the shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.nn.integer_weights import GROUP, TILE, pack, round_weights, scales_of, unpack, weights_of

SIZES = st.integers(1, 130)


@given(n_out=SIZES, n_in=SIZES, bits=st.sampled_from([8, 4]), group=st.sampled_from([None, 32, 64]),
       seed=st.integers(0, 99))
def test_packing_is_undone_by_unpacking(n_out: int, n_in: int, bits: int, group: int | None, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    top = 127 if bits == 8 else 7
    integers = torch.randint(-top, top + 1, (n_out, n_in), generator=generator, dtype=torch.int8)
    scales = torch.rand(n_out, scales_of(n_in, group), generator=generator).bfloat16()
    packed, tiled = pack(integers, scales, bits)
    assert packed.shape == (-(-n_out // TILE), -(-n_in // GROUP), GROUP * TILE * bits // 8)
    back, scales_back = unpack(packed, tiled, bits, n_out, n_in)
    assert torch.equal(back, integers) and torch.equal(scales_back, scales)


@given(n_out=SIZES, n_in=SIZES, bits=st.sampled_from([8, 4]), group=st.sampled_from([None, 32, 96]))
def test_rounded_weights_are_near_and_zeros_stay_zeros(n_out: int, n_in: int, bits: int, group: int | None) -> None:
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(n_out * n_in))
    weight[:, 0] = 0.0
    made = weights_of(*round_weights(weight, bits, group), group, torch.float32)
    assert made.shape == weight.shape and not made[:, 0].any()
    assert float((made - weight).norm()) <= (0.012 if bits == 8 else 0.13) * float(weight.norm())


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e4])
def test_constant_weights_come_back(value: float) -> None:
    weight = torch.full((3, 40), value)
    for bits in (8, 4):
        made = weights_of(*round_weights(weight, bits, 32), 32, torch.float32)
        torch.testing.assert_close(made, weight, rtol=0.005, atol=1e-11)


def test_the_searched_scale_beats_the_plain_one() -> None:
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    made = weights_of(*round_weights(weight, 4, 32), 32, torch.float32)
    grouped = weight.view(64, 8, 32)
    step = grouped.abs().amax(-1, keepdim=True) / 7
    plain = ((grouped / step).round() * step).view(64, 256)
    assert float((made - weight).norm()) < 0.93 * float((plain - weight).norm())
