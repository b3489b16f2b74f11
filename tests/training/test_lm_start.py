"""The start of the language model already copies from one bar back when the tempo is known."""

from __future__ import annotations

import pytest
import torch

from soundforge.nn.starter_conditions import CHROMA_WIDTH, LEVEL_WIDTH, transport_features
from training.lm_data import LmBatch, delayed
from training.lm_model import StarterLm, StarterLmSizes
from training.lm_start import start_from_codec

BAR_FRAMES = 80  # 150 BPM, four beats


def standing_out(model: StarterLm, known: bool) -> float:
    """How many standard deviations the right first code lies above the others, from the second bar of a loop on."""
    generator = torch.Generator().manual_seed(1)
    bar = torch.randint(0, model.sizes.card, (1, model.sizes.n_codebooks, BAR_FRAMES), generator=generator)
    codes = bar.repeat(1, 1, 3)
    inputs, targets = delayed(codes, model.sizes.card)
    columns = inputs.shape[2]
    beats = (torch.arange(columns, dtype=torch.float64)[None] + 0.5) / 50.0 * 2.5
    one = torch.ones(1, dtype=torch.float64)
    transport = transport_features(beats, 150 * one, 4 * one, 0.05 * one) * float(known)
    batch = LmBatch(
        inputs, targets, section=torch.zeros(1, columns, dtype=torch.long), pieces=torch.zeros(1, 1, 12).long(),
        style=torch.zeros(1, 2 * model.sizes.latent_width), level=torch.zeros(1, LEVEL_WIDTH), transport=transport,
        chroma=torch.zeros(1, columns, CHROMA_WIDTH),
    )  # fmt: skip
    with torch.inference_mode():
        logits = model(batch)
    later = slice(BAR_FRAMES, 3 * BAR_FRAMES)
    right = logits[0, 0, later].gather(-1, targets[0, 0, later, None])[:, 0]
    return float(((right - logits[0, 0, later].mean(-1)) / logits[0, 0, later].std(-1)).mean())


def test_a_known_tempo_makes_the_start_copy_the_bar_before() -> None:
    torch.manual_seed(0)
    sizes = StarterLmSizes(d_model=128, n_heads=4, n_layers=1, ffn_width=128, n_codebooks=2, card=200, latent_width=24)
    model = StarterLm(sizes).eval()
    plain = standing_out(model, known=True)
    start_from_codec(model, torch.randn(2, 200, 24))
    assert abs(plain) < 0.4
    assert standing_out(model, known=True) > 0.4
    assert standing_out(model, known=False) < 0.3


def test_codebooks_that_do_not_fit_are_refused() -> None:
    model = StarterLm(StarterLmSizes(d_model=32, n_heads=2, n_layers=1, n_codebooks=3, card=16, latent_width=12))
    with pytest.raises(ValueError, match="do not fit"):
        start_from_codec(model, torch.randn(3, 16, 12))
