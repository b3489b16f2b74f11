"""The language model with the projections of its conditions, as trained; ``training.export`` splits it into tensors.

All conditions are summed in, column by column, rather than attended to: that needs nothing to be learnt before it
works, costs nothing in a step, and lets every one of them change between two frames.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.starter_conditions import CHROMA_WIDTH, LEVEL_WIDTH, TRANSPORT_WIDTH
from soundforge.nn.starter_text import StarterTextEncoder
from soundforge.nn.transformer import DecoderLayer, SelfAttention
from training.fast_loss import HeadsCrossEntropy
from training.lm_data import LmBatch

CODEBOOK_WEIGHTS = (1.5, 1.2, 1.0, 0.9, 0.7, 0.7)


@dataclass(frozen=True, slots=True)
class StarterLmSizes:
    """Sizes of the trained model."""

    d_model: int = 256
    n_heads: int = 4
    n_layers: int = 6
    ffn_width: int = 1024
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
                "style": nn.Linear(2 * sizes.latent_width, d, bias=False),
                "level": nn.Linear(LEVEL_WIDTH, d, bias=False),
            }
        )
        # Beside embeddings of norm 4 per codebook and position codes of norm sqrt(d / 2), so that each is heard.
        for name, std in (("text", 0.06), ("transport", 0.25), ("chroma", 0.3), ("style", 0.03), ("level", 0.3)):
            nn.init.normal_(self.project[name].weight, std=std)  # type: ignore[arg-type]

    def fuse(self, batch: LmBatch) -> FusedInputs:
        """Conditions of a batch as the decoder takes them."""
        held = self.project["text"](self.text(batch.pieces))
        held = held + self.project["style"](batch.style) + self.project["level"](batch.level)
        summed = held[batch.section] + self.project["transport"](batch.transport) + self.project["chroma"](batch.chroma)
        return FusedInputs(sum=summed)

    def forward(self, batch: LmBatch) -> Tensor:
        """Logits ``[B, K, S, card]``."""
        logits: Tensor = self.lm(batch.inputs, self.fuse(batch))
        return logits

    def loss(self, batch: LmBatch) -> tuple[Tensor, Tensor]:
        """Weighted cross-entropy and, detached, the plain one per codebook ``[K]``; the decoder runs in bfloat16.

        Casting the weights once by hand rather than by autocast halves what every elementwise layer reads and writes.
        """
        low = {name: value.bfloat16() for name, value in self.lm.named_parameters()}
        summed = self.fuse(batch).sum
        assert summed is not None
        hidden = functional_call(_Hidden(self.lm), {f"lm.{n}": v for n, v in low.items()}, (batch.inputs, summed))
        targets = batch.targets.transpose(0, 1).flatten(1)
        weights = torch.tensor(CODEBOOK_WEIGHTS[: len(targets)])
        weights /= weights.sum()
        emphasis = beginnings(batch.section).flatten()
        heads = low["heads.weight"]
        losses: Tensor = HeadsCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden.flatten(0, 1), heads, targets, weights, emphasis
        )
        return (losses * weights).sum(), losses.detach()


def beginnings(section: Tensor, more: float = 1.5, columns: float = 25.0) -> Tensor:
    """``[B, S]``: 1, and up to ``more`` on top where a section begins: there conditions say most of what is known."""
    place = torch.arange(section.shape[1]).expand_as(section)
    new = torch.ones_like(section, dtype=torch.bool)
    new[:, 1:] = section[:, 1:] != section[:, :-1]
    age = place - torch.where(new, place, 0).cummax(dim=1).values
    return 1.0 + more * torch.exp(-age / columns)


class _Hidden(nn.Module):
    """The decoder up to its heads; attention is written out, the fused one takes twice as long in bfloat16 on CPUs."""

    def __init__(self, lm: LanguageModel) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, codes: Tensor, summed: Tensor) -> Tensor:
        """``[B, K, S]`` and ``[B, S, D]`` to ``[B, S, D]``."""
        x = self.lm._add_positions(self.lm._embed(codes, FusedInputs(sum=summed), 0), 0)
        unseen = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype).triu(1)
        for layer in self.lm.layers:
            assert isinstance(layer, DecoderLayer)
            x = x + _attend(layer.self_attn, layer.norm1(x), unseen)
            x = x + layer.linear2(F.gelu(layer.linear1(layer.norm2(x))))
        hidden: Tensor = self.lm.out_norm(x)
        return hidden


def _attend(attention: SelfAttention, x: Tensor, unseen: Tensor) -> Tensor:
    q, k, v = attention._project(x).flatten(1, 2).unbind(0)
    scores = torch.baddbmm(unseen.expand(len(q), -1, -1), q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    mixed = (scores.softmax(-1) @ v).view(x.shape[0], attention.n_heads, x.shape[1], -1)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(x.shape))
    return out
