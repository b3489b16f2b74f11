"""One table per codebook kept as one tensor, so that K codebooks cost one gather or one product.

In a state dict the books stand apart (`emb.0.weight`, `emb.1.weight`, ...), as in published checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _PerCodebook(nn.Module):
    """`weight` `[K, rows, D]` and perhaps `bias` `[K, rows]`, saved and loaded as K entries each."""

    def __init__(self, n_codebooks: int, rows: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.n_codebooks = n_codebooks
        self.weight = nn.Parameter(torch.empty(n_codebooks, rows, width))
        self.bias = nn.Parameter(torch.zeros(n_codebooks, rows)) if bias else None

    def _stacks(self) -> list[tuple[str, nn.Parameter]]:
        return [("weight", self.weight)] + ([("bias", self.bias)] if self.bias is not None else [])

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, stack in self._stacks():
            for k in range(self.n_codebooks):
                destination[f"{prefix}{k}.{name}"] = stack[k] if keep_vars else stack.detach()[k]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, local_metadata: dict[str, Any],
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        wanted: set[str] = set()
        for name, stack in self._stacks():
            keys = [f"{prefix}{k}.{name}" for k in range(self.n_codebooks)]
            wanted.update(keys)
            missing = [key for key in keys if key not in state_dict]
            missing_keys.extend(missing)
            wrong = [key for key in keys if key in state_dict and state_dict[key].shape != stack.shape[1:]]
            error_msgs.extend(f"size mismatch for {key}: came as {list(state_dict[key].shape)}, expected "
                              f"{list(stack.shape[1:])}" for key in wrong)
            if missing or wrong:
                continue
            with torch.no_grad():
                if local_metadata.get("assign_to_params_buffers", False):
                    stacked = torch.stack([state_dict[key] for key in keys])
                    setattr(self, name, nn.Parameter(stacked, requires_grad=stack.requires_grad))
                else:
                    for k, key in enumerate(keys):
                        stack[k].copy_(state_dict[key])
        if strict:
            unexpected_keys.extend(key for key in state_dict if key.startswith(prefix) and key not in wanted)


class CodebookEmbeddings(_PerCodebook):
    """K embedding tables of `card + 1` rows (the last one is the special token); the K vectors are summed."""

    def __init__(self, n_codebooks: int, card: int, width: int) -> None:
        super().__init__(n_codebooks, card + 1, width)
        # Not a buffer: a model built on the meta device and filled by assignment would keep it there.
        self._offsets: Tensor | None = None

    def forward(self, codes: Tensor) -> Tensor:
        """Codes int64 `[B, K, S]` with entries 0 .. card to `[B, S, D]`."""
        offsets = self._offsets
        if offsets is None or offsets.device != codes.device:
            offsets = torch.arange(self.n_codebooks, device=codes.device)[:, None] * self.weight.shape[1]
            self._offsets = offsets
        return F.embedding(codes + offsets, self.weight.flatten(0, 1)).sum(dim=1)


class CodebookHeads(_PerCodebook):
    """K linear heads of `card` outputs each: the special token can never be predicted."""

    def __init__(self, n_codebooks: int, card: int, width: int, bias: bool = False) -> None:
        super().__init__(n_codebooks, card, width, bias)
        self.card = card

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., D]` to logits `[..., K, card]`."""
        bias = None if self.bias is None else self.bias.flatten()
        logits = F.linear(hidden, self.weight.flatten(0, 1), bias)
        return logits.view(*hidden.shape[:-1], self.n_codebooks, self.card)
