"""The conformance check of conditioners."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from soundforge.errors import InputError
from soundforge.interfaces import (
    BringsProjection,
    Condition,
    ConditionContext,
    Conditioner,
    ConditionerDescriptor,
    Slot,
    describe_slot,
)
from soundforge.testing.asserting import ODD_VALUES, refused_in_one_line, require, require_close

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_CONTEXT = ConditionContext(sample_rate=32_000, frame_rate_hz=50.0, n_frames=100, window_seconds=30.0)
"""Two seconds at 50 frames per second."""

WINDOW_TOLERANCE = 0.02
"""Between a window and the whole: features of what is nearly silent are mostly rounding."""


def check_conditioner(conditioner: Conditioner, value: Any, *, slot: Slot, other: Any = None,
                      context: ConditionContext = DEFAULT_CONTEXT, descriptor: ConditionerDescriptor | None = None,
                      odd: Sequence[Any] = ODD_VALUES, max_encode_seconds: float | None = None) -> None:
    """Check a conditioner against its contract: shapes, null, batching, determinism, windows, odd input, latency.

    Args:
        conditioner: as its factory made it for `slot`.
        value: one that a user would give.
        slot: that it feeds.
        other: a second, different value; its features must differ. None = not checked.
        context: of the generation it is asked for; `device` is where features are expected.
        descriptor: its declared slot (name, fuse method, width, frame rate) must be this one when given.
        odd: further values it must take, or refuse in one line.
        max_encode_seconds: the fastest of three `encode` must not take longer; None = not checked.

    Raises:
        AssertionError: with one line that says what is wrong.
    """
    import torch

    require(isinstance(conditioner, Conditioner),
            f"{type(conditioner).__name__} has no prepare or no encode, expected a soundforge.interfaces.Conditioner")
    if descriptor is not None:
        require(not descriptor.misfit(slot), f"conditioner {descriptor.name!r} feeds {descriptor.describe()}, but "
                f"is checked for slot {slot.name!r}: {describe_slot(slot)}")
        require(descriptor.brings != slot or isinstance(conditioner, BringsProjection),
                f"conditioner {descriptor.name!r} brings a slot of its own, but has no method projection()")
    _check_projection(conditioner, slot)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        item = conditioner.prepare(value, context)
        alone = _encode(conditioner, [item], slot, context, "one item")
        _check_length(alone, slot, context)
        _check_null(conditioner, item, slot, context)
        _check_determinism(conditioner, value, alone, slot, context)
        _check_batches(conditioner, item, alone, slot, context)
        if other is not None:
            pair = _encode(conditioner, [item, conditioner.prepare(other, context)], slot, context, "two items")
            require(_differ(pair, 0, 1), "two different values give the same features")
        if slot.fuse == "sum" and not (descriptor is not None and descriptor.automatic):
            _check_windows(conditioner, value, slot, context)
        one_frame = replace(context, n_frames=1, prompt_frames=0)
        _encode(conditioner, [conditioner.prepare(value, one_frame)], slot, one_frame, "a generation of one frame")
        for strange in odd:
            _check_odd(conditioner, strange, slot, context)
        if max_encode_seconds is not None:
            _check_latency(conditioner, item, context, max_encode_seconds)


def _encode(conditioner: Conditioner, prepared: Sequence[Any], slot: Slot, context: ConditionContext,
            what: str) -> Condition:
    import torch

    condition = conditioner.encode(prepared, context)
    require(isinstance(condition, Condition), f"encode of {what} gave {type(condition).__name__}, expected a Condition")
    values, mask, rows = condition.values, condition.mask, len(prepared)
    shape = list(values.shape)
    require(values.ndim == 3 and shape[0] == rows and shape[2] == slot.width,
            f"encode of {what} gave values {shape}, expected [{rows}, length, {slot.width}] for slot {slot.name!r}")
    require(values.dtype == torch.float32, f"encode of {what} gave values of {values.dtype}, expected torch.float32")
    require(mask.dtype == torch.bool and mask.shape == values.shape[:2],
            f"encode of {what} gave a mask {mask.dtype} {list(mask.shape)}, expected torch.bool {shape[:2]}")
    wanted = torch.device(context.device).type
    require(values.device.type == wanted and mask.device.type == wanted,
            f"encode of {what} gave features on {values.device}, expected {context.device}")
    require(bool(torch.isfinite(values).all()), f"encode of {what} gave NaN or infinite features")
    return condition


def _check_length(condition: Condition, slot: Slot, context: ConditionContext) -> None:
    length = condition.values.shape[1]
    require(length > 0, "a value gave features of length 0, expected at least one")
    if slot.fuse == "sum":
        expected = context.n_frames / context.frame_rate_hz * (slot.frame_rate_hz or context.frame_rate_hz)
        require(length == 1 or abs(length - expected) <= 1,
                f"a summed slot got {length} features, expected 1 or one per frame ({expected:g})")


def _check_null(conditioner: Conditioner, item: Any, slot: Slot, context: ConditionContext) -> None:
    null = _encode(conditioner, [None], slot, context, "the null condition")
    again = _encode(conditioner, [None], slot, context, "the null condition")
    require_close(again.values, null.values, "the null condition twice", 0.0)
    both = _encode(conditioner, [item, None], slot, context, "an item beside the null condition")
    require(item is None or _differ(both, 0, 1),
            "the features of a value are those of the null condition; guidance would have nothing to work on")


def _check_batches(conditioner: Conditioner, item: Any, alone: Condition, slot: Slot,
                   context: ConditionContext) -> None:
    for batch, what in (([item, item], "in a batch with itself"), ([None, item], "beside the null condition")):
        condition = _encode(conditioner, batch, slot, context, "a batch")
        require_close(_real(condition, 1), _real(alone, 0), f"an item alone and {what}")


def _check_determinism(conditioner: Conditioner, value: Any, first: Condition, slot: Slot,
                       context: ConditionContext) -> None:
    import torch

    torch.manual_seed(20_000_003)  # what is drawn from torch's own generator shows now
    again = _encode(conditioner, [conditioner.prepare(value, context)], slot, context, "the same value again")
    require_close(again.values, first.values, "the same value twice (derive what is random from context.seed)", 1e-6)


def _check_windows(conditioner: Conditioner, value: Any, slot: Slot, context: ConditionContext) -> None:
    """Later windows of a long generation carry on with the features; they do not begin again."""
    length, half = context.n_frames, context.n_frames // 2
    whole = replace(context, n_frames=length + half, bpm=120.0)
    all_of_it = _encode(conditioner, [conditioner.prepare(value, whole)], slot, whole, "a whole generation")
    if all_of_it.values.shape[1] != whole.n_frames:
        return  # one feature for all frames, or features of a slower rate
    first = replace(context, bpm=120.0, window_start_frames=0, new_start_frames=0,
                    window_seconds=length / context.frame_rate_hz)
    item = conditioner.prepare(value, first)
    later = replace(first, window_start_frames=half, prompt_frames=length - half, new_start_frames=-half)
    for window, start in ((first, 0), (later, half)):
        part = _encode(conditioner, [item], slot, window, "a window of it")
        require_close(part.values[0], all_of_it.values[0, start:start + length],
                      f"the window that begins at frame {start}, and that part of the whole "
                      "(lay features out from context.new_start)", WINDOW_TOLERANCE)


def _check_projection(conditioner: Conditioner, slot: Slot) -> None:
    if not isinstance(conditioner, BringsProjection):
        return
    import torch

    projection = conditioner.projection()
    weight, bias = projection.weight, projection.bias
    require(isinstance(weight, torch.Tensor) and weight.ndim == 2 and weight.shape[1] == slot.width,
            f"projection() gave weights {list(getattr(weight, 'shape', []))}, expected [d_model, {slot.width}]")
    require(bool(torch.isfinite(weight).all()), "projection() gave NaN or infinite weights")
    require(bias is None or bias.shape == weight.shape[:1],
            f"projection() gave a bias {list(getattr(bias, 'shape', []))}, expected [{weight.shape[0]}] or None")


def _check_odd(conditioner: Conditioner, value: Any, slot: Slot, context: ConditionContext) -> None:
    shown = repr(value)[:60]
    taken: list[Any] = []
    refused = refused_in_one_line(lambda: taken.append(conditioner.prepare(value, context)),
                                  f"prepare of {shown}", InputError)
    if not refused:
        _encode(conditioner, taken, slot, context, f"{shown} (which prepare took)")


def _check_latency(conditioner: Conditioner, item: Any, context: ConditionContext, limit: float) -> None:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        conditioner.encode([item], context)
        took.append(time.perf_counter() - began)
    require(min(took) <= limit, f"encode took {min(took):.3g} s, expected at most {limit:g} s")


def _real(condition: Condition, row: int) -> Tensor:
    """Features of a row without its padding, `[n, W]`."""
    return condition.values[row][condition.mask[row]]


def _differ(condition: Condition, first: int, second: int) -> bool:
    """Whether two rows reach the network as different features: masked places count as zero."""
    values = condition.values * condition.mask[..., None]
    return bool((values[first] != values[second]).any()) or bool((condition.mask[first]
                                                                  != condition.mask[second]).any())
