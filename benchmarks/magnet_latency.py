"""Time to a whole clip: MAGNeT beside the step-by-step language model, equal in size, random weights.

    python benchmarks/magnet_latency.py [--width 256] [--layers 8] [--threads 1] [--device cpu]

The same layers, codebooks and guidance; no text encoder and no codec, which both models share. MAGNeT runs its 50
steps over all frames at once, the language model one step per frame. Prints one JSON line per length.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch

from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.magnet_decoding import MagnetParams, generate
from soundforge.nn.magnet_network import MagnetConfig, MagnetNetwork

FRAME_RATE_HZ, CODEBOOKS, CARD, TEXT_LENGTH = 50, 4, 2048, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = LanguageModelConfig(options.width, max(options.width // 64, 1), options.layers, CODEBOOKS, CARD,
                                 cross_attention=True)
    lm = LanguageModel(config).eval().requires_grad_(False).to(options.device)
    magnet = MagnetNetwork(MagnetConfig(config)).eval().requires_grad_(False)
    magnet.load_state_dict(lm.state_dict())
    magnet.to(options.device)
    condition = torch.randn(2, TEXT_LENGTH, options.width, device=options.device)
    parameters = sum(p.numel() for p in lm.parameters())
    for seconds in options.seconds:
        frames = int(seconds * FRAME_RATE_HZ)
        a = _median(lambda: _magnet(magnet, condition, frames), options.device)  # noqa: B023
        b = _median(lambda: _step_by_step(lm, condition, frames), options.device)  # noqa: B023
        print(json.dumps({"seconds": seconds, "parameters_millions": round(parameters / 1e6, 1),
                          "device": options.device, "threads": options.threads, "magnet_seconds": round(a, 3),
                          "step_by_step_seconds": round(b, 3), "ratio": round(b / a, 2)}), flush=True)


@torch.inference_mode()
def _magnet(network: MagnetNetwork, condition: torch.Tensor, frames: int) -> None:
    keys_values = network.keys_values(condition)
    prompt = torch.zeros(1, CODEBOOKS, 0, dtype=torch.long, device=condition.device)
    generate(lambda codes, stage: network(torch.cat([codes, codes]), stage, keys_values), prompt, frames,
             MagnetParams(), mask_token=network.mask_token, span=3, seeds=[0], guided=True)


@torch.inference_mode()
def _step_by_step(lm: LanguageModel, condition: torch.Tensor, frames: int) -> None:
    state = lm.new_state(2, frames + CODEBOOKS + 1, FusedInputs(cross=condition))
    column = torch.full((2, CODEBOOKS, 1), CARD, device=condition.device)
    for _ in range(frames + CODEBOOKS):
        logits = lm.step(column, state)
        guided = logits[1] + 3 * (logits[0] - logits[1])
        column = guided.argmax(-1)[None, :, None].expand(2, -1, -1)


def _median(run: Callable[[], None], device: str) -> float:
    times = []
    for _ in range(4):
        began = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return sorted(times[1:])[1]  # the first run pays for caches


if __name__ == "__main__":
    main()
