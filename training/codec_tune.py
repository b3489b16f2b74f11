"""Stage 2b: ``python -m training.codec_tune --minutes 8`` trains the codec's decoder on, its codes unchanged.

Encoder and codebooks are frozen, so tokens and language model stay valid. The number of codebooks varies from three to
all, because the language model speaks fewer than the codec has.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from training.batches import CropSampler
from training.cache import AUDIO, RUNS, open_shards
from training.clock import WallClock, save_checkpoint
from training.codec import CHECKPOINT, load_codec
from training.losses import codec_losses, log_mel_distance
from training.threads import ThreadChooser

TUNED = RUNS / "codec-tuned.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--source", type=Path, default=CHECKPOINT)
    parser.add_argument("--target", type=Path, default=TUNED)
    arguments = parser.parse_args()
    shards = open_shards(AUDIO)
    watched = torch.from_numpy(np.array(shards[-1][:24, 64_000:128_000])).float() / 32768
    data = CropSampler(shards[:-1], 32_000, seed=77)
    net = load_codec(arguments.source)
    frozen = ("encoder", "quantiser")
    trained = [p for name, p in net.named_parameters() if not name.startswith(frozen)]
    optimiser = torch.optim.AdamW(trained, lr=arguments.rate, betas=(0.85, 0.99), weight_decay=0.01)
    clock, threads, step = WallClock(arguments.minutes), ThreadChooser(), 0
    depths = np.random.default_rng(5)
    mean: dict[str, float] = {}

    def watch() -> str:
        codes, _ = net.encode(watched)
        return " ".join(
            f"{k} codebooks {float(log_mel_distance(watched, net.decode(codes[:, :k])[0])):.4f}" for k in (4, 6)
        )

    print("before:", watch(), flush=True)
    while clock.share < 1.0:
        threads.before_step()
        for group in optimiser.param_groups:
            group["lr"] = clock.learning_rate(arguments.rate, step, 30)
        truth = data.batch(8)
        with torch.no_grad():
            levels, _ = net.analysis(truth, None)
            codes = net.quantiser.encode(net.encode_levels(levels)[0])
            latent = net.quantiser.decode(codes[:, : int(depths.integers(3, codes.shape[1] + 1))])
        with torch.autocast("cpu", torch.bfloat16):
            features, _ = net.decode_features(latent)
            heard = net.level_head(features)
            controls, _ = net.decode_controls(features)
        made, _ = net.synth(controls.float(), None)
        losses = codec_losses(truth, made)
        losses["levels"] = (heard.float() - levels).abs().mean()
        total = losses["mel"] + 2.0 * losses["root"] + losses["levels"]
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 3.0)
        optimiser.step()
        step += 1
        mean = {name: 0.97 * mean.get(name, float(v.detach())) + 0.03 * float(v.detach()) for name, v in losses.items()}
        if step % 50 == 0:
            print(f"step {step} {clock.spent_seconds / 60:.1f} min {mean}", flush=True)
    save_checkpoint(arguments.target, {"net": net.state_dict(), "config": asdict(net.config)})
    print("after:", watch(), flush=True)


if __name__ == "__main__":
    main()
