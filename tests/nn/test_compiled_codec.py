"""A codec's layers through the compiled kernels: against torch, for any shape, any number of threads, any processor."""

from __future__ import annotations

import ctypes
import platform
import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from codec_models import dac, encodec, random_codes
from hypothesis import given
from hypothesis import strategies as st

from soundforge.nn import compiled_codec
from soundforge.nn.compiled_codec import CodecKernels, PackedFilters, compiled_layers, kernels_for
from soundforge.nn.dac import Snake
from soundforge.nn.kernels.build import build, load_kernels
from soundforge.nn.streaming_lstm import RunningLstm
from soundforge.nn.streaming_transposed import StreamConvTranspose1d

found = load_kernels()
pytestmark = pytest.mark.skipif(found is None, reason="no C compiler here")
TARGETS = [("-march=x86-64",), ("-march=haswell",)] if platform.machine().lower() in ("x86_64", "amd64") else []


def kernels(threads: int = 1) -> CodecKernels:
    assert found is not None
    return CodecKernels(found.library, threads)


@pytest.fixture(params=[None, *(pytest.param(target, marks=pytest.mark.slow) for target in TARGETS)], ids=str,
                scope="module")
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CodecKernels:
    if request.param is None:
        return kernels(2)
    return CodecKernels(ctypes.CDLL(str(build(tmp_path_factory.mktemp("kernels"), request.param))), 2)


def close(made: torch.Tensor, wanted: torch.Tensor) -> bool:
    return made.shape == wanted.shape and bool((made - wanted).norm() <= 1e-6 * wanted.norm() + 1e-7)


@given(data=st.data(), batch=st.integers(1, 3), channels=st.integers(1, 40), outputs=st.integers(1, 40),
       taps=st.integers(1, 7), dilation=st.sampled_from([1, 2, 9]), padding=st.integers(0, 70), bias=st.booleans())
@torch.inference_mode()
def test_convolutions_of_any_shape(data: st.DataObject, batch: int, channels: int, outputs: int, taps: int,
                                   dilation: int, padding: int, bias: bool) -> None:
    shortest = max(1, (taps - 1) * dilation + 1 - 2 * padding)
    n = data.draw(st.one_of(st.integers(shortest, shortest + 20), st.integers(shortest, shortest + 900)))
    x, weight = torch.randn(batch, channels, n + 5)[:, :, 2:n + 2], torch.randn(outputs, channels, taps)
    shift = torch.randn(outputs) if bias else None
    made = kernels(data.draw(st.integers(1, 3))).convolve(
        x, PackedFilters()(weight, lambda: weight), shift, out_channels=outputs, dilation=dilation, padding=padding)
    assert close(made, F.conv1d(x, weight, shift, 1, padding, dilation))


@pytest.mark.parametrize("stride", [1, 2, 5, 8])
@pytest.mark.parametrize("n", [1, 3, 8, 9, 50, 700])
@torch.inference_mode()
def test_transposed_convolutions(each: CodecKernels, stride: int, n: int) -> None:
    layer = StreamConvTranspose1d(20, 11, 2 * stride, stride=stride, left=0, right=0).requires_grad_(False)
    x, weight = torch.randn(2, 20, n), layer.conv.weight
    made = each.convolve(x, PackedFilters()(weight, layer._two_taps), layer.conv.bias, out_channels=11, stride=stride,
                         padding=1)
    assert close(made, F.conv_transpose1d(x, weight, layer.conv.bias, stride))


