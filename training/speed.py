"""``python -m training.speed``: real-time factor of language models of several sizes, codec and guidance included.

Weights are random: speed does not depend on them. Through the public API, as a user would wait for it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import soundforge as sf
from soundforge.audio import Waveform
from soundforge.nn.starter_codec import StarterCodecConfig, StarterCodecNet
from training.evaluation.material import RATE
from training.export import export
from training.lm_model import StarterLm, StarterLmSizes

SIZES = ((192, 5), (256, 6), (320, 6), (384, 8))


def real_time_factor(folder: Path, seconds: float, rounds: int = 3) -> float:
    """Best of ``rounds`` continuations of ``seconds`` at the default sampling."""
    engine = sf.load(folder)
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * np.float32(0.1)
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        engine.extend(Waveform(noise, RATE), seconds=seconds, bpm=120.0, only_new=True)
        took.append(time.perf_counter() - began)
    return seconds / min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    codec = StarterCodecNet(StarterCodecConfig())
    print(f"| language model | parameters | real-time factor, {arguments.threads} threads |\n|---|---|---|")
    for width, layers in SIZES:
        sizes = StarterLmSizes(d_model=width, n_layers=layers, ffn_width=4 * width)
        model = StarterLm(sizes)
        with tempfile.TemporaryDirectory() as folder:
            export(codec, model, None, Path(folder))
            factor = real_time_factor(Path(folder), arguments.seconds)
        count = sum(p.numel() for p in model.parameters()) / 1e6
        print(f"| {layers} layers of {width} | {count:.1f} M | {factor:.1f} |", flush=True)


if __name__ == "__main__":
    main()
