"""One decode step of MusicGen-small's size on the CPU, beside transformers', and how near to the memory's limit it is.

    python benchmarks/lm_step.py [--threads 2] [--positions 0 250 500 750 1000 1250 1499] [--rounds 5] [--whole]

Random weights: 24 layers, width 1024, 16 heads, 4 codebooks of 2048, cross-attention to 16 vectors, batch 1 with
guidance (two rows). All caches stand at a position, then each thing makes a few steps there, in turns; a figure over
the window is the mean over evenly spread positions. `--whole` also runs ours from the first step to the last one,
1,500 in a row. The limit is the time to read what a step must read (weights, and the filled keys and values) at the
bandwidth measured in the same run. Last line: JSON.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import mean, median
from typing import Any, TypeVar

import torch
from common import arguments, parse, print_result

from soundforge.machine import read_bandwidth
from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.language_model import FusedInputs, LanguageModel, LanguageModelConfig
from soundforge.nn.quantised_model import quantised_language_model

M = TypeVar("M", bound=torch.nn.Module)
CONFIG = LanguageModelConfig(1024, 16, 24, 4, 2048, cross_attention=True)
ROWS, TEXT_LENGTH, WINDOW, STEPS_AT_ONCE = 2, 16, 1504, 3
OURS = ("float32", "int8", "int4")


def filled(model: M) -> M:
    """A model built without storage, given memory and small random weights, fast."""
    model.to_empty(device="cpu").eval().requires_grad_(False)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.dtype == torch.uint8:
            tensor.random_(0, 256)
        elif name.endswith(".scale"):
            tensor.fill_(0.003)
        else:
            tensor.uniform_(-0.03, 0.03)
    return model


class Ours:
    """Our model, its cache full of something."""

    def __init__(self, kind: str) -> None:
        with torch.device("meta"):
            empty = quantised_language_model(CONFIG, kind) if kind.startswith("int") else LanguageModel(CONFIG)
        self.lm = filled(empty)
        self.lm.prepare_for_steps()
        self.fused = FusedInputs(cross=torch.randn(ROWS, TEXT_LENGTH, CONFIG.d_model))
        self.state = self.lm.new_state(ROWS, WINDOW, self.fused)
        for layer in self.state.keys_values:
            layer.normal_()
        self.column = torch.randint(0, CONFIG.card, (ROWS, CONFIG.n_codebooks, 1))

    def steps(self, position: int, count: int) -> None:
        self.state.position = position
        for _ in range(count):
            self.lm.step(self.column, self.state)

    def bytes_per_step(self, position: int) -> int:
        """What one step must read: matrices, heads, cross-attended vectors, and the filled part of the cache."""
        weights = sum(t.nbytes for name, t in (*self.lm.named_parameters(), *self.lm.named_buffers())
                      if not name.startswith("emb.") and ".kv_proj." not in name)
        cross = sum(t.nbytes for t in self.state.cross_keys_values or ())
        return weights + cross + _filled_bytes(self.state, position + 1)


def _filled_bytes(state: DecodeState, filled: int) -> int:
    whole = sum(t.nbytes for t in (*state.keys_values, *state.narrow))
    return int(whole * filled / state.capacity)


class Theirs:
    """transformers' decoder of the same size with its dynamic or static cache."""

    def __init__(self, dtype: torch.dtype, static: bool) -> None:
        from transformers.models.musicgen import MusicgenDecoderConfig, MusicgenForCausalLM

        config = MusicgenDecoderConfig(
            vocab_size=CONFIG.card, hidden_size=CONFIG.d_model, num_hidden_layers=CONFIG.n_layers,
            num_attention_heads=CONFIG.n_heads, ffn_dim=4 * CONFIG.d_model, num_codebooks=CONFIG.n_codebooks,
            dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
        config._attn_implementation = "sdpa"
        with torch.device("meta"):
            empty = MusicgenForCausalLM(config).to(dtype)
        self.net = filled(empty)
        self.config, self.dtype, self.static = config, dtype, static
        self.encoded = torch.randn(ROWS, TEXT_LENGTH, CONFIG.d_model, dtype=dtype)
        self.column = torch.randint(0, CONFIG.card, (ROWS * CONFIG.n_codebooks, 1))

    def _cache(self, position: int) -> Any:
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache, StaticCache

        own: Any = StaticCache(config=self.config, max_cache_len=WINDOW) if self.static else DynamicCache()
        if position:
            shape = (ROWS, CONFIG.n_heads, position, CONFIG.d_model // CONFIG.n_heads)
            for layer in range(CONFIG.n_layers):
                keys, values = torch.randn(shape, dtype=self.dtype), torch.randn(shape, dtype=self.dtype)
                own.update(keys, values, layer, {"cache_position": torch.arange(position)})
        return EncoderDecoderCache(own, DynamicCache())

    def prepare(self, position: int) -> Callable[[], None]:
        """What makes one step; the cache stands there."""
        cache = self._cache(position)
        at = position

        def step() -> None:
            nonlocal at
            self.net(input_ids=self.column, encoder_hidden_states=self.encoded, past_key_values=cache, use_cache=True,
                     cache_position=torch.tensor([at]))
            at += 1
        step()  # the cross-attended keys and values are computed here
        return step


@torch.inference_mode()
def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[0, 250, 500, 750, 1000, 1250, 1496])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", nargs="+", default=["float32", "int8", "int4"], choices=OURS)
    parser.add_argument("--theirs", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--static", action="store_true", help="transformers' static cache instead of its dynamic one")
    parser.add_argument("--whole", action="store_true", help="also all 1,500 steps of ours, one after the other")
    options = parse(parser)
    bandwidth = read_bandwidth()
    ours = {name: Ours(name) for name in options.ours}
    theirs = {name: Theirs(getattr(torch, name), options.static) for name in options.theirs}
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in options.positions]
                                             for name in (*ours, *(f"transformers_{name}" for name in theirs))}
    for index, position in enumerate(options.positions):
        ready = {f"transformers_{name}": model.prepare(position) for name, model in theirs.items()}
        for turn in range(-1, options.rounds):
            for name in (seconds if turn % 2 else reversed(seconds)):
                began = time.perf_counter()
                if name in ours:
                    ours[name].steps(position, STEPS_AT_ONCE)
                else:
                    for _ in range(STEPS_AT_ONCE):
                        ready[name]()
                if turn >= 0:
                    seconds[name][index].append((time.perf_counter() - began) / STEPS_AT_ONCE)
        print(f"position {position:5}: " + ", ".join(f"{name} {1e3 * median(runs[index]):.1f} ms"
                                                     for name, runs in seconds.items()), flush=True)
        del ready
        gc.collect()
    print_result("lm_step", _figures(seconds, options.positions, ours, bandwidth)
                 | ({name: whole_window(model) for name, model in ours.items()} if options.whole else {}))


