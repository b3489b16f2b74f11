"""What one step of a language model must read from memory: the limit of its speed is this over the bandwidth."""

from __future__ import annotations

from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.language_model import LanguageModel


def bytes_per_step(lm: LanguageModel, state: DecodeState, position: int) -> int:
    """Bytes of all matrices that a step multiplies with, and of the caches' filled part after `position` positions.

    Left out are embeddings, of which it reads a few rows, and the projections of cross-attended keys and values, which
    were used once before the first step.
    """
    weights = sum(t.nbytes for name, t in (*lm.named_parameters(), *lm.named_buffers())
                  if not name.startswith("emb.") and ".kv_proj." not in name)
    cross = sum(t.nbytes for t in state.cross_keys_values or ())
    return weights + cross + (state.nbytes - cross) * position // state.capacity
