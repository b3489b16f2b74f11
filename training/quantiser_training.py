"""How the residual codebooks learn: k-means start, moving averages, revival of unused entries, quantiser dropout."""

from __future__ import annotations

import torch
from torch import Tensor

from soundforge.nn.starter_codec import ResidualQuantiser


class CodebookTrainer:
    """Moving averages beside a quantiser's codebooks; its tensors go into the checkpoint."""

    def __init__(
        self, quantiser: ResidualQuantiser, decay: float = 0.99, revive_below: float = 0.05, seed: int = 0
    ) -> None:
        self.quantiser = quantiser
        self.decay = decay
        self.revive_below = revive_below
        books = quantiser.codebooks
        self.counts = torch.ones(books.shape[:2])
        self.sums = books.clone()
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def start(self, latents: Tensor, rounds: int = 6) -> None:
        """K-means on latents ``[N, D]`` (N well above the codebook size), codebook after codebook."""
        residual = latents.float()
        for k in range(self.quantiser.codebooks.shape[0]):
            size = self.quantiser.codebooks.shape[1]
            pick = torch.randperm(len(residual), generator=self.generator)[:size]
            book = residual[pick].clone()
            if len(book) < size:
                book = book.repeat(-(-size // len(book)), 1)[:size] + 1e-3 * torch.randn(
                    size, book.shape[1], generator=self.generator
                )
            for _ in range(rounds):
                index = self._nearest(residual, book)
                count = torch.bincount(index, minlength=size).float()
                mean = torch.zeros_like(book).index_add_(0, index, residual) / count.clamp_min(1)[:, None]
                fresh = residual[torch.randint(len(residual), (size,), generator=self.generator)]
                book = torch.where((count > 0)[:, None], mean, fresh)
            self.quantiser.codebooks[k] = book
            self.counts[k] = count.clamp_min(0.5)
            self.sums[k] = book * self.counts[k][:, None]
            residual = residual - book[self._nearest(residual, book)]

    @staticmethod
    def _nearest(vectors: Tensor, book: Tensor) -> Tensor:
        return ((book * book).sum(-1) - 2.0 * vectors @ book.T).argmin(-1)

    def quantise(self, latent: Tensor, update: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Straight-through quantisation of ``[B, T, D]``.

        Returns the quantised latent, the commitment loss, and the codes [B, K, T]. Some items use a random number of
        codebooks only (quantiser dropout), so that the first ones carry the most.
        """
        z = latent.float()
        books = self.quantiser.codebooks
        depth = torch.full((z.shape[0],), len(books))
        limited = torch.rand(z.shape[0], generator=self.generator) < 0.4
        depth[limited] = torch.randint(1, len(books) + 1, (int(limited.sum()),), generator=self.generator)
        residual = z.detach()
        total = torch.zeros_like(residual)
        commitment = z.new_zeros(())
        codes = []
        for k, book in enumerate(books):
            index = self._nearest(residual.reshape(-1, residual.shape[-1]), book)
            if update:
                self._update(k, residual.reshape(-1, residual.shape[-1]), index)
            chosen = book[index].view_as(residual)
            use = (depth > k).to(z.dtype).view(-1, 1, 1)
            total = total + use * chosen
            residual = residual - chosen
            commitment = commitment + (use * (z - total.detach()) ** 2).mean()
            codes.append(index.view(z.shape[0], z.shape[1]))
        spread = z.detach().var().clamp_min(1e-6)  # keeps the term independent of the latent's scale
        return z + (total - z).detach(), commitment / len(books) / spread, torch.stack(codes, dim=1)

    @torch.no_grad()
    def _update(self, k: int, vectors: Tensor, index: Tensor) -> None:
        size = self.counts.shape[1]
        count = torch.bincount(index, minlength=size).float()
        summed = torch.zeros_like(self.sums[k]).index_add_(0, index, vectors)
        self.counts[k].mul_(self.decay).add_(count, alpha=1 - self.decay)
        self.sums[k].mul_(self.decay).add_(summed, alpha=1 - self.decay)
        dead = (self.counts[k] < self.revive_below).nonzero().flatten()
        if len(dead):
            dead = dead[torch.randperm(len(dead), generator=self.generator)[: max(1, len(vectors) // 8)]]
            fresh = vectors[torch.randint(len(vectors), (len(dead),), generator=self.generator)]
            self.counts[k][dead] = 0.3
            self.sums[k][dead] = fresh * 0.3
        self.quantiser.codebooks[k] = self.sums[k] / self.counts[k].clamp_min(1e-5)[:, None]

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint needs beyond the codebooks."""
        return {"counts": self.counts, "sums": self.sums, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores ``state_dict``."""
        self.counts, self.sums = state["counts"], state["sums"]
        self.generator.set_state(state["generator"])
