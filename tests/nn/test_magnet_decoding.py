"""MAGNeT's decoding against a plain reading of its procedure: item by item, frame by frame, nothing left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundforge.nn.flow_layers import local_attention
from soundforge.nn.language_model import LanguageModelConfig
from soundforge.nn.magnet_decoding import MagnetParams, _most_probable, generate
from soundforge.nn.magnet_network import MagnetConfig, MagnetNetwork

CARD, CODEBOOKS = 12, 3


def network(span: int, context: int, seed: int) -> MagnetNetwork:
    torch.manual_seed(seed)
    config = LanguageModelConfig(16, 2, 2, CODEBOOKS, CARD, cross_attention=True)
    net = MagnetNetwork(MagnetConfig(config, context, span)).eval().requires_grad_(False)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return net


def plainly(net: MagnetNetwork, condition: torch.Tensor, prompt: torch.Tensor, n_frames: int,
            params: MagnetParams) -> np.ndarray:
    """Greedy decoding of one item: all logits of all frames at every step, spans as lists of frames."""
    span = net.config.span_len
    sources = net.keys_values(condition)
    if params.span_arrangement == "nonoverlap":
        n_frames -= n_frames % span
    codes = np.full((CODEBOOKS, n_frames), CARD)
    codes[:, : prompt.shape[1]] = prompt.numpy()
    for stage in range(CODEBOOKS):
        steps = params.decoding_steps[stage]
        units = [list(range(i, i + span)) for i in range(0, n_frames, span)]
        fixed = prompt.shape[1] // span
        scores = [-1e4 if i < fixed else 0.0 for i in range(len(units))]
        for step, time in enumerate(torch.linspace(0, 1, steps)):
            share = torch.cos(time * math.pi * 0.5)
            count = max(int((share * (len(units) - fixed)).item()), 1)
            chosen = set(torch.tensor(scores).topk(count).indices.tolist())
            for unit in chosen:
                for frame in units[unit]:
                    if frame >= prompt.shape[1]:
                        codes[stage, frame] = CARD
            both = net(torch.from_numpy(np.stack([codes, codes])), stage, sources)
            weight = float(share) * params.cfg_max + (1 - float(share)) * params.cfg_min
            logits = both[1] + (both[0] - both[1]) * weight
            left = (steps - 1 - step) / steps if params.anneal_temperature else 1.0
            probabilities = torch.softmax(logits / max(params.temperature * left, 1e-2), dim=-1)
            tokens = logits.argmax(dim=-1)
            for frame in range(n_frames):
                if codes[stage, frame] == CARD:
                    codes[stage, frame] = tokens[frame]
            certain = probabilities[torch.arange(n_frames), tokens]
            for i, unit in enumerate(units):
                if i not in chosen:
                    scores[i] = -1e4
                elif params.span_scoring == "max":
                    scores[i] = float(1 - certain[unit].max())
                else:
                    scores[i] = float(-certain[unit].log().sum())
    return codes


@pytest.mark.parametrize(("span", "context", "prompt_frames", "scoring", "anneal", "cfg"), [
    (3, 5, 0, "max", True, (10.0, 1.0)), (3, 1, 4, "prod", True, (3.0, 0.0)), (2, -1, 0, "max", False, (5.0, 2.0)),
    (1, 0, 5, "max", True, (10.0, 1.0)), (4, 2, 9, "prod", False, (1.0, 3.0)), (5, 7, 0, "max", True, (2.0, 2.0))])
def test_greedy_decoding_is_the_plain_procedure(span: int, context: int, prompt_frames: int, scoring: str, anneal: bool,
                                                cfg: tuple[float, float]) -> None:
    net = network(span, context, seed=span)
    params = MagnetParams((6, 4, 2), 2.0, anneal, True, 0.0, 0, *cfg, "nonoverlap", scoring)
    condition = torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(1))
    prompts = torch.randint(0, CARD, (2, CODEBOOKS, prompt_frames), generator=torch.Generator().manual_seed(2))
    sources = net.keys_values(condition)

    def logits(codes: torch.Tensor, stage: int, frames: torch.Tensor) -> torch.Tensor:
        return net(torch.cat([codes, codes]), stage, sources, torch.cat([frames, frames]))

    made = generate(logits, prompts, 31, params, mask_token=CARD, span=span, seeds=[0, 0], guided=True)
    for item in range(2):
        alone = plainly(net, condition[[item, 2 + item]], prompts[item], 31, params)
        np.testing.assert_array_equal(made[item].numpy(), alone)


def test_logits_of_some_frames_are_those_of_all() -> None:
    net = network(3, 5, seed=0)
    codes = torch.randint(0, CARD + 1, (2, CODEBOOKS, 20))
    sources = net.keys_values(torch.randn(2, 4, 16))
    frames = torch.tensor([[19, 0, 3], [5, 6, 7]])
    for stage in range(CODEBOOKS):
        every = net(codes, stage, sources)
        for row in range(2):
            torch.testing.assert_close(net(codes, stage, sources, frames)[row], every[row, frames[row]])


@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 0.999), sharpness=st.floats(0.1, 8.0))
def test_the_most_probable_are_those_of_a_whole_sort(seed: int, share: float, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.softmax(sharpness * torch.randn(2, 3, 700, generator=generator), dim=-1)
    ordered, indices = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    want = torch.zeros_like(probabilities).scatter_(-1, indices, ordered.masked_fill(before > share, 0.0))
    torch.testing.assert_close(_most_probable(probabilities, share), want)


@pytest.mark.parametrize(("n", "reach"), [(1, 0), (7, 2), (49, 5), (64, 0), (96, 5), (100, 5),
                                           (129, 17), (300, 40), (33, -1)])
def test_local_attention_sees_what_a_mask_lets_through(n: int, reach: int) -> None:
    torch.manual_seed(n)
    q, k, v = torch.randn(3, 2, 4, n, 8).unbind(0)
    at = torch.arange(n)
    seen = (at[:, None] - at[None, :]).abs() <= (n if reach < 0 else reach)
    scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(~seen, -math.inf)
    torch.testing.assert_close(local_attention(n, reach, "cpu")(q, k, v), scores.softmax(-1) @ v)
