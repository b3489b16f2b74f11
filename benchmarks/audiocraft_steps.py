"""AudioCraft's language model of MusicGen-small's size, stepped on request. `lm_step.py --audiocraft PYTHON` starts it.

It runs in an environment of its own, because AudioCraft asks for other versions than we do, and needs only torch and
`audiocraft` there, nothing of ours. On each line that comes it acts, and answers with one line:

    stand POSITION    the cache is filled up to there, and one step made     ->  ready
    steps COUNT       so many steps, streaming, two rows                     ->  seconds

Random weights, float32 (what AudioCraft computes in on a CPU), its configuration `musicgen_lm` at scale "small".
"""

from __future__ import annotations

import sys
import time

import torch
from audiocraft.models.lm import LMModel
from audiocraft.modules.codebooks_patterns import DelayedPatternProvider
from audiocraft.modules.conditioners import ConditionFuser, ConditioningProvider
from audiocraft.modules.transformer import StreamingMultiheadAttention

ROWS, TEXT_LENGTH, WIDTH, HEADS, LAYERS, BOOKS, CARD = 2, 16, 1024, 16, 24, 4, 2048


def model() -> LMModel:
    """What `get_lm_model` builds for the published checkpoint."""
    fuser = ConditionFuser({"cross": ["description"], "sum": [], "prepend": [], "input_interpolate": []})
    lm = LMModel(DelayedPatternProvider(BOOKS), ConditioningProvider({}), fuser, n_q=BOOKS, card=CARD, dim=WIDTH,
                 num_heads=HEADS, hidden_scale=4, norm="layer_norm", norm_first=True, bias_proj=False,
                 num_layers=LAYERS, dropout=0.0, activation="gelu", bias_ff=False, bias_attn=False, causal=True,
                 custom=False, memory_efficient=True, cross_attention=True, positional_embedding="sin")
    return lm.eval().requires_grad_(False)


def stand(lm: LMModel, position: int) -> None:
    """Put the streaming state where it is after so many steps."""
    lm.reset_streaming()
    if not position:
        return
    shape = (ROWS, HEADS, position, WIDTH // HEADS)
    for module in lm.modules():
        if isinstance(module, StreamingMultiheadAttention) and module.causal:
            module._streaming_state.update(past_keys=torch.rand(1).expand(shape).contiguous(),
                                           past_values=torch.rand(1).expand(shape).contiguous(),
                                           offset=torch.tensor(0))
    lm.transformer._streaming_state["offsets"] = torch.full((ROWS,), position, dtype=torch.long)


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    lm = model()
    condition = {"description": (torch.randn(ROWS, TEXT_LENGTH, WIDTH), torch.ones(ROWS, TEXT_LENGTH))}
    column = torch.randint(0, CARD, (ROWS, BOOKS, 1))
    with lm.streaming():
        print("ready", flush=True)
        for line in sys.stdin:
            what, number = line.split()
            if what == "stand":
                stand(lm, int(number))
                lm(column, conditions=[], condition_tensors=condition)
                print("ready", flush=True)
                continue
            began = time.perf_counter()
            for _ in range(int(number)):
                lm(column, conditions=[], condition_tensors=condition)
            print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
