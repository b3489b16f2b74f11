"""Windows of the language model's data: sections, their conditions, and the loss over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")
from soundforge.nn.starter_codec import ResidualQuantiser
from soundforge.nn.starter_conditions import TRANSPORT_WIDTH
from training import lm_data
from training.lm_data import LmBatch, LmData, thirds
from training.lm_model import CODEBOOK_WEIGHTS, StarterLm, StarterLmSizes, beginnings

FRAMES = 120
SIZES = StarterLmSizes(d_model=32, n_heads=2, n_layers=2, ffn_width=64, card=64, text_width=16, latent_width=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LmData:
    """Eight pieces whose code IS their row, so that a window shows where each frame came from."""
    folder: Path = tmp_path_factory.mktemp("tokens")
    rows, length = 8, 400
    rng = np.random.default_rng(0)
    np.savez(
        folder / "tokens-0000.npz",
        codes=np.broadcast_to(np.arange(rows)[:, None, None], (rows, 6, length)).astype(np.int16),
        chroma=rng.integers(0, 255, (rows, length, 12)).astype(np.uint8),
        heard_chroma=rng.integers(0, 255, (rows, length // 2, 12)).astype(np.uint8),
        level_db=np.broadcast_to(-20.0 - np.arange(rows)[:, None], (rows, length)).astype(np.float16),
        centroid_hz=np.linspace(300, 6000, rows).astype(np.float32),
        seeds=np.arange(rows),
        bpm=np.full(rows, 120.0),
        beats_per_bar=np.full(rows, 4),
    )
    return LmData(folder, ResidualQuantiser(6, 64, 16), FRAMES, 4, seed=1)


def batch_of(data: LmData, changing: float, monkeypatch: pytest.MonkeyPatch, size: int = 16) -> LmBatch:
    monkeypatch.setattr(lm_data, "CHANGING", changing)
    return data.batch(size)


def test_every_column_belongs_to_the_section_of_its_frame(data: LmData, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(data, 1.0, monkeypatch)
    assert len(batch.pieces) == 32  # two sections in each window
    for window in range(16):
        frames = batch.targets[window, 0, :FRAMES]  # the code is the row of the piece
        change = batch.section[window, 1:FRAMES] != batch.section[window, : FRAMES - 1]
        assert int(change.sum()) == 1
        place = int(change.nonzero()[0]) + 1
        assert len(set(frames[:place].tolist())) == len(set(frames[place:].tolist())) == 1
    assert batch.transport.shape == (16, FRAMES + 3, TRANSPORT_WIDTH)


def test_level_is_that_of_the_piece_and_often_unknown(data: LmData, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(data, 0.0, monkeypatch, 64)
    known = batch.level[:, 1] > 0
    assert 0.5 < float(known.float().mean()) < 0.95
    row = batch.targets[:, 0, 50].float()
    stated = batch.level[:, 0] * 8.0 - 20.0
    assert float((stated + 20.0 + row)[known].abs().max()) < 3.0


def test_without_conditions_all_of_them_are_zero(data: LmData) -> None:
    batch = data.batch(6, conditions=False)
    for value in (batch.pieces, batch.style, batch.level, batch.transport, batch.chroma):
        assert not value.any()


def test_some_windows_have_no_guided_condition_at_all(data: LmData, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(data, 0.0, monkeypatch, 128)
    bare = [not (batch.pieces[i].any() or batch.style[i].any() or batch.transport[i].any() or batch.chroma[i].any())
            for i in range(128)]
    assert 4 <= sum(bare) < 50


def test_brightness_names_the_ends_and_the_middle() -> None:
    assert thirds(np.arange(11, dtype=np.float32)) == [0, 0, 0, None, None, 1, 1, None, 2, 2, 2]


def test_the_fast_loss_is_cross_entropy_and_so_are_its_gradients(
    data: LmData, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = StarterLm(SIZES)
    batch = batch_of(data, 0.5, monkeypatch, 4)
    total, per_book = model.loss(batch)
    total.backward()  # type: ignore[no-untyped-call]
    followed = (model.lm.heads.get_parameter("weight"), model.project["level"].get_parameter("weight"))
    fast = [value.grad.clone() for value in followed if value.grad is not None]
    model.zero_grad()
    emphasis = beginnings(batch.section)
    losses = []
    plain = []
    for k, row in enumerate(model(batch).unbind(1)):
        target = batch.targets[:, k]
        each = torch.nn.functional.cross_entropy(row.transpose(1, 2), target, ignore_index=-100, reduction="none")
        weight = emphasis * (target >= 0)
        losses.append((each * weight).sum() / weight.sum())
        plain.append(each.sum() / (target >= 0).sum())
    weights = torch.tensor(CODEBOOK_WEIGHTS[:4])
    torch.testing.assert_close(per_book, torch.stack(plain).detach(), atol=0.02, rtol=0.01)
    (torch.stack(losses) * weights / weights.sum()).sum().backward()  # type: ignore[no-untyped-call]
    slow = [value.grad for value in followed if value.grad is not None]
    assert len(slow) == len(fast) == 2
    for a, b in zip(fast, slow, strict=True):
        assert float((a - b).norm() / b.norm()) < 0.05
