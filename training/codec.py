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
from training.progress import Progress
from training.quantiser_training import CodebookTrainer

CHECKPOINT = RUNS / "codec.pt"
WEIGHTS = {"mel": 1.0, "root": 1.0, "levels": 3.0}


def load_codec(path: Path = CHECKPOINT) -> StarterCodecNet:
    """The trained network of a checkpoint, ready for inference."""
    state = torch.load(path, weights_only=True)
    net = StarterCodecNet(StarterCodecConfig.from_dict(state["config"]))
    net.load_state_dict(state["net"])
    return net.eval()


class CodecTrainer:
    """One training run: network, optimiser, codebooks, data and clock."""

    def __init__(
        self,
        shards: list[Int16],
        minutes: float,
        config: StarterCodecConfig,
        *,
        batch: int = 8,
        crop_samples: int = 32_000,
        peak_rate: float = 1e-3,
        warm_steps: int = 60,
        levels_share: float = 0.25,
        checkpoint: Path = CHECKPOINT,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.net = StarterCodecNet(config)
        self.books = CodebookTrainer(self.net.quantiser, seed=seed)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=peak_rate, betas=(0.85, 0.99), weight_decay=0.01)
        self.batch, self.peak_rate, self.warm_steps, self.checkpoint = batch, peak_rate, warm_steps, checkpoint
        self.levels_share = levels_share
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
        if self.step == 0:
            self.start_direct_path()

    def save(self) -> None:
        """Everything a later run needs."""
        save_checkpoint(
            self.checkpoint,
            {
                "net": self.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "books": self.books.state_dict(),
                "step": self.step,
                "spent_seconds": self.clock.spent_seconds,
                "config": asdict(self.net.config),
            },
        )

    @torch.no_grad()
    def start_direct_path(self) -> None:
        """Principal components of the levels, their spread reduced to its root, into the encoder's direct path."""
        levels = torch.cat([self.net.analysis(self.data.batch(16), None)[0].flatten(0, 1) for _ in range(6)])
        mean = levels.mean(0)
        values, vectors = torch.linalg.eigh((levels - mean).T @ (levels - mean) / len(levels))
        width = self.net.config.latent_width
        weight = (vectors[:, -width:] / values[-width:].clamp_min(1e-6) ** 0.25).T
        self.net.encoder_direct.weight.copy_(weight)
        self.net.encoder_direct.bias.copy_(-weight @ mean)
        self.net.encoder_out.weight.mul_(0.1)

    def start_codebooks(self) -> None:
        """K-means on latents of the warmed-up encoder."""
        latents: list[Tensor] = []
        with torch.no_grad():
            batches = (self.data.batch(self.batch) for _ in range(max(1, 8_000 // (self.batch * 50))))
            latents.extend(self.net.encode_latent(batch)[0].flatten(0, 1) for batch in batches)
        self.books.start(torch.cat(latents))

    def train_step(self) -> tuple[dict[str, float], Tensor | None]:
        """One optimiser step: at first without quantisation (``warm_steps``) and without sound (``levels_share``)."""
        rate = self.clock.learning_rate(self.peak_rate, self.step, 100)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.step == self.warm_steps:
            self.start_codebooks()
        truth = self.data.batch(self.batch)
        codes: Tensor | None = None
        commitment = truth.new_zeros(())
        with torch.autocast("cpu", torch.bfloat16):
            levels, _ = self.net.analysis(truth, None)
            latent, _ = self.net.encode_levels(levels)
        if self.step >= self.warm_steps:
            latent, commitment, codes = self.books.quantise(latent)
        with torch.autocast("cpu", torch.bfloat16):
            features, _ = self.net.decode_features(latent)
            heard = self.net.level_head(features)
        losses = {"levels": (heard.float() - levels).abs().mean()}
        if self.clock.share > self.levels_share:
            with torch.autocast("cpu", torch.bfloat16):
                controls, _ = self.net.decode_controls(features)
            made, _ = self.net.synth(controls.float(), None)  # phases need more than bfloat16
            losses |= codec_losses(truth, made, WEIGHTS)
        weighed = (weight * losses[name] for name, weight in WEIGHTS.items() if name in losses)
        total = sum(weighed, start=0.1 * commitment)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 3.0)
        self.optimiser.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in {**losses, "commitment": commitment}.items()}, codes


@torch.no_grad()
def validate(net: StarterCodecNet, audio: Tensor) -> float:
    """Log-mel distance of quantised reconstructions of ``[B, T]``."""
    net.eval()
    made, _ = net.decode(net.encode(audio)[0])
    net.train()
    return float(log_mel_distance(audio, made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45.0)
    arguments = parser.parse_args()
    shards = open_shards(AUDIO)
    # The last shard is left out of training and watched; the honest evaluation uses other seeds and programs.
    watched = torch.from_numpy(np.array(shards[-1][:48, 64_000:128_000])).float() / 32768
    trainer = CodecTrainer(shards[:-1], arguments.minutes, StarterCodecConfig())
    used: list[Tensor] = []
    progress = Progress(trainer.clock, every=100)
    while progress.goes_on:
        values, codes = trainer.train_step()
        if codes is not None:
            used = [*used[-200:], codes]
        if progress.note(trainer.step, values) and used:
            entries = [len(row.unique()) for row in torch.cat(used).transpose(0, 1).flatten(1)]
            print(f"  entries in use {entries}", flush=True)
        if trainer.step % 200 == 0:
            trainer.save()
            if trainer.step > trainer.warm_steps:
                print(f"  watched log-mel distance {validate(trainer.net, watched):.4f}", flush=True)
    trainer.save()
    print(f"done: {trainer.step} steps, watched log-mel distance {validate(trainer.net, watched):.4f}", flush=True)


if __name__ == "__main__":
    main()
