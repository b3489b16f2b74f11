"""Batched sampling runs the same arithmetic as training."""

from __future__ import annotations

import torch

from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from training.lm_data import delayed
from training.sampling import continue_codes, draw


def small_lm() -> LanguageModel:
    torch.manual_seed(3)
    lm = LanguageModel(LanguageModelConfig(d_model=32, n_heads=2, n_layers=2, n_codebooks=3, card=20)).eval()
    lm.heads.weight.data.normal_(std=0.5)
    return lm


def test_greedy_continuation_is_what_teacher_forcing_predicts() -> None:
    lm = small_lm()
    prompt = torch.randint(0, 20, (2, 3, 7))
    summed = torch.randn(2, 15, 32)
    new = continue_codes(lm, prompt, 6, summed, temperature=0.0)
    whole = torch.cat([prompt, new], dim=2)
    inputs, _ = delayed(whole, special=20)
    logits = lm(inputs, FusedInputs(sum=summed[:, : inputs.shape[2]]))
    for k in range(3):
        for frame in range(7, 13):
            # Column frame + k predicts codebook k of this frame.
            assert torch.equal(logits[:, k, frame + k].argmax(-1), whole[:, k, frame]), (k, frame)


def test_the_same_seed_draws_the_same_and_another_one_other_tokens() -> None:
    lm = small_lm()
    prompt = torch.randint(0, 20, (1, 3, 5))
    first, again, other = (continue_codes(lm, prompt, 8, None, temperature=1.0, top_k=0, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_top_k_leaves_only_the_largest() -> None:
    logits = torch.randn(50, 3, 20)
    tokens = draw(logits, 1.0, 2, torch.Generator().manual_seed(0))
    rank = (logits > logits.gather(-1, tokens[..., None])).sum(-1)
    assert int(rank.max()) <= 1
