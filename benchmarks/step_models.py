"""What `lm_step.py` times: a language model of MusicGen-small's size, ours, transformers', AudioCraft's.

Each stands at a position with its cache full of something, and makes steps there: two rows (one request with guidance),
cross-attention to 16 vectors, random weights.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from sizes import filled, language_model, musicgen_config

from soundforge.nn.language_model import FusedInputs
from soundforge.nn.step_bytes import bytes_per_step

CONFIG = musicgen_config("small")
ROWS, TEXT_LENGTH = 2, 16
CAPACITY = 1600  # a window of 1,500, and steps beyond it that a benchmark repeats


class Steps(Protocol):
    """Not thread-safe."""

    def stand_at(self, position: int) -> None:
        """So many positions are filled from now on; what happens once per condition has happened."""

    def seconds(self, count: int) -> float:
        """Make so many steps; the seconds they took."""


class Ours:
    """Args:
    kind: float32, int8, int4.
    """

    def __init__(self, kind: str) -> None:
        self.lm = language_model(CONFIG, None if kind == "float32" else kind)
        self.lm.prepare_for_steps()
        fused = FusedInputs(cross=torch.randn(ROWS, TEXT_LENGTH, CONFIG.d_model))
        self.state = self.lm.new_state(ROWS, CAPACITY, fused)
        for layer in self.state.keys_values:
            layer.normal_()
        self.column = torch.randint(0, CONFIG.card, (ROWS, CONFIG.n_codebooks, 1))

    def stand_at(self, position: int) -> None:
        self.state.position = position

    def seconds(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            self.lm.step(self.column, self.state)
        return time.perf_counter() - began

    def bytes_at(self, position: int) -> int:
        """What the step at this position must read."""
        return bytes_per_step(self.lm, self.state, position + 1)


class Transformers:
    """Its decoder with its dynamic cache, the faster one of its two here.

    Args:
        dtype: float32, bfloat16.
    """

    def __init__(self, dtype: str) -> None:
        from transformers.models.musicgen import MusicgenDecoderConfig, MusicgenForCausalLM

        config = MusicgenDecoderConfig(
            vocab_size=CONFIG.card, hidden_size=CONFIG.d_model, num_hidden_layers=CONFIG.n_layers,
            num_attention_heads=CONFIG.n_heads, ffn_dim=4 * CONFIG.d_model, num_codebooks=CONFIG.n_codebooks,
            dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
        config._attn_implementation = "sdpa"
        self.dtype = getattr(torch, dtype)
        with torch.device("meta"):
            empty = MusicgenForCausalLM(config).to(self.dtype)
        self.net = filled(empty)
        self.encoded = torch.randn(ROWS, TEXT_LENGTH, CONFIG.d_model, dtype=self.dtype)
        self.column = torch.randint(0, CONFIG.card, (ROWS * CONFIG.n_codebooks, 1))
        self._cache: Any = None
        self._position = 0

    def stand_at(self, position: int) -> None:
        from transformers.cache_utils import DynamicCache, EncoderDecoderCache

        own: Any = DynamicCache()
        if position:
            shape = (ROWS, CONFIG.n_heads, position, CONFIG.d_model // CONFIG.n_heads)
            for layer in range(CONFIG.n_layers):
                # One number over and over: what the numbers are takes no time in a step, drawing them does before it.
                kept = torch.rand(2, 1, 1, 1, 1).to(self.dtype).expand(2, *shape)
                own.update(kept[0].contiguous(), kept[1].contiguous(), layer)
        self._cache, self._position = EncoderDecoderCache(own, DynamicCache()), position
        self.seconds(1)  # the cross-attended keys and values are computed here

    def seconds(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            self.net(input_ids=self.column, encoder_hidden_states=self.encoded, past_key_values=self._cache,
                     use_cache=True, cache_position=torch.tensor([self._position]))
            self._position += 1
        return time.perf_counter() - began


class AudioCraft:
    """`audiocraft_steps.py` in an environment of its own, where it can be installed.

    Args:
        python: of that environment.
        threads: of torch there.
    """

    def __init__(self, python: str, threads: int) -> None:
        script = Path(__file__).with_name("audiocraft_steps.py")
        self._process = subprocess.Popen([python, str(script), str(threads)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self._answer()

    def stand_at(self, position: int) -> None:
        self._ask(f"stand {position}")

    def seconds(self, count: int) -> float:
        return float(self._ask(f"steps {count}"))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the process with AudioCraft ended; what it said stands above")
        return answer
