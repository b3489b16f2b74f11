"""Residual vector quantisation: each codebook codes what the ones before it left over.

EnCodec's form (Défossez et al. 2022, section 3.2; SoundStream, Zeghidour et al. 2021): nearest vector in
euclidean distance, the latent is the sum of the chosen vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualQuantiser(nn.Module):
    """K codebooks of N vectors.

    Args:
        n_codebooks: K.
        codebook_size: N.
        dimension: D, width of the latent.
    """

    def __init__(self, n_codebooks: int, codebook_size: int, dimension: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.empty(n_codebooks, codebook_size, dimension), requires_grad=False)
        self._norms_of: tuple[object, Tensor] | None = None

    def _norms(self) -> Tensor:
        """`[K, 1, N]` squared lengths of the vectors; computed once, as a stream asks for every frame."""
        books = self.codebooks
        key = (books.data_ptr(), 0 if books.is_inference() else books._version, books.dtype)
        if self._norms_of is None or self._norms_of[0] != key:
            self._norms_of = (key, books.transpose(1, 2).pow(2).sum(1, keepdim=True))
        return self._norms_of[1]

    def encode(self, latent: Tensor, n_codebooks: int) -> Tensor:
        """Latent `[B, D, T]` to codes int64 `[B, n_codebooks, T]`, coarsest first."""
        batch, dimension, n_frames = latent.shape
        residual = latent.transpose(1, 2).reshape(-1, dimension)
        codes = []
        for codebook, norms in zip(self.codebooks[:n_codebooks], self._norms(), strict=False):
            # The reference's order of operations, term by term, so that near ties fall the same way.
            distance = residual.pow(2).sum(1, keepdim=True) - 2 * residual @ codebook.t() + norms
            chosen = distance.neg_().argmax(dim=-1)
            residual = residual - F.embedding(chosen, codebook)
            codes.append(chosen)
        return torch.stack(codes).view(n_codebooks, batch, n_frames).transpose(0, 1).contiguous()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[B, k, T]`, k <= K, to the latent `[B, D, T]`."""
        batch, k, n_frames = codes.shape
        size, dimension = self.codebooks.shape[1:]
        if n_frames == 0:
            return self.codebooks.new_zeros(batch, dimension, 0)
        # One look-up in all books laid end to end; the bag sums the K vectors of a frame.
        offsets = torch.arange(k, device=codes.device).view(1, k, 1) * size
        bags = (codes + offsets).transpose(1, 2).reshape(-1, k)
        summed = F.embedding_bag(bags, self.codebooks.view(-1, dimension), mode="sum")
        return summed.view(batch, n_frames, dimension).transpose(1, 2)
