"""Time to a whole clip: MAGNeT beside the step-by-step language model, equal in size, random weights.

    python benchmarks/magnet_latency.py [--width 256] [--layers 8] [--threads 1] [--device cpu]

The same layers, codebooks and guidance; no text encoder and no codec, which both models share. MAGNeT runs its 50
steps over all frames at once, the language model one step per frame. The last line says what share of MAGNeT's time
the multiplications alone would take at the speed that the machine reaches on them: what is left for better code.
"""

from __future__ import annotations

from functools import partial

import torch
from common import alternately, arguments, parse, print_result
from torch import Tensor

from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.magnet_decoding import MagnetParams, generate
from soundforge.nn.magnet_network import MagnetConfig, MagnetNetwork

FRAME_RATE_HZ, CODEBOOKS, CARD, TEXT_LENGTH = 50, 4, 2048, 16


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    options = parse(parser)
    config = LanguageModelConfig(options.width, max(options.width // 64, 1), options.layers, CODEBOOKS, CARD,
                                 cross_attention=True)
    lm = LanguageModel(config).eval().requires_grad_(False).to(options.device)
    magnet = MagnetNetwork(MagnetConfig(config)).eval().requires_grad_(False)
    magnet.load_state_dict(lm.state_dict())
    magnet.to(options.device)
    condition = torch.randn(2, TEXT_LENGTH, options.width, device=options.device)
    found = {}
    for seconds in options.seconds:
        frames = int(seconds * FRAME_RATE_HZ)
        times = alternately({"magnet": partial(by_masks, magnet, condition, frames),
                             "multiplications": partial(multiplications, magnet, frames),
                             "step_by_step": partial(step_by_step, lm, condition, frames)}, options.rounds)
        found[f"{seconds:g}_s"] = {**times.figures(), "step_by_step_over_magnet": times.ratio("step_by_step", "magnet"),
                                   "share_of_multiplications": times.ratio("multiplications", "magnet")}
    print_result("magnet_latency", {
        "parameters_millions": sum(p.numel() for p in lm.parameters()) / 1e6, "device": options.device, **found})


@torch.inference_mode()
def by_masks(network: MagnetNetwork, condition: Tensor, frames: int) -> None:
    keys_values = network.keys_values(condition)
    prompt = torch.zeros(1, CODEBOOKS, 0, dtype=torch.long, device=condition.device)

    def logits(codes: Tensor, stage: int, wanted: Tensor) -> Tensor:
        return network(torch.cat([codes, codes]), stage, keys_values, torch.cat([wanted, wanted]))  # type: ignore[no-any-return]

    generate(logits, prompt, frames, MagnetParams(), mask_token=network.mask_token, span=3, seeds=[0], guided=True)


@torch.inference_mode()
def multiplications(network: MagnetNetwork, frames: int) -> None:
    """The matrix products of all layers for both branches of guidance, as often as MAGNeT runs; nothing else."""
    width = network.config.lm.d_model
    rows = torch.randn(2 * frames, width, device=network.device)
    wide = torch.randn(2 * frames, 4 * width, device=network.device)
    layer = [torch.randn(shape, device=network.device) for shape in ((3 * width, width), (width, width), (width, width),
                                                                     (width, width), (4 * width, width))]
    down = torch.randn(width, 4 * width, device=network.device)
    for _ in range(sum(MagnetParams().decoding_steps) * network.config.lm.n_layers):
        for weight in layer:
            torch.nn.functional.linear(rows, weight)
        torch.nn.functional.linear(wide, down)


@torch.inference_mode()
def step_by_step(lm: LanguageModel, condition: Tensor, frames: int) -> None:
    state = lm.new_state(2, frames + CODEBOOKS + 1, FusedInputs(cross=condition))
    column = torch.full((2, CODEBOOKS, 1), CARD, device=condition.device)
    for _ in range(frames + CODEBOOKS):
        logits = lm.step(column, state)
        guided = logits[1] + 3 * (logits[0] - logits[1])
        column = guided.argmax(-1)[None, :, None].expand(2, -1, -1)


if __name__ == "__main__":
    main()
