"""Stage 4a: ``python -m training.text --minutes 3`` teaches the text encoder what captions say, before any music.

From the pooled vector of a caption, linear heads read what the caption mentions and that it is silent on the rest.
The language model then finds "no drums" or "dark" as one direction, instead of learning words through a thousand tokens
of music per caption.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundforge.nn.starter_text import StarterTextEncoder, pad_tokens, tokenise
from training.cache import RUNS
from training.captions import Mentioned, describe
from training.clock import WallClock, save_checkpoint
from training.compose import compose
from training.piece import SCALES, Piece
from training.styles import STYLES

CHECKPOINT = RUNS / "text.pt"
_STYLES = [style.name for style in STYLES]
_MOODS = sorted({mood for style in STYLES for mood in style.moods})
_PATCHES = sorted({p.removeprefix("sf ") for s in STYLES for p in (*s.bass_patches, *s.chord_patches, *s.lead_patches)})
_MODES = list(SCALES)
CLASSES: dict[str, int] = {
    "style": len(_STYLES), "mood": len(_MOODS), "energy": 3, "brightness": 3, "drums": 3, "key": 12,
    "mode": len(_MODES), "tempo": 24,
}  # fmt: skip
"""Heads and how many values each has; one more class means "not said"."""
SLOWEST_BPM = 55.0


def targets(said: Mentioned) -> tuple[list[int], list[float]]:
    """Class per head of ``CLASSES``, and per patch whether it is named."""

    def place(names: list[str], name: str | None) -> int:
        return len(names) if name is None else names.index(name)

    tempo = CLASSES["tempo"]
    if said.bpm is not None:
        tempo = int(np.clip(14 * np.log2(said.bpm / SLOWEST_BPM), 0, tempo - 1))
    classes = [
        place(_STYLES, said.style),
        place(_MOODS, said.mood),
        3 if said.energy is None else said.energy,
        3 if said.brightness is None else said.brightness,
        3 if said.drums is None else said.drums,
        12 if said.key is None else said.key,
        place(_MODES, said.mode),
        tempo,
    ]
    return classes, [float(patch in said.instruments) for patch in _PATCHES]


class TextTask(nn.Module):
    """The encoder and the heads that are thrown away afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = StarterTextEncoder(width)
        self.sizes = [count + 1 for count in CLASSES.values()]
        self.heads = nn.Linear(width, sum(self.sizes) + len(_PATCHES))

    def forward(self, pieces: Tensor, classes: Tensor, named: Tensor) -> tuple[Tensor, list[float]]:
        """Loss, and the share of right answers per head."""
        outputs = self.heads(self.encoder(pieces))
        *parts, patches = outputs.split([*self.sizes, len(_PATCHES)], dim=-1)
        loss = 20.0 * F.binary_cross_entropy_with_logits(patches, named)
        right = []
        for head, part in enumerate(parts):
            loss = loss + F.cross_entropy(part, classes[:, head])
            right.append(float((part.argmax(-1) == classes[:, head]).float().mean()))
        return loss, right


def caption_batch(pieces: list[Piece], rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Word pieces and targets of ``size`` random captions."""
    words, classes, named = [], [], []
    for index in rng.integers(len(pieces), size=size):
        brightness, energy = ((0, 1, 2, None)[int(draw)] for draw in rng.integers(4, size=2))
        text, said = describe(pieces[int(index)], rng, brightness, energy)
        words.append(tokenise(text))
        a, b = targets(said)
        classes.append(a)
        named.append(b)
    return pad_tokens(words), torch.tensor(classes), torch.tensor(named)


def train_text(width: int, minutes: float, *, pieces: int = 4000, batch: int = 128, seed: int = 0) -> TextTask:
    """A trained encoder; prints how well it reads."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    composed = [compose(index) for index in range(pieces)]
    task = TextTask(width)
    optimiser = torch.optim.AdamW(task.parameters(), lr=2e-3, weight_decay=0.01)
    clock, step = WallClock(minutes), 0
    while clock.share < 1.0:
        for group in optimiser.param_groups:
            group["lr"] = clock.learning_rate(2e-3, step, 50)
        loss, right = task(*caption_batch(composed, rng, batch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 100 == 0:
            read = " ".join(f"{name} {value:.2f}" for name, value in zip(CLASSES, right, strict=True))
            print(f"step {step} {clock.spent_seconds / 60:.1f} min loss {float(loss.detach()):.3f} {read}", flush=True)
    return task.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = train_text(arguments.width, arguments.minutes)
    save_checkpoint(arguments.checkpoint, {"encoder": task.encoder.state_dict()})


if __name__ == "__main__":
    main()
