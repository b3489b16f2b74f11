"""Stage 4c: ``python -m training.recall`` teaches which sounds a text means, and keeps pieces to recall them from.

Takes the text encoder of the language model as it is. Texts and style summaries of the same pieces are drawn together,
those of different pieces apart; which of its words are heard in a summary (instruments and drums, not the key) shows in
training.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.starter_recall import Meeting, StyleMemory
from soundforge.nn.starter_text import StarterTextEncoder, pad_tokens
from training.cache import RUNS
from training.clock import save_checkpoint
from training.codec import CHECKPOINT as CODEC
from training.codec import load_codec
from training.lm import CHECKPOINT as LM
from training.lm import load_lm
from training.lm_data import LmData
from training.tokenise import TOKENS

CHECKPOINT = RUNS / "recall.pt"
CAPTIONS, EXCERPTS = 16, 4
WATCHED = 20
"""Every so many-th piece is left out of training and watched."""


@torch.inference_mode()
def captions_of(data: LmData, encoder: StarterTextEncoder) -> Tensor:
    """Vectors of random captions ``[pieces, CAPTIONS, W]``."""
    rows = range(len(data.pieces))
    blocks = [rows[start : start + 64] for start in rows[::64]]
    return torch.cat([
        encoder(pad_tokens([data.caption_pieces(row) for row in block for _ in range(CAPTIONS)])).unflatten(
            0, (len(block), CAPTIONS)
        )
        for block in blocks
    ])  # fmt: skip


def styles_of(data: LmData) -> Tensor:
    """Style summaries of random excerpts ``[pieces, EXCERPTS, S]``."""
    return torch.stack([
        torch.stack([data.style(row) for _ in range(EXCERPTS)]) for row in range(len(data.pieces))
    ])  # fmt: skip


def harmony_of(data: LmData) -> Tensor:
    """Shares of the pitch classes in each piece, as heard ``[pieces, 12]``."""
    heard = torch.from_numpy(data.heard.mean(axis=1, dtype=np.float32))
    return heard / (heard.sum(1, keepdim=True) + 1e-6)


def without_harmony(styles: Tensor, harmony: Tensor, ridge: float = 0.01) -> Tensor:
    """Style summaries ``[N, S]`` without the directions that tell the pitch classes ``[N, 12]`` best, by regression.

    A piece is recalled for its sound, in whatever key it was; with its harmony a key that is asked for is missed.
    """
    mean, spread = styles.mean(0), styles.std(0) + 1e-6
    bare = (styles - mean) / spread
    apart = harmony - harmony.mean(0)
    weights = torch.linalg.solve(bare.T @ bare + ridge * len(bare) * torch.eye(bare.shape[1]), bare.T @ apart)
    directions = torch.linalg.svd(weights, full_matrices=False)[0]
    out: Tensor = (bare - bare @ directions @ directions.T) * spread + mean
    return out


class RecallTrainer:
    """Contrastive training of both ways into the common space; ``texts`` and ``styles`` as above."""

    def __init__(self, texts: Tensor, styles: Tensor, steps: int, *, width: int = 64, rate: float = 2e-3) -> None:
        self.texts, self.styles, self.steps, self.rate = texts, styles, steps, rate
        self.generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.text = Meeting(texts.shape[-1], width)
        self.style = Meeting(styles.shape[-1], width)
        self.sharpness = nn.Parameter(torch.tensor(2.0))  # its logarithm
        self.mean, self.spread = styles.mean((0, 1)), styles.std((0, 1)) + 1e-6
        parameters = [*self.text.parameters(), *self.style.parameters(), self.sharpness]
        self.optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.1)
        watched = torch.arange(len(texts)) % WATCHED == 0
        self.learnt, self.watched = (~watched).nonzero().flatten(), watched.nonzero().flatten()

    def loss(self, rows: Tensor, noise: float = 0.0) -> Tensor:
        """Cross-entropy of finding the own style among all of ``rows``, and the own text."""
        captions = torch.randint(self.texts.shape[1], rows.shape, generator=self.generator)
        excerpts = torch.randint(self.styles.shape[1], rows.shape, generator=self.generator)
        styles = (self.styles[rows, excerpts] - self.mean) / self.spread
        styles = styles + noise * torch.randn(styles.shape, generator=self.generator)
        likeness = self.sharpness.exp() * self.text(self.texts[rows, captions]) @ self.style(styles).T
        own = torch.arange(len(rows))
        return (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2

    def train(self, batch: int = 512) -> list[float]:
        """All steps, and their losses; prints how well pieces that are not learnt from find each other."""
        losses = []
        for step in range(self.steps):
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))
            order = torch.randperm(len(self.learnt), generator=self.generator)[:batch]
            loss = self.loss(self.learnt[order], noise=0.3)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(float(loss.detach()))
            if (step + 1) % 100 == 0:
                with torch.no_grad():
                    seen = float(self.loss(self.watched))
                chance = math.log(len(self.watched))
                print(f"step {step + 1} loss {losses[-1]:.3f} watched {seen:.3f} of {chance:.2f}", flush=True)
        return losses

    @torch.no_grad()
    def memory(self, entries: int, harmony: Tensor) -> StyleMemory:
        """The last ``entries`` pieces (the barest come last) with their first excerpts; ``harmony`` of all pieces."""
        styles = self.styles[-entries:, 0]
        memory = StyleMemory(len(styles), self.texts.shape[-1], styles.shape[-1], self.text.down.out_features)
        memory.query.load_state_dict(self.text.state_dict())
        memory.keys.copy_(self.style((styles - self.mean) / self.spread))
        memory.styles.copy_(without_harmony(styles, harmony[-entries:]))
        memory.sharpness.copy_(self.sharpness.exp())
        return memory.eval()


def load_recall(path: Path = CHECKPOINT) -> StyleMemory:
    """The memory of a checkpoint."""
    return StyleMemory.of(torch.load(path, weights_only=True)["memory"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", type=Path, default=LM)
    parser.add_argument("--codec", type=Path, default=CODEC)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--entries", type=int, default=4000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_lm(arguments.lm).text.eval()
    data = LmData(TOKENS, load_codec(arguments.codec).quantiser, 450, 4, seed=5)
    trainer = RecallTrainer(captions_of(data, encoder), styles_of(data), arguments.steps)
    trainer.train()
    save_checkpoint(arguments.checkpoint, {"memory": trainer.memory(arguments.entries, harmony_of(data)).state_dict()})


if __name__ == "__main__":
    main()
