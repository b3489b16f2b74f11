"""Stage 4: ``python -m training.lm --minutes 50`` trains the language model on the tokens; resumes by itself."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from training.cache import RUNS
from training.clock import WallClock, save_checkpoint
from training.codec import CHECKPOINT as CODEC_CHECKPOINT
from training.codec import load_codec
from training.lm_data import LmBatch, LmData
from training.lm_model import StarterLm, StarterLmSizes
from training.lm_start import start_from_codec
from training.muon import Muon
from training.progress import Progress
from training.text import CHECKPOINT as TEXT_CHECKPOINT
from training.tokenise import TOKENS

CHECKPOINT = RUNS / "lm.pt"


def load_lm(path: Path = CHECKPOINT) -> StarterLm:
    """The model of a checkpoint (its averaged weights), ready for inference."""
    state = torch.load(path, weights_only=True)
    model = StarterLm(StarterLmSizes(**state["sizes"]))
    model.load_state_dict(state["average"])
    return model.eval()


class LmTrainer:
    """One run: model, two optimisers, averaged weights, data, clock."""

    def __init__(
        self,
        data: LmData,
        minutes: float,
        sizes: StarterLmSizes,
        *,
        batch: int = 10,
        muon_rate: float = 0.02,
        adam_rate: float = 3e-3,
        text_rate: float = 3e-4,
        checkpoint: Path = CHECKPOINT,
        seed: int = 0,
        codebooks: Tensor | None = None,
        text: Path | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.model = StarterLm(sizes)
        if codebooks is not None:
            start_from_codec(self.model, codebooks, seed)
        if text is not None and text.exists():
            self.model.text.load_state_dict(torch.load(text, weights_only=True)["encoder"])
        self.data, self.batch, self.checkpoint = data, batch, checkpoint
        inner = [p for n, p in self.model.named_parameters() if p.ndim == 2 and n.startswith("lm.layers.")]
        words = list(self.model.text.parameters())
        chosen = {id(p) for p in inner + words}
        self.muon = Muon(inner, lr=muon_rate)
        self.adam = torch.optim.AdamW(
            [p for p in self.model.parameters() if id(p) not in chosen],
            lr=adam_rate,
            betas=(0.9, 0.98),
            weight_decay=0.01,
        )
        # What the text encoder learnt from captions alone is worth keeping: it only adapts.
        self.text_adam = torch.optim.AdamW(words, lr=text_rate, betas=(0.9, 0.98))
        self.rates = ((self.muon, muon_rate), (self.adam, adam_rate), (self.text_adam, text_rate))
        self.step = 0
        spent = 0.0
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.average = state["average"]
            self.model.load_state_dict(state["model"])
            self.muon.load_state_dict(state["muon"])
            self.adam.load_state_dict(state["adam"])
            self.text_adam.load_state_dict(state["text_adam"])
            self.step, spent = int(state["step"]), float(state["spent_seconds"])
            data.rng.integers(0, 2, size=self.step + 1)  # not the same windows again
        self.clock = WallClock(minutes, spent)

    def save(self) -> None:
        """Everything a later run needs, and the averaged weights for use."""
        save_checkpoint(
            self.checkpoint,
            {
                "model": self.model.state_dict(),
                "average": self.average,
                "muon": self.muon.state_dict(),
                "adam": self.adam.state_dict(),
                "text_adam": self.text_adam.state_dict(),
                "step": self.step,
                "spent_seconds": self.clock.spent_seconds,
                "sizes": self.model.sizes.to_dict(),
            },
        )

    def train_step(self, batch: LmBatch | None = None) -> tuple[float, Tensor]:
        """One optimiser step; returns the weighted loss and the loss per codebook."""
        for optimiser, peak in self.rates:
            for group in optimiser.param_groups:
                group["lr"] = self.clock.learning_rate(peak, self.step, 60)
        self.model.train()
        loss, per_book = self.model.loss(batch or self.data.batch(self.batch))
        for optimiser, _ in self.rates:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser, _ in self.rates:
            optimiser.step()
        self.step += 1
        if self.step % 5 == 0:
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    self.average[name].lerp_(value, 0.05)
        return float(loss.detach()), per_book


@torch.no_grad()
def validate(model: StarterLm, batches: list[LmBatch], early: int = 100) -> tuple[Tensor, Tensor]:
    """Loss per codebook on the first ``early`` columns and on those from 300 on: the gap is what copying gains."""
    model.eval()
    first, late = [], []
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch).float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 2), batch.targets.flatten(), ignore_index=-100, reduction="none"
        )
        loss = loss.view(batch.targets.shape)
        first.append(loss[:, :, 6:early].mean((0, 2)))
        late.append(loss[:, :, min(300, loss.shape[2] // 2) : -6].mean((0, 2)))
    return torch.stack(first).mean(0), torch.stack(late).mean(0)


def worth_of_conditions(model: StarterLm, batches: list[LmBatch]) -> dict[str, float]:
    """Per condition: what taking it away adds to the first codebook's loss on the first columns of the windows."""
    whole = float(validate(model, batches)[0][0])
    out = {}
    for name in ("pieces", "style", "level", "transport", "chroma"):
        bare = [replace(batch, **{name: torch.zeros_like(getattr(batch, name))}) for batch in batches]
        out["text" if name == "pieces" else name] = float(validate(model, bare)[0][0]) - whole
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--frames", type=int, default=450)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--adam-rate", type=float, default=3e-3)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    quantiser = load_codec(CODEC_CHECKPOINT).quantiser
    sizes = StarterLmSizes()
    data = LmData(TOKENS, quantiser, arguments.frames, sizes.n_codebooks, seed=1, files=slice(1, None))
    watched = LmData(TOKENS, quantiser, arguments.frames, sizes.n_codebooks, seed=2, files=slice(0, 1))
    batches = [watched.batch(8) for _ in range(3)]
    trainer = LmTrainer(
        data,
        arguments.minutes,
        sizes,
        batch=arguments.batch,
        muon_rate=arguments.muon_rate,
        adam_rate=arguments.adam_rate,
        checkpoint=arguments.checkpoint,
        codebooks=quantiser.codebooks,
        text=TEXT_CHECKPOINT,
    )
    count = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    print(f"{count:.2f} M parameters, {len(data.codes)} pieces", flush=True)
    progress = Progress(trainer.clock)
    saved = trainer.clock.spent_seconds
    while progress.goes_on:
        loss, per_book = trainer.train_step()
        progress.note(trainer.step, {"loss": loss} | {f"book {k}": float(v) for k, v in enumerate(per_book, 1)})
        if trainer.clock.spent_seconds > saved + 120:
            saved = trainer.clock.spent_seconds
            trainer.save()
        if trainer.step % 300 == 0:
            first, late = validate(trainer.model, batches)
            early, later = ([round(float(v), 2) for v in values] for values in (first, late))
            worth = {name: round(value, 2) for name, value in worth_of_conditions(trainer.model, batches).items()}
            print(f"  watched early {early} late {later}, without: {worth}", flush=True)
    trainer.save()
    print(f"done: {trainer.step} steps", flush=True)


if __name__ == "__main__":
    main()
