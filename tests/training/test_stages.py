"""Every training stage at toy size, resuming, and the small parts they are made of."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")
import soundforge as sf
from soundforge.nn.starter_codec import ResidualQuantiser
from training import nano
from training.batches import CropSampler
from training.clock import SUSPENDED_SECONDS, WallClock
from training.codec import CodecTrainer, load_codec
from training.lm_data import delayed
from training.losses import codec_losses
from training.metrics import auc, similarity_auc
from training.muon import orthogonalised
from training.quantiser_training import CodebookTrainer
from training.recall import without_harmony

SOUNDFONTS = Path("/usr/share/sounds/sf3/FluidR3Mono_GM.sf3")


@pytest.mark.slow
@pytest.mark.skipif(not SOUNDFONTS.exists(), reason="needs the soundfonts of the package fluidr3mono-gm-soundfont")
def test_nano_preset_trains_both_stages_and_exports(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    losses = nano.run(tmp_path)
    assert np.mean(losses["codec"][-8:]) < np.mean(losses["codec"][:8])
    for part in ("sound", "lm", "recall"):
        assert np.mean(losses[part][-5:]) < np.mean(losses[part][:5]), part
    # The decoder that was trained on has more blocks, and the same codes.
    before, after = (load_codec(tmp_path / name) for name in ("codec.pt", "codec-tuned.pt"))
    assert after.config.decoder_slow_blocks > before.config.decoder_slow_blocks
    music = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 6400)).astype(np.float32)) * 0.1
    assert torch.equal(after.encode(music)[0], before.encode(music)[0])
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    assert [slot["name"] for slot in config["slots"]] == ["text", "transport", "chroma", "style", "level"]
    clip = sf.load(tmp_path / "weights").generate("drums only, 120 bpm", seconds=0.5, seed=1)
    assert clip.waveform.shape == (1, 16_000)
    # A second trainer goes on where the first one stopped.
    noise = np.random.default_rng(0).integers(-3000, 3000, (2, 32_000)).astype(np.int16)
    resumed = CodecTrainer([noise], minutes=1.0, config=nano.CODEC, batch=2, crop_samples=6400,
                           checkpoint=tmp_path / "codec.pt")
    assert resumed.step == 40


def test_a_recalled_style_says_little_of_the_harmony_and_all_else() -> None:
    torch.manual_seed(0)
    harmony, sound = torch.rand(400, 12), torch.randn(400, 20)
    styles = torch.cat([harmony @ torch.randn(12, 12), sound], dim=1) @ torch.linalg.qr(torch.randn(32, 32))[0]

    def told(features: torch.Tensor, of: torch.Tensor) -> float:
        """Share of the variance of ``of`` that a line through ``features`` explains."""
        x, y = features - features.mean(0), of - of.mean(0)
        left = y - x @ torch.linalg.lstsq(x, y, driver="gelsd").solution
        return float(1 - left.square().sum() / y.square().sum())

    bare = without_harmony(styles, harmony)
    assert told(styles, harmony) > 0.99 and told(styles, sound) > 0.99
    assert told(bare, harmony) < 0.2 and told(bare, sound) > 0.95


def test_delayed_shifts_each_codebook_and_marks_what_has_no_target() -> None:
    codes = torch.arange(6).view(1, 2, 3)  # codebook 0: 0 1 2, codebook 1: 3 4 5
    inputs, targets = delayed(codes, special=9)
    assert inputs.tolist() == [[[9, 0, 1, 2], [9, 9, 3, 4]]]
    assert targets.tolist() == [[[0, 1, 2, -100], [-100, 3, 4, 5]]]


def test_codebooks_follow_the_data_and_dead_entries_come_back() -> None:
    quantiser = ResidualQuantiser(2, 16, 4)
    trainer = CodebookTrainer(quantiser)
    data = torch.randn(400, 4) * 3 + 1
    trainer.start(data)
    codes = quantiser.encode(data[None])
    error = (quantiser.decode(codes)[0] - data).pow(2).mean() / data.var()
    assert error < 0.25
    quantiser.codebooks[0, 0] = 1000.0  # nothing is near it
    trainer.counts[0, 0] = 0.0
    trainer.quantise(data.view(4, 100, 4))
    assert quantiser.codebooks[0, 0].abs().max() < 100


def test_straight_through_passes_gradients() -> None:
    trainer = CodebookTrainer(ResidualQuantiser(2, 16, 4))
    latent = torch.randn(3, 5, 4, requires_grad=True)
    quantised, commitment, codes = trainer.quantise(latent)
    (quantised.sum() + commitment).backward()  # type: ignore[no-untyped-call]
    assert codes.shape == (3, 2, 5)
    assert latent.grad is not None and bool((latent.grad != 0).all())


def test_batches_hold_silence_and_never_clip() -> None:
    noise = np.random.default_rng(0).integers(-32768, 32767, (3, 20_000)).astype(np.int16)
    batch = CropSampler([noise], 4000, seed=1).batch(200)
    assert float(batch.abs().max()) <= 0.991
    assert 1 <= int((batch.abs().amax(1) == 0).sum()) < 30


def test_learning_rate_rises_and_ends_low() -> None:
    assert WallClock(10).learning_rate(1.0, 0, 10) == pytest.approx(0.1, abs=0.01)
    assert WallClock(10).learning_rate(1.0, 100, 10) == pytest.approx(1.0, abs=0.01)
    assert WallClock(10, spent_seconds=600).learning_rate(1.0, 100, 10) == pytest.approx(0.01, abs=0.001)


def test_a_suspension_costs_no_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("training.clock.time.monotonic", lambda: now)
    clock = WallClock(10)
    now += 5.0
    assert clock.spent_seconds == 5.0
    now += 3600.0
    assert clock.spent_seconds == 5.0 + SUSPENDED_SECONDS


def test_losses_tell_pitch_and_level() -> None:
    time = torch.arange(32_000) / 32_000
    def tone(hz: float, level: float = 0.3) -> torch.Tensor:
        return (level * torch.sin(2 * torch.pi * hz * time))[None]

    right, flat, quiet = (codec_losses(tone(220.0), made) for made in (tone(220.0), tone(207.65), tone(220.0, 0.15)))
    assert right["pitch"] < 0.01 < 0.2 < flat["pitch"] and right["energy"] < 0.01
    assert 0.2 < quiet["energy"] < math.log10(2.0) + 0.01  # a little less, so that silence may be silent


def test_orthogonalised_has_even_singular_values() -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(24, 16)).float())
    assert float(values.max()) < 1.5
    assert float(values.min()) > 0.3


def test_auc() -> None:
    assert auc([2.0, 3.0], [0.0, 1.0]) == 1.0
    assert auc([1.0], [1.0]) == 0.5
    assert similarity_auc(np.eye(4)) == 1.0
