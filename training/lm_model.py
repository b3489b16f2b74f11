"""The language model with the projections of its conditions, as trained; ``training.export`` splits it into tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.starter_conditions import CHROMA_WIDTH, TRANSPORT_WIDTH
from soundforge.nn.starter_text import StarterTextEncoder
from training.lm_data import LmBatch

CODEBOOK_WEIGHTS = (1.5, 1.2, 1.0, 0.9, 0.7, 0.7)


@dataclass(frozen=True, slots=True)
class StarterLmSizes:
    """Sizes of the trained model."""

    d_model: int = 192
    n_heads: int = 4
    n_layers: int = 5
    ffn_width: int = 768
    n_codebooks: int = 4
    card: int = 1024
    text_width: int = 128
    latent_width: int = 48

    def lm_config(self) -> LanguageModelConfig:
        """The configuration of the decoder alone."""
        return LanguageModelConfig(
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            n_codebooks=self.n_codebooks,
            card=self.card,
            ffn_width=self.ffn_width,
            cross_attention=True,
        )

    def to_dict(self) -> dict[str, int]:
        """Fit for JSON."""
        return asdict(self)


class StarterLm(nn.Module):
    """Decoder, text encoder, one bias-free projection per slot (a null condition stays exactly zero)."""

    def __init__(self, sizes: StarterLmSizes) -> None:
        super().__init__()
        self.sizes = sizes
        d = sizes.d_model
        self.lm = LanguageModel(sizes.lm_config())
        self.text = StarterTextEncoder(sizes.text_width)
        self.project = nn.ModuleDict(
            {
                "text": nn.Linear(sizes.text_width, d, bias=False),
                "transport": nn.Linear(TRANSPORT_WIDTH, d, bias=False),
                "chroma": nn.Linear(CHROMA_WIDTH, d, bias=False),
                "style": nn.Linear(sizes.latent_width, d, bias=False),
            }
        )
        nn.init.normal_(self._weight("transport"), std=0.25)
        nn.init.normal_(self._weight("chroma"), std=0.2)

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = self.project[name].weight  # type: ignore[assignment]
        return weight

    def fuse(self, batch: LmBatch) -> FusedInputs:
        """Conditions of a batch as the decoder takes them."""
        features, mask = self.text(batch.pieces)
        cross = self.project["text"](features) * mask[..., None]
        summed = self.project["transport"](batch.transport) + self.project["chroma"](batch.chroma)
        style = None if batch.style is None else self.project["style"](batch.style)
        return FusedInputs(prepend=style, cross=cross, cross_mask=mask, sum=summed)

    def loss(self, batch: LmBatch) -> tuple[Tensor, Tensor]:
        """Weighted cross-entropy and, detached, the plain one per codebook ``[K]``."""
        logits = self.lm(batch.inputs, self.fuse(batch))
        losses = torch.stack(
            [
                # unbind, not logits[:, k]: the gradient of each index would be a zero-filled copy of everything
                F.cross_entropy(row.flatten(0, 1).float(), target.flatten(), ignore_index=-100)
                for row, target in zip(logits.unbind(1), batch.targets.unbind(1), strict=True)
            ]
        )
        weights = losses.new_tensor(CODEBOOK_WEIGHTS[: len(losses)])
        return (losses * weights).sum() / weights.sum(), losses.detach()
