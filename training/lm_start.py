"""Where the language model starts from: the codec's geometry, and attention to the same place in the bar.

A language model over codes spends most of a short training on two things that are known beforehand: which codes are
alike (the codec's own entries say so), and that loops repeat (the transport says where). So embeddings and heads start
as projections of the codebooks, and three heads of the first layer start with queries on the phase of the frame to
predict and keys on the phase of the frame that was read, which makes them look one bar back; their values carry the
first three codebooks through. All of it is free to change in training. Without a known tempo these features are zero,
and the heads start with even attention.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundforge.nn.codebooks import CodebookEmbeddings, CodebookHeads
from soundforge.nn.starter_conditions import BAR_HARMONICS, BEAT_HARMONICS
from soundforge.nn.transformer import DecoderLayer
from training.lm_model import StarterLm

EMBEDDING_NORM = 4.0  # beside position codes of norm 11 an embedding of norm 1 would be lost after the norm
HEAD_NORM = 0.7
PEAK_LOGIT = 12.0  # attention logit at equal phase
COPY_GAIN = 2.0
NORMED = 1.3  # standard deviation of the first layer's input, which its norm divides by
PHASE_HEADS = ((8, 0.0), (6, 0.0), (7, 0.0))
"""Per head: how many of the cycles (beats, then bars from short to long) it compares."""


@torch.no_grad()
def start_from_codec(model: StarterLm, codebooks: Tensor, seed: int = 0) -> None:
    """Overwrite the start values of `model`; `codebooks` `[K, entries, width]` of the codec."""
    sizes = model.sizes
    d, books, width = sizes.d_model, sizes.n_codebooks, codebooks.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(d, d, generator=generator))[0]
    embeddings, heads = model.lm.emb, model.lm.heads
    assert isinstance(embeddings, CodebookEmbeddings)
    assert isinstance(heads, CodebookHeads)
    for k in range(books):
        entries = codebooks[k].float()
        entries = entries - entries.mean(0)
        entries = entries / entries.square().sum(-1).mean().sqrt()
        directions = basis[:, k * width : (k + 1) * width]
        if directions.shape[1] < width:
            raise ValueError(f"{books} codebooks of width {width} do not fit into {d} dimensions side by side")
        projected = entries @ directions.T
        embeddings.weight.data[k, : sizes.card] = EMBEDDING_NORM * projected
        heads.weight.data[k] = HEAD_NORM * projected
    _look_back(model, basis, width)


def _look_back(model: StarterLm, basis: Tensor, width: int) -> None:
    d, n_heads = model.sizes.d_model, model.sizes.n_heads
    head_width = d // n_heads
    layer = model.lm.layers[0]
    assert isinstance(layer, DecoderLayer)
    attention = layer.self_attn
    query, key, value = attention.in_proj.weight.data.view(3, n_heads, head_width, d)
    output = attention.out_proj.weight.data.view(d, n_heads, head_width)
    read_off = torch.linalg.pinv(model.project["transport"].weight.data.float())  # features from the sum
    cycles = len(BEAT_HARMONICS) + len(BAR_HARMONICS)
    for head, (compared, rest) in enumerate(PHASE_HEADS[: model.sizes.n_codebooks]):
        # q.k / sqrt(head_width) is gain^2 * sum of cosines / NORMED^2 / sqrt(head_width): PEAK_LOGIT at equal phase.
        gain = (PEAK_LOGIT * head_width**0.5 * NORMED**2 / compared) ** 0.5
        for target, first in ((query[head], 0), (key[head], 2 * cycles)):
            target.mul_(rest)
            target[: 2 * compared] = gain * read_off[first : first + 2 * compared]
        directions = basis[:, head * width : (head + 1) * width]
        value[head].zero_()
        value[head, :width] = directions.T
        output[:, head] = 0.0
        output[:, head, :width] = COPY_GAIN * directions
