"""The decoder LM: stepping with a cache gives what one pass over the whole sequence gives, and its files are plain."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.positions import sinusoidal_positions

SMALL = LanguageModelConfig(d_model=32, n_heads=4, n_layers=3, n_codebooks=4, card=24, cross_attention=True)
LENGTH = 14


def make_model(config: LanguageModelConfig = SMALL) -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(config).eval()


def make_inputs(batch: int, prefix: int = 5) -> tuple[torch.Tensor, FusedInputs]:
    generator = torch.Generator().manual_seed(batch)
    codes = torch.randint(0, SMALL.card + 1, (batch, SMALL.n_codebooks, LENGTH), generator=generator)
    fused = FusedInputs(
        prepend=torch.randn(batch, prefix, 32, generator=generator) if prefix else None,
        cross=torch.randn(batch, 6, 32, generator=generator),
        cross_mask=torch.rand(batch, 6, generator=generator) > 0.4,
        sum=torch.randn(batch, LENGTH, 32, generator=generator))
    return codes, fused


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("prefill", [1, 2, 9, LENGTH])
def test_steps_equal_the_whole_sequence(batch: int, prefix: int, prefill: int) -> None:
    model = make_model()
    codes, fused = make_inputs(batch, prefix)
    assert fused.sum is not None
    with torch.inference_mode():
        whole = model(codes, fused)
        state = model.new_state(batch, prefix + LENGTH, fused)
        logits = model.step(codes[:, :, :prefill], state, fused, fused.sum[:, :prefill])
        torch.testing.assert_close(logits, whole[:, :, prefill - 1], atol=2e-6, rtol=1e-5)
        for s in range(prefill, LENGTH):
            logits = model.step(codes[:, :, s:s + 1], state, fused, fused.sum[:, s:s + 1])
            torch.testing.assert_close(logits, whole[:, :, s], atol=2e-6, rtol=1e-5)
    assert state.position == state.capacity


@pytest.mark.parametrize("chunks", [[3, 4, 7], [1, 1, 12], [13, 1], [5, 5, 4]])
def test_a_prompt_may_be_prefilled_in_pieces(chunks: list[int]) -> None:
    model = make_model()
    codes, fused = make_inputs(2)
    assert fused.sum is not None
    with torch.inference_mode():
        whole = model(codes, fused)
        state = model.new_state(2, 5 + LENGTH, fused)
        at = 0
        for n in chunks:
            logits = model.step(codes[:, :, at:at + n], state, fused, fused.sum[:, at:at + n])
            at += n
            torch.testing.assert_close(logits, whole[:, :, at - 1], atol=2e-6, rtol=1e-5)


def test_clones_go_separate_ways_and_reset_starts_over() -> None:
    model = make_model()
    codes, fused = make_inputs(1)
    with torch.inference_mode():
        state = model.new_state(1, 5 + LENGTH, fused)
        first = model.step(codes[:, :, :6], state, fused)
        copy = state.clone(capacity=5 + 8)
        a = model.step(codes[:, :, 6:7], state, fused)
        other = (codes[:, :, 6:7] + 1) % SMALL.card
        b = model.step(other, copy, fused)
        assert not torch.allclose(a, b)
        again = state.clone()
        again.position -= 1
        torch.testing.assert_close(model.step(other, again, fused), b, atol=2e-6, rtol=1e-5)
        state.reset()
        torch.testing.assert_close(model.step(codes[:, :, :6], state, fused), first)
    with pytest.raises(ValueError, match="room"):
        state.clone(capacity=2)


def test_a_full_state_says_so() -> None:
    model = make_model()
    codes, fused = make_inputs(1, prefix=0)
    with torch.inference_mode():
        state = model.new_state(1, 4, fused)
        with pytest.raises(ValueError, match="room for 4"):
            model.step(codes[:, :, :5], state, fused)


def test_a_row_with_nothing_to_attend_to_equals_zero_vectors() -> None:
    model = make_model()
    codes, _ = make_inputs(1, prefix=0)
    zeros = torch.zeros(1, 3, 32)
    with torch.inference_mode():
        masked = model(codes, FusedInputs(cross=zeros, cross_mask=torch.zeros(1, 3, dtype=torch.bool)))
        unmasked = model(codes, FusedInputs(cross=zeros))
    assert torch.isfinite(masked).all()
    torch.testing.assert_close(masked, unmasked)


def test_attention_to_zero_vectors_is_left_out_without_changing_a_bit() -> None:
    model = make_model()
    codes, _ = make_inputs(1, prefix=0)
    nothing = FusedInputs(cross=torch.zeros(1, 3, 32))
    with torch.inference_mode():
        state = model.new_state(1, LENGTH, nothing)
        assert state.cross_keys_values is None
        attending = model.new_state(1, LENGTH)
        attending.cross_keys_values = [torch.zeros(2, 1, 4, 3, 8) for _ in model.layers]
        assert torch.equal(model.step(codes, state), model.step(codes, attending))
        biased = make_model(LanguageModelConfig(**SMALL.to_dict() | {"bias_attention": True}))
        assert biased.new_state(1, LENGTH, nothing).cross_keys_values is not None


def test_a_padded_row_with_mask_equals_the_row_alone() -> None:
    model = make_model()
    codes, fused = make_inputs(1, prefix=0)
    assert fused.cross is not None
    padded = torch.cat([fused.cross, torch.full((1, 4, 32), 9.0)], dim=1)
    mask = torch.tensor([[True] * 6 + [False] * 4])
    with torch.inference_mode():
        torch.testing.assert_close(model(codes, FusedInputs(cross=padded, cross_mask=mask)),
                                   model(codes, FusedInputs(cross=fused.cross)), atol=2e-6, rtol=1e-5)


def test_the_state_dict_names_books_apart_and_survives_a_file(tmp_path) -> None:
    model = make_model()
    names = set(model.state_dict())
    assert {"emb.0.weight", "emb.3.weight", "heads.0.weight", "layers.2.self_attn.in_proj.weight",
            "layers.0.cross_attn.kv_proj.weight", "out_norm.bias"} <= names
    assert model.state_dict()["emb.1.weight"].shape == (SMALL.card + 1, 32)
    save_file(model.state_dict(), tmp_path / "lm.safetensors")
    with torch.device("meta"):
        other = LanguageModel(SMALL)
    other.load_state_dict(load_file(tmp_path / "lm.safetensors"), assign=True)
    codes, fused = make_inputs(2)
    with torch.inference_mode():
        torch.testing.assert_close(other.eval()(codes, fused), model(codes, fused), rtol=0, atol=0)


def test_wrong_tensors_are_all_named() -> None:
    tensors = make_model().state_dict()
    del tensors["emb.2.weight"]
    tensors["heads.1.weight"] = torch.zeros(3, 32)
    tensors["heads.7.weight"] = torch.zeros(24, 32)
    with pytest.raises(RuntimeError) as error:
        make_model().load_state_dict(tensors)
    for part in ("emb.2.weight", "heads.1.weight", "[24, 32]", "heads.7.weight"):
        assert part in str(error.value)


def test_training_reaches_every_weight_and_dropout_is_off_in_eval() -> None:
    config = LanguageModelConfig(d_model=32, n_heads=4, n_layers=2, n_codebooks=4, card=24, cross_attention=True,
                                 dropout=0.2)
    model = LanguageModel(config).train()
    codes, fused = make_inputs(2)
    assert not torch.equal(model(codes, fused), model(codes, fused))
    model(codes, fused).square().sum().backward()
    # The last head row is fed by every book; only the unused rows of the tables may have no gradient.
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    model.eval()
    torch.testing.assert_close(model(codes, fused), model(codes, fused), rtol=0, atol=0)


def test_it_runs_under_autocast() -> None:
    model = make_model()
    codes, fused = make_inputs(2)
    with torch.inference_mode():
        exact = model(codes, fused)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(codes, fused)
    assert (rough.float() - exact).abs().max() < 0.2 * exact.abs().max()


def test_positions_are_cosines_first_and_float32() -> None:
    table = sinusoidal_positions(0, 4, 8)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(table[3, 3], torch.cos(torch.tensor(3 / 10_000.0)))
    torch.testing.assert_close(sinusoidal_positions(2, 2, 8), table[2:])


@pytest.mark.parametrize("bad", [{"d_model": 30}, {"n_layers": 0}, {"card": 0}])
def test_impossible_configurations_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        LanguageModelConfig(**{"d_model": 32, "n_heads": 4, "n_layers": 1, "n_codebooks": 1, "card": 4} | bad)


def test_configuration_travels_as_a_dict() -> None:
    assert LanguageModelConfig.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(ValueError, match="colour"):
        LanguageModelConfig.from_dict(SMALL.to_dict() | {"colour": 1})
