"""The U-Net of MultiBandDiffusion (San Roman et al. 2023): noisy waveform, step and codec latents to the noise.

Strided convolutions with residual units on the way down, a small post-norm transformer (or a BiLSTM) in the
middle, where the codec's latents are added, and their mirror image with skips on the way up. Names of parameters
are those of the published files, so a state dictionary fits as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.mbd_middle import HEADS, BiLstm, MiddleTransformer, positions_like


@dataclass(frozen=True)
class UnetConfig:
    """Shape of the network; names as in the published configurations.

    Args:
        channels: audio channels.
        num_steps: diffusion steps, each with its embedding.
        hidden: channels behind the first convolution; times `growth` per level, at most `max_channels`.
        depth: levels.
        res_blocks: residual units per level, the j-th with dilation `2 ** j`.
        norm_groups: of the group normalisation.
        kernel, stride: of the strided convolutions.
        emb_all_layers: every level has an embedding of the step, not the first alone.
        bilstm, transformer: what stands in the middle; neither = nothing passes there but the skips.
        cross_attention: latents are attended to rather than added.
        codec_dim: width of the codec's latents, None = unconditional.
    """

    channels: int = 1
    num_steps: int = 1000
    hidden: int = 24
    depth: int = 3
    res_blocks: int = 1
    norm_groups: int = 4
    kernel: int = 4
    stride: int = 2
    growth: float = 2.0
    max_channels: int = 10_000
    emb_all_layers: bool = False
    bilstm: bool = False
    transformer: bool = False
    cross_attention: bool = False
    codec_dim: int | None = None

    @classmethod
    def from_published(cls, values: Mapping[str, Any], channels: int, num_steps: int) -> UnetConfig:
        """From the entry `diffusion_unet` of a published configuration (dropout means nothing here)."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known - {"dropout"})
        if unknown:
            raise ValueError(f"diffusion_unet has unknown keys {', '.join(map(str, unknown))}")
        given = {key: value for key, value in values.items() if key in known}
        return cls(**{**given, "channels": channels, "num_steps": num_steps})

    def widths(self) -> list[int]:
        """Channels behind each level, outermost first."""
        out = [self.hidden]
        while len(out) < self.depth:
            out.append(min(int(out[-1] * self.growth), self.max_channels))
        return out


class _ResidualUnit(nn.Module):
    def __init__(self, channels: int, groups: int, dilation: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(h)))  # type: ignore[no-any-return]


def _residual_units(channels: int, config: UnetConfig) -> nn.Sequential:
    return nn.Sequential(*[_ResidualUnit(channels, config.norm_groups, 2**j) for j in range(config.res_blocks)])


class _Down(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, config: UnetConfig) -> None:
        super().__init__()
        padding = (config.kernel - config.stride) // 2
        self.conv = nn.Conv1d(channels_in, channels_out, config.kernel, config.stride, padding, bias=False)
        self.norm = nn.GroupNorm(config.norm_groups, channels_out)
        self.res_blocks = _residual_units(channels_out, config)
        self.stride = config.stride

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, -x.shape[-1] % self.stride))
        return self.res_blocks(F.relu(self.norm(self.conv(x))))  # type: ignore[no-any-return]


class _Up(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, config: UnetConfig) -> None:
        super().__init__()
        padding = (config.kernel - config.stride) // 2
        self.res_blocks = _residual_units(channels_in, config)
        self.norm = nn.GroupNorm(config.norm_groups, channels_in)
        self.convtr = nn.ConvTranspose1d(channels_in, channels_out, config.kernel, config.stride, padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.convtr(F.relu(self.norm(self.res_blocks(x))))  # type: ignore[no-any-return]


class DiffusionUnet(nn.Module):
    """Estimates the noise in a waveform; see the module's text.

    Raises:
        ValueError: the width in the middle cannot be split over the attention heads.
    """

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths()
        outer = [config.channels, *widths[:-1]]
        self.encoders = nn.ModuleList(_Down(a, b, config) for a, b in zip(outer, widths, strict=True))
        self.decoders = nn.ModuleList(_Up(b, a, config) for a, b in reversed([*zip(outer, widths, strict=True)]))
        self.embedding = nn.Embedding(config.num_steps, widths[0])
        inner = widths[1:] if config.emb_all_layers else []
        self.embeddings = nn.ModuleList(nn.Embedding(config.num_steps, w) for w in inner)
        middle = widths[-1]
        if config.transformer and middle % HEADS:
            raise ValueError(f"the width in the middle is {middle}, expected a multiple of {HEADS} attention heads")
        cross = config.transformer and config.cross_attention
        self.bilstm = BiLstm(middle) if config.bilstm else None
        self.transformer = MiddleTransformer(middle, cross) if config.transformer else None
        self.conv_codec = None if config.codec_dim is None else nn.Conv1d(config.codec_dim, middle, 1)

    def forward(self, x: Tensor, step: int, condition: Tensor | None = None) -> Tensor:
        """The noise in `x`.

        Args:
            x: `[B, C, n]`, any n >= 1.
            step: 0 .. num_steps - 1.
            condition: the codec's latents `[B, codec_dim, T]`, needed when the model was built for them.

        Returns:
            `[B, C, n]`.
        """
        z = x
        skips = []
        at = torch.tensor([step], device=x.device)
        for level, encoder in enumerate(self.encoders):
            z = encoder(z)
            if level == 0:
                z = z + self.embedding(at)[:, :, None]
            elif len(self.embeddings):
                z = z + self.embeddings[level - 1](at)[:, :, None]
            skips.append(z)
        z, source = self._conditioned(z, condition)
        # The reference adds the latents in place, so the innermost skip carries them too; the weights expect it.
        skips[-1] = z
        z = self._middle(z, source)
        for decoder in self.decoders:
            skip = skips.pop()
            z = decoder(z[:, :, : skip.shape[-1]] + skip)
        return z[:, :, : x.shape[-1]]

    def _conditioned(self, z: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """`z` with the latents added, and what is attended to."""
        if self.conv_codec is None:
            return z, None
        if condition is None:
            raise ValueError("the diffusion model needs the codec's latents, and none came")
        projected = self.conv_codec(condition)
        if self.config.transformer and self.config.cross_attention:
            source = projected.transpose(1, 2)
            return z, source + positions_like(source)
        return z + F.interpolate(projected, z.shape[-1]), None

    def _middle(self, z: Tensor, source: Tensor | None) -> Tensor:
        if self.transformer is not None:
            return self.transformer(z.transpose(1, 2), source).transpose(1, 2)  # type: ignore[no-any-return]
        return torch.zeros_like(z) if self.bilstm is None else self.bilstm(z)
