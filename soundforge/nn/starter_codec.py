"""The starter's codec network: 32 kHz mono, 50 frames a second, causal, no look-ahead in either direction.

It works on spectra instead of samples, so that two CPU cores run it many times faster than real time::

    samples  --160-->  spectrum of the last 320  --linear-->  blocks at 200 Hz  --4 to 1-->  blocks at 50 Hz  --> codes
    codes  -->  blocks at 50 Hz  --1 to 4-->  blocks at 200 Hz  -->  spectrum  --overlap-add of 320-->  samples

Frame ``t`` of the codes depends on samples before ``640 (t + 1)`` only, and gives the final samples up to there: block
``j`` of 160 samples is the second half of spectrum ``j - 1`` plus the first half of spectrum ``j``, both known by then.

All sequences are ``[B, T, C]``. Every layer takes and returns its state (the frames it still needs), and starting from
zeros IS the one-shot computation; so streaming equals one-shot for any chunking.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HOP = 160  # samples between spectra (200 Hz)
WINDOW = 320  # samples under one spectrum
BINS = WINDOW // 2 + 1
STRIDE = 4  # spectra per frame
State = list[Tensor]


@dataclass(frozen=True)
class StarterCodecConfig:
    """Sizes of the network; ``from_dict`` ignores unknown keys of a configuration file."""

    sample_rate: int = 32_000
    n_codebooks: int = 6
    codebook_size: int = 1024
    latent_width: int = 64
    fast_width: int = 192  # channels at 200 Hz
    slow_width: int = 384  # channels at 50 Hz
    encoder_fast_blocks: int = 2
    encoder_slow_blocks: int = 3
    decoder_slow_blocks: int = 3
    decoder_fast_blocks: int = 3
    head_width: int = 512
    kernel: int = 5
    expansion: int = 2

    @property
    def hop_length(self) -> int:
        """Samples per frame of codes."""
        return HOP * STRIDE

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


class StarterCodecNet(nn.Module):
    """Encoder, quantiser and decoder. ``encode_latent`` and ``decode_latent`` are what training sees."""

    analysis_window: Tensor
    synthesis_window: Tensor

    def __init__(self, config: StarterCodecConfig) -> None:
        super().__init__()
        self.config = c = config
        # The analysis window falls within 40 samples: the newest samples must be seen, there is no later look at them.
        rise = torch.sin(torch.linspace(0, torch.pi / 2, WINDOW - 40)) ** 2
        fall = torch.cos(torch.linspace(0, torch.pi / 2, 40)) ** 2
        self.register_buffer("analysis_window", torch.cat([rise, fall]), persistent=False)
        self.register_buffer("synthesis_window", torch.hann_window(WINDOW, periodic=True), persistent=False)
        self.encoder_in = nn.Linear(2 * BINS, c.fast_width)
        self.encoder_fast = CausalStack(c.fast_width, c.encoder_fast_blocks, c.kernel, c.expansion)
        self.encoder_down = nn.Linear(STRIDE * c.fast_width, c.slow_width)
        self.encoder_slow = CausalStack(c.slow_width, c.encoder_slow_blocks, c.kernel, c.expansion)
        self.encoder_norm = nn.LayerNorm(c.slow_width)
        self.encoder_out = nn.Linear(c.slow_width, c.latent_width)
        self.quantiser = ResidualQuantiser(c.n_codebooks, c.codebook_size, c.latent_width)
        self.decoder_in = nn.Linear(c.latent_width, c.slow_width)
        self.decoder_slow = CausalStack(c.slow_width, c.decoder_slow_blocks, c.kernel, c.expansion)
        self.decoder_up = nn.Linear(c.slow_width, STRIDE * c.fast_width)
        self.decoder_fast = CausalStack(c.fast_width, c.decoder_fast_blocks, c.kernel, c.expansion)
        self.decoder_norm = nn.LayerNorm(c.fast_width)
        self.head_in = nn.Linear(c.fast_width, c.head_width)
        self.head_out = nn.Linear(c.head_width, 2 * BINS)

    def spectra(self, samples: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Samples [B, n * 160] -> root-compressed complex spectra [B, n, 2 * 161] and the last 160 samples."""
        if past is None:
            past = samples.new_zeros(samples.shape[0], WINDOW - HOP)
        padded = torch.cat([past, samples], dim=1)
        spectrum = torch.fft.rfft(padded.unfold(1, WINDOW, HOP) * self.analysis_window, norm="ortho")
        # X / sqrt|X|: a range of 60 dB becomes 30 dB, the phase stays
        magnitude = spectrum.abs().clamp_min(1e-8)
        parts = torch.view_as_real(spectrum / magnitude.sqrt())
        return parts.flatten(-2), padded[:, padded.shape[1] - (WINDOW - HOP) :]

    def encode_latent(self, samples: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Samples [B, n * 640] -> latents before quantisation [B, n, D] and the new state."""
        state = state or [None, None, None]
        x, past = self.spectra(samples, state[0])
        x, fast = self.encoder_fast(self.encoder_in(x), state[1])
        x = self.encoder_down(x.reshape(x.shape[0], x.shape[1] // STRIDE, -1))
        x, slow = self.encoder_slow(x, state[2])
        return self.encoder_out(self.encoder_norm(x)), [past, fast, slow]

    def decode_latent(self, latent: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Latents [B, n, D] -> final samples [B, n * 640] and the new state."""
        state = state or [None, None, None]
        x, slow = self.decoder_slow(self.decoder_in(latent), state[0])
        x = self.decoder_up(x)
        x, fast = self.decoder_fast(x.reshape(x.shape[0], x.shape[1] * STRIDE, -1), state[1])
        x = self.head_out(F.gelu(self.head_in(self.decoder_norm(x)))).float()
        re, im = x.unflatten(-1, (BINS, 2)).unbind(-1)
        loudness = torch.sqrt(re * re + im * im + 1e-12)  # undo the root: Y |Y|
        frames = torch.fft.irfft(torch.complex(re * loudness, im * loudness), n=WINDOW, norm="ortho")
        frames = frames * self.synthesis_window
        tail = frames.new_zeros(frames.shape[0], 1, HOP) if state[2] is None else state[2]
        heads, tails = frames[..., :HOP], frames[..., HOP:]
        blocks = heads + torch.cat([tail, tails[:, :-1]], dim=1)
        return blocks.flatten(1), [slow, fast, tails[:, -1:]]

    @torch.inference_mode()
    def encode(self, samples: Tensor, state: list[Any] | None = None, n_codebooks: int | None = None) -> tuple[Tensor, list[Any]]:
        """Samples [B, n * 640] -> codes int64 [B, K, n] and the new state."""
        latent, state = self.encode_latent(samples, state)
        return self.quantiser.encode(latent, n_codebooks), state

    @torch.inference_mode()
    def decode(self, codes: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Codes [B, K, n] -> final samples [B, n * 640] and the new state."""
        return self.decode_latent(self.quantiser.decode(codes), state)
