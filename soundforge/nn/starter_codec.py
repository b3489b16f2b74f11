"""The starter's codec network: 32 kHz mono, 50 frames a second, causal, no look-ahead in either direction.

Its codes say how loud each pitch and each band of noise is, never what phase it has; so the same music gives nearly
the same codes wherever the frame grid falls, which is what a language model can learn from::

    samples  -->  levels: 4 short spectra and 3 long ones per frame  -->  causal blocks at 50 Hz  -->  codes
    codes  -->  causal blocks at 50 Hz  --1 to 4-->  blocks at 200 Hz  -->  levels of oscillators and of noise bands

The sound is a bank of oscillators on a fixed musical grid (36 to 60 per octave) plus noise filtered in bands (after
DDSP, Engel et al. 2020). Frame ``t`` of the codes depends on samples before ``640 (t + 1)`` only, and gives the final
samples up to there: levels of block ``j`` (160 samples) are reached by its end, coming from those of block ``j - 1``.

Sequences are ``[B, T, C]``. Every layer takes and returns its state, and starting from nothing IS the one-shot
computation; so streaming equals one-shot for any chunking.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundforge.nn.starter_synth import BLOCK, STRIDE, HarmonicNoiseSynth, LevelAnalysis, control_for

State = list[Tensor]


@dataclass(frozen=True)
class StarterCodecConfig:
    """Sizes of the network; ``from_dict`` ignores unknown keys of a configuration file."""

    sample_rate: int = 32_000
    n_codebooks: int = 6
    codebook_size: int = 1024
    latent_width: int = 48
    fast_width: int = 256  # channels at 200 Hz
    slow_width: int = 384  # channels at 50 Hz
    encoder_blocks: int = 3
    decoder_slow_blocks: int = 3
    decoder_fast_blocks: int = 2
    kernel: int = 5
    expansion: int = 2

    @property
    def hop_length(self) -> int:
        """Samples per frame of codes."""
        return BLOCK * STRIDE

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StarterCodecConfig:
        """Builds a configuration from plain values."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class CausalBlock(nn.Module):
    """Depthwise causal convolution over time, then a per-frame MLP; residual, scaled to start near identity."""

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.mix = nn.Parameter(torch.randn(kernel, width) / kernel**0.5)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """``x`` [B, T, C] and the last ``kernel - 1`` frames before it -> output [B, T, C] and the new past."""
        if past is None:
            past = x.new_zeros(x.shape[0], self.kernel - 1, x.shape[2])
        padded = torch.cat([past, x], dim=1)
        frames = x.shape[1]
        # A few shifted products: much faster on a CPU than a grouped convolution with channels last.
        mixed = padded[:, :frames] * self.mix[0]
        for tap in range(1, self.kernel):
            mixed = torch.addcmul(mixed, padded[:, tap : tap + frames], self.mix[tap].to(mixed.dtype))
        hidden = self.down(F.gelu(self.up(self.norm(mixed))))
        return x + self.scale * hidden, padded[:, frames:]


class CausalStack(nn.Module):
    """Blocks one after another; their states are a list."""

    def __init__(self, width: int, blocks: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width, kernel, expansion) for _ in range(blocks))

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """``x`` [B, T, C] -> the same shape and the new state (None = start of the stream)."""
        new_state: State = []
        for index, block in enumerate(self.blocks):
            x, past = block(x, None if state is None else state[index])
            new_state.append(past)
        return x, new_state


