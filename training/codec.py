"""Stage 2: ``python -m training.codec --minutes 45`` trains the codec on the rendered audio; resumes by itself."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soundforge.nn.starter_codec import StarterCodecConfig, StarterCodecNet
from training.batches import CropSampler, Int16
from training.cache import AUDIO, RUNS, open_shards
from training.clock import WallClock, save_checkpoint
from training.losses import codec_losses, log_mel_distance
from training.quantiser_training import CodebookTrainer

CHECKPOINT = RUNS / "codec.pt"
WEIGHTS = {"mel": 2.0, "magnitude": 0.5, "phase": 0.15}


def load_codec(path: Path = CHECKPOINT) -> StarterCodecNet:
    """The trained network of a checkpoint, ready for inference."""
    state = torch.load(path, weights_only=True)
    net = StarterCodecNet(StarterCodecConfig.from_dict(state["config"]))
    net.load_state_dict(state["net"])
    return net.eval()


class CodecTrainer:
    """One training run: network, optimiser, codebooks, data and clock."""

    def __init__(self, shards: list[Int16], minutes: float, config: StarterCodecConfig, *, batch: int = 16, crop_samples: int = 32_000,
                 peak_rate: float = 1e-3, warm_steps: int = 300, checkpoint: Path = CHECKPOINT, seed: int = 0) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.net = StarterCodecNet(config)
        self.books = CodebookTrainer(self.net.quantiser, seed=seed)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=peak_rate, betas=(0.85, 0.99), weight_decay=0.01)
        self.batch, self.peak_rate, self.warm_steps, self.checkpoint = batch, peak_rate, warm_steps, checkpoint
        self.step = 0
        spent = 0.0
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.net.load_state_dict(state["net"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.books.load_state_dict(state["books"])
            self.step, spent = int(state["step"]), float(state["spent_seconds"])
        self.clock = WallClock(minutes, spent)
        self.data = CropSampler(shards, crop_samples, seed + 1000 * self.step)

    def save(self) -> None:
        """Everything a later run needs."""
        save_checkpoint(self.checkpoint, {
            "net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "books": self.books.state_dict(),
            "step": self.step, "spent_seconds": self.clock.spent_seconds, "config": asdict(self.net.config),
        })  # fmt: skip

    def start_codebooks(self) -> None:
        """K-means on latents of the warmed-up encoder."""
        latents: list[Tensor] = []
        with torch.no_grad():
            for _ in range(max(1, 12_000 // (self.batch * 50))):
                latents.append(self.net.encode_latent(self.data.batch(self.batch))[0].flatten(0, 1))
        self.books.start(torch.cat(latents))

    def train_step(self) -> tuple[dict[str, float], Tensor | None]:
        """One optimiser step; the first ``warm_steps`` run without quantisation."""
        rate = self.clock.learning_rate(self.peak_rate, self.step, 100)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.step == self.warm_steps:
            self.start_codebooks()
        truth = self.data.batch(self.batch)
        codes: Tensor | None = None
        commitment = truth.new_zeros(())
        with torch.autocast("cpu", torch.bfloat16):
            latent, _ = self.net.encode_latent(truth)
        if self.step >= self.warm_steps:
            latent, commitment, codes = self.books.quantise(latent)
        with torch.autocast("cpu", torch.bfloat16):
            made, _ = self.net.decode_latent(latent)
        losses = codec_losses(truth, made)
        total = sum((WEIGHTS[name] * value for name, value in losses.items()), start=0.2 * commitment)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 3.0)
        self.optimiser.step()
        self.step += 1
        return {name: float(value) for name, value in {**losses, "commitment": commitment}.items()}, codes


@torch.no_grad()
def validate(net: StarterCodecNet, audio: Tensor) -> float:
    """Log-mel distance of quantised reconstructions of ``[B, T]``."""
    latent, _ = net.encode_latent(audio)
    made, _ = net.decode_latent(net.quantiser.decode(net.quantiser.encode(latent)))
    return float(log_mel_distance(audio, made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shards = open_shards(AUDIO)
    # The last shard is left out of training and watched; the honest evaluation uses other seeds and programs.
    watched = torch.from_numpy(np.array(shards[-1][:48, 64_000:128_000])).float() / 32768
    trainer = CodecTrainer(shards[:-1], arguments.minutes, StarterCodecConfig())
    mean: dict[str, float] = {}
    used: list[Tensor] = []
    while trainer.clock.share < 1.0:
        values, codes = trainer.train_step()
        mean = {name: 0.98 * mean.get(name, value) + 0.02 * value for name, value in values.items()}
        if codes is not None:
            used = [*used[-200:], codes]
        if trainer.step % 100 == 0:
            seen = torch.cat(used).transpose(0, 1).flatten(1) if used else None
            entries = [len(row.unique()) for row in seen] if seen is not None else []
            text = " ".join(f"{name} {value:.3f}" for name, value in mean.items())
            print(f"step {trainer.step} {trainer.clock.spent_seconds / 60:.1f} min {text} used {entries}", flush=True)
        if trainer.step % 500 == 0:
            trainer.save()
            if trainer.step > trainer.warm_steps:
                print(f"  watched log-mel distance {validate(trainer.net, watched):.4f}", flush=True)
    trainer.save()
    print(f"done: {trainer.step} steps, watched log-mel distance {validate(trainer.net, watched):.4f}", flush=True)


if __name__ == "__main__":
    main()
