"""The reverse diffusion of MultiBandDiffusion: noise schedule, the sub-sampled walk back, and its noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

DEFAULT_STEPS = 20
_NOISE_BLOCK = 1 << 15


@dataclass(frozen=True)
class NoiseSchedule:
    """How much noise each step adds; names as in the published configurations.

    Args:
        num_steps: N; step 0 has the least noise.
        beta_t0, beta_t1, beta_exp: variance of the first and the last step, and the power law between them.
        clip: bound of the samples after every step, 0 = none.
        noise_scale: factor of all noise.
    """

    num_steps: int = 1000
    beta_t0: float = 1e-4
    beta_t1: float = 0.02
    beta_exp: float = 1.0
    clip: float = 5.0
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.num_steps < 2 or not 0 < self.beta_t0 < 1 or not 0 < self.beta_t1 < 1 or self.beta_exp <= 0:
            raise ValueError(f"no usable noise schedule: {self.num_steps} steps, beta {self.beta_t0} to {self.beta_t1} "
                             f"with power {self.beta_exp}")

    @classmethod
    def from_published(cls, values: Mapping[str, Any]) -> NoiseSchedule:
        """From the entry `schedule` of a published configuration; what concerns training is left out."""
        if values.get("repartition", "power") != "power" or values.get("n_bands") is not None:
            raise ValueError("the noise schedule is of a kind that no published model has "
                             f"(repartition {values.get('repartition')!r}, n_bands {values.get('n_bands')!r})")
        given = {key: values[key] for key in cls.__dataclass_fields__ if values.get(key) is not None}
        return cls(**given)

    def betas(self) -> Tensor:
        """Variance added by each step, float32 `[num_steps]`."""
        low, high = self.beta_t0 ** (1 / self.beta_exp), self.beta_t1 ** (1 / self.beta_exp)
        return torch.linspace(low, high, self.num_steps, dtype=torch.float32) ** self.beta_exp


def step_list(num_steps: int, steps: int = DEFAULT_STEPS) -> list[int]:
    """`steps` evenly spaced steps from the noisiest down, and the 0 at which the walk ends unevaluated.

    Raises:
        ValueError: fewer than 1 or more than num_steps - 1 steps.
    """
    if not 1 <= steps < num_steps:
        raise ValueError(f"{steps} diffusion steps were asked for, expected 1 to {num_steps - 1}")
    return [num_steps - 1 - (index * num_steps) // steps for index in range(steps)] + [0]


class NoiseSource(Protocol):
    """Gives the noise of one band: `draw(0)` the initial one, `draw(1 + i)` what is added after evaluation i."""

    def __call__(self, index: int) -> Tensor: ...


class SeededNoise:
    """Gaussian noise that depends on seed, band, step and place alone.

    Drawn on the CPU in blocks of fixed length, each from its own seed: the same on every device, the same in
    windows that overlap, and a longer clip begins with the noise of a shorter one.

    Args:
        seeds: one per item of the batch.
        channels: C.
    """

    def __init__(self, seeds: Sequence[int], channels: int) -> None:
        self._seeds = list(seeds)
        self._channels = channels

    def draw(self, band: int, index: int, start: int, stop: int) -> Tensor:
        """Samples `start` to `stop` of the noise of one band and step: `[B, C, stop - start]`."""
        first, last = start // _NOISE_BLOCK, -(-stop // _NOISE_BLOCK)
        rows = []
        for seed in self._seeds:
            blocks = [self._block(seed, band, index, number) for number in range(first, last)]
            offset = start - first * _NOISE_BLOCK
            rows.append(torch.cat(blocks, dim=-1)[:, offset : offset + stop - start])
        return torch.stack(rows)

    def _block(self, seed: int, band: int, index: int, number: int) -> Tensor:
        state = _mixed(seed & (2**64 - 1))
        for part in (band, index, number):
            state = _mixed(state ^ part)
        generator = torch.Generator().manual_seed(state)
        return torch.randn(self._channels, _NOISE_BLOCK, generator=generator)


def _mixed(value: int) -> int:
    """SplitMix64's step: neighbouring numbers to unrelated ones, as seeds of independent draws must be."""
    value = (value + 0x9E3779B97F4A7C15) & (2**64 - 1)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return value ^ (value >> 31)


def denoise(estimate: Callable[[Tensor, int], Tensor], noise: NoiseSource, schedule: NoiseSchedule,
            steps: Sequence[int], *, after_step: Callable[[], None] | None = None) -> Tensor:
    """Walks from noise to a signal through the listed steps.

    What the reference does and is easy to get wrong: the first cumulative product runs over ALL steps, whichever
    step is listed first; the last listed step is never evaluated; noise is scaled where it starts, where it is
    estimated and where it is added.

    Args:
        estimate: `(x [B, C, n], step)` to the noise in it.
        noise: see `NoiseSource`; called len(steps) - 1 times.
        steps: strictly falling, at least 2.
        after_step: called before every evaluation (progress, cancel).

    Returns:
        `[B, C, n]` in the diffusion's scale.
    """
    betas = schedule.betas()
    alpha_bars = (1 - betas).cumprod(0)
    listed = alpha_bars[list(reversed(steps))]
    alphas = torch.cat([listed[:1], listed[1:] / listed[:-1]])
    alpha_bar = (1 - betas).prod()
    x = noise(0) * schedule.noise_scale
    for index, step in enumerate(steps[:-1]):
        if after_step is not None:
            after_step()
        found = estimate(x, step) * schedule.noise_scale
        alpha = alphas[-1 - index].item()
        x = (x - (1 - alpha) / (1 - alpha_bar.item()) ** 0.5 * found) / alpha**0.5
        if index < len(steps) - 2:
            next_bar = (1 - betas[: steps[index + 1] + 1]).prod()
            sigma2 = ((1 - next_bar) / (1 - alpha_bar)).item() * (1 - alpha)
            if sigma2 > 0:
                x = x + sigma2**0.5 * noise(1 + index) * schedule.noise_scale
            alpha_bar = next_bar
        if schedule.clip:
            x = x.clamp(-schedule.clip, schedule.clip)
    return x