@torch.inference_mode()
def test_activations_keep_their_digits_near_zero_and_far_away(each: CodecKernels) -> None:
    spread = torch.cat([torch.logspace(-30, 3, 5000), -torch.logspace(-30, 3, 5000), torch.zeros(1)])
    exact = torch.expm1(spread.double()).where(spread < 0, spread.double())
    torch.testing.assert_close(each.elu(spread), exact.float(), rtol=5e-7, atol=0.0)
    inside = spread.clone()
    assert torch.equal(each.elu(inside, inplace=True), each.elu(spread)) and inside.data_ptr() != spread.data_ptr()
    alpha = torch.tensor([0.05, 1.0, 30.0])
    x = spread.expand(2, 3, -1).contiguous()
    phase = (alpha[:, None] * x).double()  # rounded to a float first, as torch does
    wanted = x.double() + phase.sin() ** 2 / (alpha[:, None] + 1e-9)
    assert ((each.snake(x, alpha) - wanted).abs() <= 2e-7 * x.abs() + 8e-7 / alpha[:, None] + 1e-30).all()
    assert each.elu(torch.tensor([float("nan"), float("inf"), -float("inf")])).tolist()[1:] == [float("inf"), -1.0]


@pytest.mark.parametrize(("width", "batch", "n"), [(1, 1, 4), (5, 2, 3), (48, 3, 20), (300, 1, 40)])
@torch.inference_mode()
def test_recurrent_layers_carry_on_where_they_were(each: CodecKernels, width: int, batch: int, n: int) -> None:
    layer = RunningLstm(width, 2).requires_grad_(False)
    x = 3 * torch.randn(n, batch, width)
    wanted, state = layer.lstm(x)
    first, hidden = layer._run_compiled(each, x[:n // 2], None)
    second, hidden = layer._run_compiled(each, x[n // 2:], hidden)
    assert close(torch.cat([first, second]), wanted)
    assert close(hidden[0], state[0]) and close(hidden[1], state[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@torch.inference_mode()
def test_what_is_no_number_is_not_hidden(value: float) -> None:
    layer = RunningLstm(32, 1).requires_grad_(False)
    x = torch.zeros(3, 1, 32)
    x[1, 0, 5] = value
    made, _ = layer._run_compiled(kernels(), x, None)
    wanted, _ = layer.lstm(x)
    assert torch.equal(made.isnan(), wanted.isnan())
    assert kernels().elu(torch.tensor([float("nan")])).isnan().all()
    assert kernels().snake(torch.full((1, 1, 3), float("nan")), torch.ones(1)).isnan().all()


@pytest.mark.parametrize("make", [lambda: encodec(n_filters=32, lstm=2), lambda: dac(decoder_width=64)],
                         ids=["encodec", "dac"])
def test_a_decoder_gives_what_torch_gives_on_any_number_of_threads(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = make()
    latent, before, made = codec.decode_latent(random_codes(codec, 60, 2)), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(codec.decode_from_latent(latent))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])
    monkeypatch.setattr(compiled_codec, "load_kernels", lambda: None)
    through_torch = codec.decode_from_latent(latent)
    assert not torch.equal(through_torch, made[0]), "the kernels were not used"
    assert close(made[0], through_torch)


def test_only_the_thread_inside_and_only_without_gradients() -> None:
    layer, x = Snake(4), torch.randn(1, 4, 5)
    seen: list[object] = []
    with torch.no_grad(), compiled_layers(layer):
        assert kernels_for(x) is not None
        assert kernels_for(x.bfloat16()) is None
        with torch.enable_grad():
            assert kernels_for(x) is None
        other = threading.Thread(target=lambda: seen.append(kernels_for(x)))
        other.start()
        other.join()
        with pytest.raises(RuntimeError, match="broken"), compiled_layers(layer):
            raise RuntimeError("broken")
        assert kernels_for(x) is not None
    assert seen == [None]
    with torch.no_grad():
        assert kernels_for(x) is None
        with compiled_layers(Snake(4).bfloat16()):
            assert kernels_for(x) is None, "a network in bfloat16 stays with torch"


def test_changed_weights_are_packed_anew() -> None:
    packed, weight = PackedFilters(), torch.zeros(3, 2, 2)
    first = packed(weight, lambda: weight)
    assert packed(weight, lambda: weight) is first
    weight += 1
    assert float(packed(weight, lambda: weight).sum()) == 12.0
