"""From features to what the network takes: projection, mask, and the place where each slot enters.

The projection's bias is applied BEFORE the mask, so padded and null places are exactly zero, not the bias.
`prepend` slots stand before the tokens in the order of the checkpoint's slots; `cross` slots are attended to side by
side; `sum` slots are added column by column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from soundforge.errors import ConditionError, PluginError
from soundforge.interfaces import Condition, Projection, Slot, SlotWeights
from soundforge.nn.language_model import FusedInputs


class Fuser:
    """Projects and places the conditions of one checkpoint. Thread-safe: nothing changes after construction.

    Args:
        slots: with their trained projections, in the checkpoint's order.
        d_model: the network's width.
        mask_cross: padding of cross-attended slots is not attended to (transformers' layout). In AudioCraft's it is:
            zero vectors that take softmax weight, so that padding changes the result. A slot's option
            `mask_padding` overrides it.
        device, dtype: where and as what the network computes.

    Raises:
        ConditionError: a slot that is to be concatenated, which no decoder LM does.
    """

    def __init__(self, slots: Sequence[SlotWeights], d_model: int, *, mask_cross: bool,
                 device: torch.device | str, dtype: torch.dtype) -> None:
        for item in slots:
            if item.slot.fuse not in ("cross", "prepend", "sum"):
                raise ConditionError(f"slot {item.slot.name!r} is fused by {item.slot.fuse!r}, expected cross, prepend "
                                     "or sum in a decoder language model")
        self.slots = tuple(slots)
        self.d_model = d_model
        self._device, self._dtype = torch.device(device), dtype
        self._mask_cross = {item.slot.name: bool(item.slot.options.get("mask_padding", mask_cross)) for item in slots}
        self._projections: dict[str, tuple[Tensor | None, Tensor | None]] = {
            item.slot.name: (None if item.weight is None else item.weight.to(device, dtype),
                             None if item.bias is None else item.bias.to(device, dtype))
            for item in slots}

    def project(self, name: str, condition: Condition, own: Projection | None = None) -> Tensor:
        """Features `[B, L, W]` to `[B, L, d_model]`, zero where the mask is False.

        Args:
            own: weights that the conditioner brought along, instead of the checkpoint's.

        Raises:
            PluginError: the conditioner gave another width or rank than its slot takes.
        """
        weight, bias = self._projections[name] if own is None else self._placed(own)
        values, mask = condition.values, condition.mask
        width = self.d_model if weight is None else weight.shape[1]
        if values.ndim != 3 or values.shape[-1] != width or mask.shape != values.shape[:2]:
            raise PluginError(f"the conditioner of slot {name!r} gave values {list(values.shape)} with mask "
                              f"{list(mask.shape)}, expected [batch, length, {width}] with [batch, length]")
        values = values.to(self._device, self._dtype)
        if weight is not None:
            values = F.linear(values, weight, bias)
        # where, not *: a feature that is not finite must not leak through its mask (NaN * 0 is NaN).
        return torch.where(mask.to(values.device, torch.bool)[..., None], values, values.new_zeros(()))

    def _placed(self, own: Projection) -> tuple[Tensor, Tensor | None]:
        to = {"device": self._device, "dtype": self._dtype}
        return own.weight.to(**to), None if own.bias is None else own.bias.to(**to)  # type: ignore[call-overload]

    def fuse(self, conditions: Mapping[str, Condition], n_positions: int, frame_rate_hz: float,
             slots: Sequence[Slot] | None = None, own: Mapping[str, Projection] | None = None) -> FusedInputs:
        """Place the conditions of a batch.

        Args:
            conditions: by slot name, one for each slot, all with the same number of rows.
            slots: the checkpoint's, and behind them those that conditioners brought along; None = the checkpoint's.
            own: by slot name, weights that conditioners brought along.
            n_positions: S, positions of the delayed sequence that summed slots are laid out for.
            frame_rate_hz: of the codes.
        """
        prepend: list[Tensor] = []
        cross: list[Tensor] = []
        masks: list[Tensor] = []
        total: Tensor | None = None
        for slot in slots if slots is not None else [item.slot for item in self.slots]:
            name = slot.name
            values = self.project(name, conditions[name], (own or {}).get(name))
            if slot.fuse == "prepend":
                prepend.append(values)
            elif slot.fuse == "cross":
                cross.append(values)
                mask = conditions[name].mask.to(values.device, torch.bool)
                masks.append(mask if self._mask_cross.get(name, True) else torch.ones_like(mask))
            else:
                laid_out = lay_out_frames(values, n_positions, slot.frame_rate_hz or frame_rate_hz, frame_rate_hz)
                total = laid_out if total is None else total + laid_out
        cross_mask = torch.cat(masks, dim=1) if masks else None
        if cross_mask is not None and bool(cross_mask.all()):
            cross_mask = None
        return FusedInputs(prepend=torch.cat(prepend, dim=1) if prepend else None,
                           cross=torch.cat(cross, dim=1) if cross else None, cross_mask=cross_mask, sum=total)


def lay_out_frames(values: Tensor, n_positions: int, rate_hz: float, frame_rate_hz: float) -> Tensor:
    """Features `[B, L, D]` at `rate_hz` to `[B, n_positions, D]` along the delayed sequence.

    Position s carries the feature of frame s, the frame whose first codebook is predicted there (with delays that
    start at 0). The last feature is held; a single one serves all positions.
    """
    length = values.shape[1]
    positions = torch.arange(n_positions)  # on the CPU: not every GPU has float64
    if rate_hz != frame_rate_hz:
        positions = (positions.double() * (rate_hz / frame_rate_hz) + 1e-6).long()
    return values[:, positions.clamp(max=length - 1).to(values.device)]