def _figures(seconds: dict[str, list[list[float]]], positions: list[int], ours: dict[str, Ours],
             bandwidth: float) -> dict[str, Any]:
    per_step = {name: [median(runs) for runs in places] for name, places in seconds.items()}
    over_window = {name: mean(values) for name, values in per_step.items()}
    best = min((value for name, value in over_window.items() if name.startswith("transformers")), default=None)
    kernels = next(iter(ours.values())).lm.compiled
    figures: dict[str, Any] = {
        "size": "musicgen-small, random weights, 2 rows, 16 cross-attended vectors", "positions": positions,
        "kernels": None if kernels is None else kernels.isa, "read_gb_per_second": bandwidth / 1e9,
        "milliseconds": {name: [1e3 * v for v in values] for name, values in per_step.items()},
        "steps_per_second": {name: 1 / value for name, value in over_window.items()}}
    for name, model in ours.items():
        limit = [model.bytes_per_step(position) / bandwidth for position in positions]
        figures[name] = {"share_of_limit": mean(limit) / over_window[name],
                         "share_of_limit_last": limit[-1] / per_step[name][-1],
                         "gigabytes_last_step": model.bytes_per_step(positions[-1]) / 1e9,
                         "times_transformers": None if best is None else best / over_window[name],
                         "real_time_factor": 1 / over_window[name] / 50}
    return figures


def whole_window(model: Ours) -> dict[str, float]:
    """1,500 steps from an empty cache."""
    model.state.reset()
    laps = [time.perf_counter()]
    for _ in range(15):
        model.steps(model.state.position, 100)
        laps.append(time.perf_counter())
    return {"steps_per_second": 1500 / (laps[-1] - laps[0]), "last_100": 100 / (laps[-1] - laps[-2])}


if __name__ == "__main__":
    main()
