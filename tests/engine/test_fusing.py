"""Fusing: bias before mask, order of the prefix, layout of summed features."""

from __future__ import annotations

import pytest
import torch

from soundforge.engine.fusing import Fuser, lay_out_frames
from soundforge.errors import ConditionError, PluginError
from soundforge.interfaces import Condition, Slot, SlotWeights


def slot(name: str, fuse: str, width: int = 3, **options: object) -> SlotWeights:
    return SlotWeights(Slot(name, name, width, fuse, options=options), torch.ones(4, width), torch.full((4,), 0.5))  # type: ignore[arg-type]


def fuser(*slots: SlotWeights, mask_cross: bool = False) -> Fuser:
    return Fuser(slots, 4, mask_cross=mask_cross, device="cpu", dtype=torch.float32)


def condition(length: int, real: int, value: float = 1.0, batch: int = 1) -> Condition:
    return Condition(torch.full((batch, length, 3), value), (torch.arange(length) < real).expand(batch, length))


def test_masked_places_are_zero_not_the_bias() -> None:
    projected = fuser(slot("text", "cross")).project("text", condition(3, 1))
    assert projected[0, 0].tolist() == [3.5] * 4
    assert not projected[0, 1:].any()


def test_not_a_number_does_not_leak_through_the_mask() -> None:
    values = torch.full((1, 2, 3), float("nan"))
    values[:, 0] = 1.0
    projected = fuser(slot("text", "cross")).project("text", Condition(values, torch.tensor([[True, False]])))
    assert torch.isfinite(projected).all()


def test_prefix_follows_the_slots_order_and_cross_slots_stand_side_by_side() -> None:
    out = fuser(slot("style", "prepend"), slot("text", "prepend"), slot("a", "cross"), slot("b", "cross")).fuse(
        {"text": condition(2, 2, 2.0), "style": condition(1, 1, 1.0), "a": condition(1, 1), "b": condition(3, 2)},
        5, 50.0)
    assert out.prepend is not None and out.cross is not None
    assert out.prepend[0, :, 0].tolist() == [3.5, 6.5, 6.5]
    assert out.cross.shape == (1, 4, 4)
    assert out.prefix_length == 3 and out.sum is None
    assert out.cross_mask is None, "AudioCraft attends to padding"


def test_transformers_layout_masks_padding_and_a_slot_may_say_otherwise() -> None:
    masked = fuser(slot("text", "cross"), mask_cross=True).fuse({"text": condition(3, 1)}, 5, 50.0)
    assert masked.cross_mask is not None and masked.cross_mask.tolist() == [[True, False, False]]
    own = fuser(slot("text", "cross", mask_padding=True)).fuse({"text": condition(3, 1)}, 5, 50.0)
    assert own.cross_mask is not None


def test_summed_features_are_laid_out_by_frame_and_held_at_the_end() -> None:
    values = torch.arange(4.0).view(1, 4, 1)
    assert lay_out_frames(values, 6, 50.0, 50.0)[0, :, 0].tolist() == [0, 1, 2, 3, 3, 3]
    assert lay_out_frames(values, 6, 25.0, 50.0)[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert lay_out_frames(values[:, :1], 3, 50.0, 50.0)[0, :, 0].tolist() == [0, 0, 0]


def test_a_conditioner_of_the_wrong_width_is_named() -> None:
    with pytest.raises(PluginError, match=r"'text' gave values \[1, 2, 5\].*\[batch, length, 3\]"):
        fuser(slot("text", "cross")).project("text", Condition(torch.zeros(1, 2, 5), torch.ones(1, 2).bool()))


def test_a_slot_no_decoder_lm_has_is_refused() -> None:
    with pytest.raises(ConditionError, match="concat"):
        fuser(slot("chords", "concat"))