class ResidualQuantiser(nn.Module):
    """Nearest entries, codebook after codebook, each on what the ones before left over."""

    codebooks: Tensor

    def __init__(self, n_codebooks: int, codebook_size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.randn(n_codebooks, codebook_size, width) * 0.1)

    def encode(self, latent: Tensor, n_codebooks: int | None = None) -> Tensor:
        """``latent`` [B, T, D] -> codes int64 [B, K, T]."""
        residual = latent.float()
        codes = []
        for book in self.codebooks[: n_codebooks or len(self.codebooks)].float():
            # |r - e|^2 without |r|^2, which is the same for every entry
            distance = (book * book).sum(-1) - 2.0 * (residual @ book.T)
            index = distance.argmin(-1)
            residual = residual - book[index]
            codes.append(index)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] -> the sum of their entries [B, T, D]."""
        latent = F.embedding(codes[:, 0], self.codebooks[0])
        for k in range(1, codes.shape[1]):
            latent = latent + F.embedding(codes[:, k], self.codebooks[k])
        return latent


class Sharpen(nn.Module):
    """Blurred spectra on the pitch grid to oscillator controls: one small filter along frequency for all pitches."""

    def __init__(self, spectra: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(spectra, width, 9, padding=4)
        self.second = nn.Conv1d(width, width, 9, padding=4)
        self.last = nn.Conv1d(width, 1, 5, padding=2)

    def forward(self, levels: Tensor) -> Tensor:
        """Levels [B, n, S, K] -> controls [B, n, K]."""
        flat = levels.flatten(0, 1)
        x = F.gelu(self.first(flat))
        x = self.last(F.gelu(self.second(x)))[:, 0]
        # The loudest of the windows is a fair first guess of a tone's level.
        controls: Tensor = control_for(flat.amax(1)) + x
        return controls.view(levels.shape[0], levels.shape[1], -1)


class StarterCodecNet(nn.Module):
    """Encoder, quantiser and decoder. ``encode_latent`` and ``decode_latent`` are what training sees."""

    def __init__(self, config: StarterCodecConfig) -> None:
        super().__init__()
        self.config = c = config
        self.analysis = LevelAnalysis(c.sample_rate)
        self.encoder_in = nn.Linear(self.analysis.width, c.slow_width)
        self.encoder_blocks = CausalStack(c.slow_width, c.encoder_blocks, c.kernel, c.expansion)
        self.encoder_norm = nn.LayerNorm(c.slow_width)
        self.encoder_out = nn.Linear(c.slow_width, c.latent_width)
        # Training starts this path at the principal components of the levels. Without it the latent shrank to loudness
        # and brightness within a few hundred steps, and pitch was lost.
        self.encoder_direct = nn.Linear(self.analysis.width, c.latent_width)
        self.quantiser = ResidualQuantiser(c.n_codebooks, c.codebook_size, c.latent_width)
        self.decoder_in = nn.Linear(c.latent_width, c.slow_width)
        self.decoder_slow = CausalStack(c.slow_width, c.decoder_slow_blocks, c.kernel, c.expansion)
        self.decoder_up = nn.Linear(c.slow_width, STRIDE * c.fast_width)
        self.decoder_fast = CausalStack(c.fast_width, c.decoder_fast_blocks, c.kernel, c.expansion)
        self.decoder_norm = nn.LayerNorm(c.fast_width)
        self.synth = HarmonicNoiseSynth(c.sample_rate)
        # First what the analysis would measure, then controls from it: trained alone, the first half learns fast.
        self.level_head = nn.Linear(c.slow_width, self.analysis.width)
        self.sharpen = Sharpen(len(self.analysis.first_read), 16)
        self.head = nn.Linear(c.fast_width, self.synth.width)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.constant_(self.head.bias, -0.7)  # start quiet

    def encode_latent(self, samples: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Samples [B, n * 640] -> latents before quantisation [B, n, D] and the new state."""
        state = state or [None, None]
        levels, past = self.analysis(samples, state[0])
        latent, blocks = self.encode_levels(levels, state[1])
        return latent, [past, blocks]

    def encode_levels(self, levels: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Levels [B, n, W] -> latents [B, n, D] and the new state of the blocks."""
        x, blocks = self.encoder_blocks(self.encoder_in(levels), state)
        return self.encoder_direct(levels) + self.encoder_out(self.encoder_norm(x)), blocks

    def decode_features(self, latent: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Latents [B, n, D] -> features at 50 Hz [B, n, C] and the new state of the slow stack."""
        x, slow = self.decoder_slow(self.decoder_in(latent), state)
        return x, slow

    def decode_controls(self, features: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Features at 50 Hz -> controls of the synthesiser [B, 4 n, W] and the new state of the fast stack."""
        levels = self.level_head(features)
        tones = self.sharpen(self.analysis.on_grid(levels)).repeat_interleave(STRIDE, dim=1)
        direct = torch.cat([tones, control_for(self.analysis.by_block(levels))], dim=-1)
        x = self.decoder_up(features)
        x, fast = self.decoder_fast(x.reshape(x.shape[0], x.shape[1] * STRIDE, -1), state)
        return direct + self.head(self.decoder_norm(x)), fast

    def decode_latent(self, latent: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Latents [B, n, D] -> final samples [B, n * 640] and the new state."""
        state = state or [None, None, None]
        features, slow = self.decode_features(latent, state[0])
        controls, fast = self.decode_controls(features, state[1])
        samples, synth = self.synth(controls.float(), state[2])
        return samples, [slow, fast, synth]

    @torch.inference_mode()
    def encode(
        self, samples: Tensor, state: list[Any] | None = None, n_codebooks: int | None = None
    ) -> tuple[Tensor, list[Any]]:
        """Samples [B, n * 640] -> codes int64 [B, K, n] and the new state."""
        latent, state = self.encode_latent(samples, state)
        return self.quantiser.encode(latent, n_codebooks), state

    @torch.inference_mode()
    def decode(self, codes: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Codes [B, K, n] -> final samples [B, n * 640] and the new state."""
        return self.decode_latent(self.quantiser.decode(codes), state)
