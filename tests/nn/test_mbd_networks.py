"""MultiBandDiffusion's parts: bands add up, noise is a function of its place, steps are the reference's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.nn.mbd_bands import BandSplitter, match_bands
from soundforge.nn.mbd_diffusion import NoiseSchedule, SeededNoise, denoise, step_list
from soundforge.nn.mbd_unet import DiffusionUnet, UnetConfig


@given(n_bands=st.integers(1, 12), n=st.integers(1, 5000), rate=st.sampled_from([16_000, 24_000, 32_000]))
def test_bands_add_up_to_the_signal(n_bands: int, n: int, rate: int) -> None:
    wave = torch.randn(2, 1, n, generator=torch.Generator().manual_seed(n))
    total = sum(BandSplitter(rate, n_bands).bands(wave), start=torch.zeros(()))
    torch.testing.assert_close(total, wave, atol=1e-5, rtol=0)


def test_a_tone_lies_in_its_band() -> None:
    rate = 32_000
    time = torch.arange(rate) / rate
    powers = [band.square().mean() for band in BandSplitter(rate, 8).bands(torch.sin(2 * torch.pi * 3000 * time))]
    assert max(range(8), key=lambda i: powers[i]) == 4  # 1958 to 3123 Hz
    assert powers[4] > 50 * max(p for i, p in enumerate(powers) if abs(i - 4) > 1)


def test_blockwise_filtering_equals_one_convolution() -> None:
    splitter = BandSplitter(32_000, 8)
    assert splitter.filters is not None
    wave = torch.randn(1, 1, 20_000)
    half = splitter.filters.shape[1] // 2
    padded = torch.nn.functional.pad(wave, (half, half), mode="replicate")
    direct = torch.nn.functional.conv1d(padded, splitter.filters[:1, None])
    torch.testing.assert_close(next(splitter.bands(wave)), direct, atol=1e-5, rtol=0)


def test_matching_brings_every_band_to_the_reference() -> None:
    splitter = BandSplitter(32_000, 6)
    generator = torch.Generator().manual_seed(1)
    wave, reference = torch.randn(2, 1, 32_000, generator=generator), torch.randn(2, 1, 32_000, generator=generator)
    reference[1] *= 0.1
    each = match_bands(wave, reference, splitter, each=True)
    ratio = each.std(dim=(1, 2)) / reference.std(dim=(1, 2))
    torch.testing.assert_close(ratio, torch.ones(2), atol=0.05, rtol=0)
    torch.testing.assert_close(match_bands(wave, reference, splitter, strictness=0.0), wave, atol=1e-5, rtol=0)
    silent = match_bands(torch.zeros(1, 1, 4000), reference[:1, :, :4000], splitter)
    assert torch.equal(silent, torch.zeros(1, 1, 4000))


def test_the_default_steps_are_the_reference_s() -> None:
    assert step_list(1000) == [*range(999, 0, -50), 0]
    assert step_list(1000, 1) == [999, 0]
    for n in (2, 7, 333, 999):
        steps = step_list(1000, n)
        assert len(steps) == n + 1 and steps[0] == 999 and steps == sorted(set(steps), reverse=True)
    with pytest.raises(ValueError, match="1000 diffusion steps"):
        step_list(1000, 1000)


@given(start=st.integers(0, 100_000), length=st.integers(1, 70_000))
def test_noise_depends_on_its_place_alone(start: int, length: int) -> None:
    source = SeededNoise([5, -7], 1)
    whole = source.draw(1, 3, 0, start + length)
    assert torch.equal(source.draw(1, 3, start, start + length), whole[..., start:])
    assert torch.equal(SeededNoise([-7], 1).draw(1, 3, start, start + length), whole[1:, :, start:])


def test_noise_is_white_and_unrelated_between_seeds_bands_and_steps() -> None:
    draws = [SeededNoise([seed], 1).draw(band, step, 0, 70_000).flatten()
             for seed in (0, 1) for band in (0, 1) for step in (0, 1)]
    table = torch.corrcoef(torch.stack(draws)) - torch.eye(8)
    assert table.abs().max() < 0.02
    assert abs(draws[0].std() - 1) < 0.01 and abs(draws[0].mean()) < 0.01


def test_a_perfect_estimate_is_denoised_to_the_signal() -> None:
    schedule = NoiseSchedule(beta_t0=1e-5, beta_t1=0.029, beta_exp=7.5)
    signal = 0.5 * torch.sin(torch.arange(400) / 7).view(1, 1, -1)
    bars = (1 - schedule.betas()).cumprod(0)

    def oracle(x: torch.Tensor, step: int) -> torch.Tensor:
        return (x - bars[step].sqrt() * signal) / (1 - bars[step]).sqrt()

    source = SeededNoise([1], 1)
    out = denoise(oracle, lambda index: source.draw(0, index, 0, 400), schedule, step_list(1000))
    assert (out - signal).abs().max() < 0.02


@pytest.mark.parametrize("extra", [{}, {"transformer": True}, {"transformer": True, "cross_attention": True},
                                   {"bilstm": True}])
@pytest.mark.parametrize("n", [640, 1999, 17])
def test_any_length_goes_through_every_kind_of_network(extra: dict[str, bool], n: int) -> None:
    torch.manual_seed(0)
    config = UnetConfig(hidden=8, depth=2, kernel=8, stride=4, max_channels=16, codec_dim=5, emb_all_layers=True,
                        **extra)  # type: ignore[arg-type]
    unet = DiffusionUnet(config).eval()
    condition = torch.randn(2, 5, max(1, n // 640))
    out = unet(torch.randn(2, 1, n), 7, condition)
    assert out.shape == (2, 1, n) and torch.isfinite(out).all()
    if n >= 640 and extra:
        assert not torch.equal(out, unet(torch.zeros(2, 1, n), 7, condition))
