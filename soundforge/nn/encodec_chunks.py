"""Coding in chunks: for models whose layers normalise over all they are given, so that longer is not the same.

    signal   |-------- chunk 0 --------|
                                   |-------- chunk 1 --------|
             |<------- stride ------->|                    |---- chunk 2 (short) ---|

Each chunk is coded by itself. Decoded chunks are multiplied by a triangle and added; dividing by the sum of the
triangles gives each sample the weighted mean of the chunks that cover it (EnCodec, its `_linear_overlap_add`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from soundforge.errors import AudioError
from soundforge.interfaces import EncodedAudio

if TYPE_CHECKING:
    from soundforge.nn.encodec import EncodecCodec


@dataclass(frozen=True)
class ChunkLayout:
    """Args:
    samples: length of a chunk.
    stride_samples: distance between the starts of two chunks.
    hop_length: samples per frame.
    """

    samples: int
    stride_samples: int
    hop_length: int

    @property
    def frames(self) -> int:
        """Frames of a whole chunk."""
        return -(-self.samples // self.hop_length)

    def real_frames(self, index: int, n_samples: int) -> int:
        """Frames that chunk `index` of a signal of `n_samples` really has."""
        present = min(self.samples, n_samples - index * self.stride_samples)
        return max(0, -(-present // self.hop_length))


def encode_chunks(codec: EncodecCodec, samples: Tensor, n_codebooks: int, layout: ChunkLayout) -> EncodedAudio:
    """Samples `[B, C, n]`, n >= 1, chunk by chunk. When there are several, all have `layout.frames` frames, the
    last ones filled up with code 0 as the reference fills them; `n_samples` tells what is real."""
    codes, scales = [], []
    n_samples = samples.shape[-1]
    for start in range(0, n_samples, layout.stride_samples):
        piece, scale = codec.encode_chunk(samples[..., start : start + layout.samples], n_codebooks)
        codes.append(piece)
        scales.append(scale)
    if len(codes) > 1:
        codes = [F.pad(piece, (0, layout.frames - piece.shape[-1])) for piece in codes]
    kept = [scale for scale in scales if scale is not None]
    return EncodedAudio(
        torch.cat(codes, dim=-1),
        torch.cat(kept, dim=1) if kept else None,
        layout.frames if len(codes) > 1 else None,
        n_samples,
    )


def decode_chunks(codec: EncodecCodec, codes: Tensor, encoded: EncodedAudio, layout: ChunkLayout) -> Tensor:
    """Codes `[B, K, T]`, T >= 1, chunk by chunk and overlap-added: `[B, C, n]`, at least `n_samples`."""
    frames = encoded.chunk_frames or layout.frames
    adder = OverlapAdder(layout.stride_samples)
    pieces = []
    for index in range(-(-codes.shape[-1] // frames)):
        piece = codes[..., index * frames : (index + 1) * frames]
        if encoded.n_samples:
            piece = piece[..., : layout.real_frames(index, encoded.n_samples)]
        if piece.shape[-1]:
            pieces.append(adder.add(codec.decode_chunk(piece, _scale(encoded.scales, index))))
    return torch.cat([*pieces, adder.finish(pieces[0])], dim=-1)


def _scale(scales: Tensor | None, index: int) -> Tensor | None:
    if scales is None:
        return None
    if index >= scales.shape[1]:
        raise AudioError(f"scales for {scales.shape[1]} chunks came with codes of more; expected [B, n_chunks]")
    return scales[:, index : index + 1]


class OverlapAdder:
    """Weighted mean of overlapping chunks, given out as far as it is final."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._triangle: Tensor | None = None
        self._sum: Tensor | None = None  # [B, C, w] weighted chunks from the start of the next chunk on
        self._weight: Tensor | None = None  # [w] weights in it

    def add(self, chunk: Tensor) -> Tensor:
        """The next decoded chunk `[B, C, n]` to the samples before the start of the one after it.

        Every chunk is weighted by the first one's triangle; a short last chunk by its beginning.
        """
        if self._triangle is None or self._triangle.shape[0] < chunk.shape[-1]:
            place = torch.linspace(0, 1, chunk.shape[-1] + 2, device=chunk.device, dtype=chunk.dtype)[1:-1]
            self._triangle = 0.5 - (place - 0.5).abs()
        weight = self._triangle[: chunk.shape[-1]]
        total = weight * chunk
        if self._sum is not None and self._weight is not None:
            longest = max(total.shape[-1], self._sum.shape[-1])
            total = filled(self._sum, longest) + filled(total, longest)
            weight = filled(self._weight, longest) + filled(weight, longest)
        self._sum, self._weight = total[..., self._stride :].clone(), weight[self._stride :].clone()
        return total[..., : self._stride] / weight[: self._stride]

    def finish(self, like: Tensor) -> Tensor:
        """What is left behind the last chunk's stride, shaped as `like` `[B, C, n]`."""
        if self._sum is None or self._weight is None:
            return like[..., :0]
        return self._sum / self._weight

    def clone(self) -> OverlapAdder:
        """An independent copy; tensors are shared, nothing writes to them."""
        copy = OverlapAdder(self._stride)
        copy.__dict__.update(self.__dict__)
        return copy


def filled(x: Tensor, n: int) -> Tensor:
    """`x` with zeros behind it, n long."""
    return F.pad(x, (0, n - x.shape[-1]))
