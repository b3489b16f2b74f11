"""Stage 2b: ``python -m training.codec_tune --minutes 60`` trains the codec's decoder on, its codes unchanged; resumes.

Encoder and codebooks are frozen, so codes, and a language model over them, stay valid. The number of codebooks varies,
because the language model speaks fewer than the codec has.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundforge.nn.starter_codec import StarterCodecNet
from training.batches import CropSampler
from training.cache import AUDIO, RUNS, open_shards
from training.clock import WallClock, save_checkpoint
from training.codec import CHECKPOINT as CODES
from training.codec import load_codec
from training.losses import codec_losses, log_mel_distance
from training.progress import Progress

CHECKPOINT = RUNS / "codec-tuned.pt"
WEIGHTS = {"mel": 1.0, "root": 0.3, "fine": 0.3, "pitch": 1.0, "energy": 1.0, "levels": 0.5}
FROZEN = ("encoder", "quantiser")
DEEPER = {"decoder_slow_blocks": 6, "decoder_fast_blocks": 3}


def deepened(net: StarterCodecNet) -> StarterCodecNet:
    """The same codec with more blocks in its decoder, which at first hardly do anything."""
    deeper = StarterCodecNet(replace(net.config, **DEEPER))
    known = net.state_dict()
    with torch.no_grad():
        for name, value in deeper.state_dict().items():
            if name in known:
                value.copy_(known[name])
            elif name.endswith(".scale"):
                value.fill_(0.02)
    return deeper


class SoundTrainer:
    """One run: the network with its codes, optimiser, data and clock."""

    def __init__(
        self,
        shards: list[NDArray[np.int16]],
        minutes: float,
        *,
        codes: Path = CODES,
        checkpoint: Path = CHECKPOINT,
        batch: int = 8,
        crop_samples: int = 48_000,
        peak_rate: float = 4e-4,
    ) -> None:
        torch.manual_seed(0)
        self.net = deepened(load_codec(codes)).train()
        trained = [(n, p) for n, p in self.net.named_parameters() if not n.startswith(FROZEN)]
        self.trained = [p for _, p in trained]
        self.optimiser = torch.optim.AdamW(self.trained, lr=peak_rate, betas=(0.85, 0.99), weight_decay=0.01)
        self.batch, self.peak_rate, self.checkpoint = batch, peak_rate, checkpoint
        self.average = {n: p.detach().clone() for n, p in trained}
        self.step, spent = 0, 0.0
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.net.load_state_dict(state["last"])
            self.average = {n: state["net"][n] for n in self.average}
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, spent = int(state["step"]), float(state["spent_seconds"])
        self.clock = WallClock(minutes, spent)
        self.data = CropSampler(shards, crop_samples, seed=77 + self.step)
        self.depths = np.random.default_rng(5 + self.step)

    def averaged(self) -> StarterCodecNet:
        """The network with the averaged weights, ready for inference."""
        net = StarterCodecNet(self.net.config)
        net.load_state_dict(self.net.state_dict() | self.average)
        return net.eval()

    def save(self) -> None:
        """Everything a later run needs; ``net`` is the averaged network."""
        save_checkpoint(
            self.checkpoint,
            {
                "net": self.averaged().state_dict(),
                "last": self.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "spent_seconds": self.clock.spent_seconds,
                "config": asdict(self.net.config),
            },
        )

    def train_step(self) -> dict[str, float]:
        """One optimiser step on fresh crops; half of them with the codebooks of the language model alone."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.clock.learning_rate(self.peak_rate, self.step, 50)
        truth = self.data.batch(self.batch)
        books = self.net.config.n_codebooks
        depth = 4 if self.depths.random() < 0.5 else int(self.depths.integers(3, books + 1))
        with torch.no_grad():
            levels, _ = self.net.analysis(truth, None)
            codes = self.net.quantiser.encode(self.net.encode_levels(levels)[0], depth)
            latent = self.net.quantiser.decode(codes)
        with torch.autocast("cpu", torch.bfloat16):
            features, _ = self.net.decode_features(latent)
            heard = self.net.level_head(features)
            controls, _ = self.net.decode_controls(features)
        made, _ = self.net.synth(controls.float(), None)  # phases need more than bfloat16
        losses = codec_losses(truth, made)
        losses["levels"] = (heard.float() - levels).abs().mean()
        total = torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, 3.0)
        self.optimiser.step()
        self.step += 1
        if self.step % 5 == 0:
            with torch.no_grad():
                for name, value in self.net.named_parameters():
                    if name in self.average:
                        self.average[name].lerp_(value, min(0.05, 5 / self.step))
        return {name: float(value.detach()) for name, value in losses.items()}


@torch.no_grad()
def validate(net: StarterCodecNet, audio: Tensor) -> dict[int, float]:
    """Log-mel distance of ``[B, T]`` by number of codebooks."""
    codes, _ = net.encode(audio)
    depths = sorted({min(depth, codes.shape[1]) for depth in (4, 6, 8)})
    return {k: round(float(log_mel_distance(audio, net.decode(codes[:, :k])[0])), 4) for k in depths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--codes", type=Path, default=CODES)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    shards = open_shards(AUDIO)
    # The last shard is left out of training and watched; the honest evaluation uses other seeds and programs.
    watched = torch.from_numpy(np.array(shards[-1][:24, 64_000:128_000])).float() / 32768
    trainer = SoundTrainer(shards[:-1], arguments.minutes, codes=arguments.codes, checkpoint=arguments.checkpoint)
    progress = Progress(trainer.clock)
    while progress.goes_on:
        values = trainer.train_step()
        progress.note(trainer.step, values)
        if trainer.step % 200 == 0:
            trainer.save()
            print(f"  watched log-mel distance {validate(trainer.averaged(), watched)}", flush=True)
    trainer.save()
    print(f"done: {trainer.step} steps, watched log-mel distance {validate(trainer.averaged(), watched)}", flush=True)


if __name__ == "__main__":
    main()
