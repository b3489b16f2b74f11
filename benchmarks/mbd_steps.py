"""What MultiBandDiffusion's sampler loses with fewer steps, on signals whose best denoiser is known.

    python benchmarks/mbd_steps.py

A trained network is one source of error, the number of steps another; this measures the second alone. The signals
are Gaussian with a known spectrum (1/f, as music's long-term average) around a known mean, as a waveform is around
what its codes say; for these the best possible estimate of the noise has a closed form. Reported is the distance
between the spectrum that comes out and the true one, in dB (root mean square over frequencies), and the error of
the level. Steps and schedules are those of the decoder; no trained weights are used.
"""

from __future__ import annotations

import torch
from common import arguments, parse, print_result

from soundforge.nn.mbd_diffusion import NoiseSchedule, SeededNoise, denoise, step_list

LENGTH, CLIPS = 4096, 64
SCHEDULE = NoiseSchedule(beta_t0=1e-5, beta_t1=0.029, beta_exp=7.5)  # that of the published configurations


def main() -> None:
    parse(arguments(__doc__))
    found: dict[str, dict[str, float]] = {}
    frequency = torch.arange(1, LENGTH // 2 + 2, dtype=torch.float64)
    spectrum = 1 / frequency
    spectrum = spectrum / spectrum.mean() * 0.3  # mean power: the models' data have about unit variance or less
    bars = (1 - SCHEDULE.betas().double()).cumprod(0)
    noise = SeededNoise(list(range(CLIPS)), 1)
    for uncertainty_db in (0, -20):
        # Around a mean that explains all but this share of the power.
        residual = spectrum * 10 ** (uncertainty_db / 10)
        mean = _coloured(noise.draw(9, 0, 0, LENGTH).double(), spectrum - residual if uncertainty_db else 0 * spectrum)

        def best_estimate(x: torch.Tensor, step: int, mean: torch.Tensor = mean,
                          residual: torch.Tensor = residual) -> torch.Tensor:
            bar = bars[step]
            centred = torch.fft.rfft(x.double() - bar.sqrt() * mean)
            return torch.fft.irfft(centred * (1 - bar).sqrt() / (bar * residual + 1 - bar), LENGTH)

        for steps in (100, 50, 20, 10, 5, 3, 2, 1):
            out = denoise(best_estimate, lambda index: noise.draw(0, index, 0, LENGTH).double(), SCHEDULE,
                          step_list(SCHEDULE.num_steps, steps))
            have = torch.fft.rfft(out).abs().square().mean(dim=(0, 1)) / LENGTH
            error = 10 * torch.log10(have[1:-1] / spectrum[1:-1])
            level = 10 * torch.log10(have[1:-1].sum() / spectrum[1:-1].sum())
            found[f"known_to_{uncertainty_db}_db_in_{steps}_steps"] = {
                "spectrum_error_db": float(error.square().mean().sqrt()), "level_error_db": float(level)}
    print_result("mbd_steps", found)


def _coloured(white: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(torch.fft.rfft(white) * spectrum.sqrt(), LENGTH)


if __name__ == "__main__":
    main()
