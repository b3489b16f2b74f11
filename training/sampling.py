"""Batched sampling from a trained model, for evaluation: many prompts at once, the engine's step function."""

from __future__ import annotations

import torch
from torch import Tensor

from soundforge.nn.language_model import FusedInputs, LanguageModel
from training.lm_data import delayed


def draw(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    """Tokens ``[B, K]`` from logits ``[B, K, card]``; temperature 0 takes the largest."""
    if temperature <= 0:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    if top_k:
        limit = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < limit, float("-inf"))
    noise = torch.empty_like(logits).exponential_(generator=generator)
    return (logits.softmax(-1) / noise).argmax(-1)


@torch.inference_mode()
def continue_codes(
    lm: LanguageModel,
    prompt: Tensor,
    n_new: int,
    summed: Tensor | None,
    *,
    temperature: float = 0.9,
    top_k: int = 80,
    seed: int = 0,
    fused: FusedInputs | None = None,
) -> Tensor:
    """Codes ``[B, K, P]`` -> new codes ``[B, K, n_new]``.

    ``summed`` is the projected sum condition ``[B, >= P + n_new + K - 1, D]``; ``fused`` brings cross-attended and
    prepended ones.
    """
    generator = torch.Generator().manual_seed(seed)
    batch, books, known = prompt.shape
    special = lm.config.card
    total = known + n_new
    filled = torch.zeros(batch, books, total, dtype=torch.long)
    filled[:, :, :known] = prompt
    columns = total + books - 1
    fused = fused or FusedInputs()
    state = lm.new_state(batch, fused.prefix_length + columns, fused)
    inputs, _ = delayed(filled, special)  # column s holds codebook k of frame s - 1 - k
    # Columns 0 .. known hold nothing unknown in codebook 0; later codebooks of the prompt are known further on.
    logits = lm.step(inputs[:, :, : known + 1], state, fused, None if summed is None else summed[:, : known + 1])
    for column in range(known + 1, columns + 1):
        tokens = draw(logits, temperature, top_k, generator)
        for k in range(books):
            frame = column - 1 - k
            if known <= frame < total:
                filled[:, k, frame] = tokens[:, k]
        if column == columns:
            break
        step = torch.full((batch, books, 1), special)
        for k in range(books):
            if 0 <= column - 1 - k < total:
                step[:, k, 0] = filled[:, k, column - 1 - k]
        logits = lm.step(step, state, fused, None if summed is None else summed[:, column : column + 1])
    return filled[:, :, known:]
