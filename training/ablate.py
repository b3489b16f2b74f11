"""``python -m training.ablate --steps 300`` trains variants of the language model alike and says what each is worth.

Every variant starts from the same seed, sees the same windows and takes the same number of steps, so what differs is
the variant. The runs are far shorter than that of the shipped model: they rank choices, and predict no figures.
Checkpoints lie in ``training/runs/ablate``; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from training.cache import RUNS
from training.clock import WallClock
from training.codec import load_codec
from training.codec_tune import CHECKPOINT as CODEC
from training.evaluation.continuing import jobs_for, score
from training.evaluation.making import Maker
from training.evaluation.material import held_out_loops
from training.export import export
from training.lm import LmTrainer, load_lm, validate
from training.lm_data import LmData
from training.lm_model import StarterLmSizes
from training.text import CHECKPOINT as TEXT
from training.tokenise import TOKENS

FOLDER = RUNS / "ablate"
_BASE = StarterLmSizes()
VARIANTS = {
    "4 codebooks, 6 layers of 256 (shipped)": _BASE,
    "4 layers of 192": replace(_BASE, n_layers=4, d_model=192, n_heads=4, ffn_width=768),
    "8 layers of 320": replace(_BASE, n_layers=8, d_model=320, n_heads=4, ffn_width=1280),
    "2 codebooks": replace(_BASE, n_codebooks=2),
    "6 codebooks, 6 layers of 288": replace(_BASE, n_codebooks=6, d_model=288, ffn_width=1152),
}
"""Six codebooks of 48 dimensions side by side need a width of 288."""


class StepClock(WallClock):
    """A run sized in steps, so that variants of different speed learn from the same windows."""

    def __init__(self, trainer: LmTrainer, steps: int) -> None:
        super().__init__(1e9, trainer.clock.spent_seconds)
        self.trainer, self.steps = trainer, steps

    @property
    def share(self) -> float:
        return min(1.0, self.trainer.step / self.steps)


def train(sizes: StarterLmSizes, steps: int, checkpoint: Path, tokens: Path, codec: Path) -> None:
    """Trains a variant to its end; nothing is left to do for one that was."""
    quantiser = load_codec(codec).quantiser
    data = LmData(tokens, quantiser, 450, sizes.n_codebooks, seed=1, files=slice(1, None))
    trainer = LmTrainer(data, 1e9, sizes, checkpoint=checkpoint, codebooks=quantiser.codebooks, text=TEXT)
    trainer.clock = StepClock(trainer, steps)
    while trainer.step < steps:
        trainer.train_step()
        if trainer.step % 50 == 0:
            trainer.save()
            print(f"{checkpoint.stem} step {trainer.step} {trainer.clock.spent_seconds / 60:.1f} min", flush=True)


def figures(checkpoint: Path, tokens: Path, codec: Path, loops: int) -> str:
    """One row: parameters, loss of the first two codebooks on held-out tokens, continuations, real-time factor."""
    model = load_lm(checkpoint)
    net = load_codec(codec)
    watched = LmData(tokens, net.quantiser, 450, model.sizes.n_codebooks, seed=2, files=slice(0, 1))
    loss = validate(model, [watched.batch(8) for _ in range(3)])[1]
    material = held_out_loops(loops, 4.0)
    with tempfile.TemporaryDirectory() as name:
        export(net, model, None, Path(name))
        maker = Maker(Path(name))
        made = score(material, maker.make(jobs_for(material, True), 4.0)[0])
        began = time.perf_counter()
        maker.engine.generate(seconds=8.0, bpm=120.0, seed=0)
        factor = 8.0 / (time.perf_counter() - began)
        maker.engine.close()
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    first = [f"{millions:.1f} M", f"{loss[0]:.2f}, {loss[1]:.2f}"]
    return " | ".join([*first, *(str(figure) for figure in made.values()), f"{factor:.1f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--loops", type=int, default=64)
    parser.add_argument("--tokens", type=Path, default=TOKENS)
    parser.add_argument("--codec", type=Path, default=CODEC)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-train", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for index, (name, sizes) in enumerate(VARIANTS.items()):
        checkpoint = FOLDER / f"{index}.pt"
        train(sizes, arguments.steps, checkpoint, arguments.tokens, arguments.codec)
        if not arguments.only_train:
            print(f"| {name} | {figures(checkpoint, arguments.tokens, arguments.codec, arguments.loops)} |", flush=True)


if __name__ == "__main__":
    main()
