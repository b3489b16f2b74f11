"""JASCO's network (Tal et al. 2024): the vector field that carries noise to codec latents.

Conditions in time (chords, drums, melody) stand beside the noisy latents, frame by frame; the text is attended to,
with the time of the flow added to each of its vectors, padded and null ones included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from soundforge.nn.flow_layers import WholeLayer, add_positions, whole_layer
from soundforge.nn.language_model import LanguageModelConfig

TEMPORAL = ("chords", "drums", "melody")
"""Order in which the conditions in time stand beside the latents."""


@dataclass(frozen=True)
class JascoConfig:
    """Shape of the network.

    Args:
        layers: width, heads and number of the transformer's layers (its codebooks mean nothing here).
        flow_dim: width of the latents.
        condition_dims: width of each condition in time that the checkpoint has, by name.
        time_dim: width of the embedding of the flow's time.
        skip_connections: layers of the second half also get what the first half gave, last to first.
        bias_out: the output projection has a bias.
    """

    layers: LanguageModelConfig
    flow_dim: int
    condition_dims: Mapping[str, int]
    time_dim: int = 128
    skip_connections: bool = False
    bias_out: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.condition_dims) - set(TEMPORAL))
        if unknown or self.flow_dim < 1 or self.time_dim < 4:
            raise ValueError(f"flow_dim {self.flow_dim}, time_dim {self.time_dim}, conditions "
                             f"{sorted(self.condition_dims)}: expected positive widths and {', '.join(TEMPORAL)}")
        if self.skip_connections and self.layers.n_layers % 2:
            raise ValueError(f"{self.layers.n_layers} layers came with skip connections, expected an even number")


class JascoNetwork(nn.Module):
    """`forward` gives the vector field; see `JascoConfig`."""

    def __init__(self, config: JascoConfig) -> None:
        super().__init__()
        width = config.layers.d_model
        self.config = config
        self.emb = nn.Linear(config.flow_dim + sum(config.condition_dims.values()), width, bias=False)
        self.layers = nn.ModuleList(whole_layer(config.layers) for _ in range(config.layers.n_layers))
        n_skips = config.layers.n_layers // 2 if config.skip_connections else 0
        self.skip_projections = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(n_skips))
        self.out_norm = nn.LayerNorm(width, eps=config.layers.norm_eps)
        self.linear = nn.Linear(width, config.flow_dim, bias=config.bias_out)
        self.time_in = nn.Linear(config.time_dim, 4 * config.time_dim)
        self.time_hidden = nn.Linear(4 * config.time_dim, 4 * config.time_dim)
        self.time_out = nn.Linear(4 * config.time_dim, width)

    def beside(self, conditions: Mapping[str, Tensor], n_frames: int) -> Tensor | None:
        """Conditions in time `[B, L, W]` by name, side by side as `[B, n_frames, sum of widths]`.

        Those that are shorter end in zero vectors (not in the null condition): so the reference aligns them.
        """
        columns = []
        for name in TEMPORAL:
            if name in self.config.condition_dims:
                values = conditions[name][:, :n_frames]
                columns.append(nn.functional.pad(values, (0, 0, 0, n_frames - values.shape[1])))
        return torch.cat(columns, dim=-1) if columns else None

    def forward(self, latents: Tensor, time: Tensor, beside: Tensor | None, text: Tensor) -> Tensor:
        """The vector field.

        Args:
            latents: `[B, T, flow_dim]`.
            time: scalar tensor, 0 (noise) to 1 (music).
            beside: from `beside`, `[B, T, ...]`.
            text: projected descriptions `[B, L, d_model]`, zero where padded or null.

        Returns:
            `[B, T, flow_dim]`.
        """
        x = self.emb(latents if beside is None else torch.cat([latents, beside], dim=-1))
        attended = text + self.time_out(self._embedded(time)).view(1, 1, -1)
        x = add_positions(x, self.config.layers.max_period)
        half = len(self.layers) // 2
        skips: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, WholeLayer) and layer.cross_attn is not None
            if skips and index >= half:
                x = self.skip_projections[index % half](torch.cat([x, skips.pop()], dim=-1))
            x = layer.whole(x, layer.cross_attn.keys_values(attended))
            if self.config.skip_connections and index < half:
                skips.append(x)
        return self.linear(self.out_norm(x))  # type: ignore[no-any-return]

    def _embedded(self, time: Tensor) -> Tensor:
        """A scalar time to `[4 * time_dim]`: sines, then cosines, then two layers."""
        half = self.config.time_dim // 2
        rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000) / (half - 1))).to(time.device)
        phase = time.float().reshape(1) * rates
        waves = torch.cat([phase.sin(), phase.cos()])
        waves = nn.functional.pad(waves, (0, self.config.time_dim - waves.shape[0])).to(self.time_in.weight.dtype)
        return self.time_hidden(nn.functional.silu(self.time_in(waves)))  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.out_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.out_norm.weight.dtype
