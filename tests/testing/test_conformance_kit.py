"""Each check finds the fault it is there for, and says it in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundforge.audio import Waveform
from soundforge.errors import CheckpointError, ConditionError
from soundforge.host import create_host
from soundforge.interfaces import (
    BridgeDescriptor,
    Condition,
    ConditionContext,
    ConditionerDescriptor,
    ModelFamilyDescriptor,
    Slot,
)
from soundforge.testing import (
    check_bridge,
    check_clip_processor,
    check_codec,
    check_conditioner,
    check_decoder,
    check_model_family,
    check_plugin,
)
from soundforge.testing.tiny_model import tiny_codec, tiny_parts

SLOT = Slot("level", "level", 4, "sum", 50.0)


class Level:
    """A number per generation, the same for all frames; the faults are its subclasses."""

    def prepare(self, value: Any, context: ConditionContext) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ConditionError(f"condition 'level' came as {value!r}, expected a number from 0 to 1")
        return float(value)

    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        values = torch.zeros(len(prepared), context.n_frames, 4)
        for row, level in enumerate(prepared):
            values[row] = level or 0.0
        mask = torch.tensor([[level is not None] * context.n_frames for level in prepared])
        return Condition(values, mask)


class Wide(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        made = super().encode(prepared, context)
        return Condition(made.values.repeat(1, 1, 2), made.mask)


class Double(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        made = super().encode(prepared, context)
        return Condition(made.values.double(), made.mask)


class Neighbours(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        made = super().encode(prepared, context)
        return Condition(made.values - made.values.mean(0, keepdim=True), made.mask)


class Dice(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        made = super().encode(prepared, context)
        return Condition(made.values + torch.where(made.mask[..., None], torch.rand(()), 0.0), made.mask)


class NotANumber(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        made = super().encode(prepared, context)
        return Condition(made.values / 0.0, made.mask)


class Deaf(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        made = super().encode(prepared, context)
        return Condition(made.values * 0.0, torch.ones_like(made.mask))


class Short(Level):
    def encode(self, prepared: Sequence[float | None], context: ConditionContext) -> Condition:
        return super().encode(prepared, replace(context, n_frames=max(2, context.n_frames // 2)))


class Careless(Level):
    def prepare(self, value: Any, context: ConditionContext) -> float | None:
        return None if value is None else float(value)


def test_a_good_conditioner_passes() -> None:
    descriptor = ConditionerDescriptor("level", ("level",), lambda host, setup: Level())
    check_conditioner(Level(), 0.5, slot=SLOT, other=0.7, descriptor=descriptor, max_encode_seconds=5.0)


@pytest.mark.parametrize(("fault", "said"), [
    (Wide, r"gave values \[1, 100, 8\], expected \[1, length, 4\] for slot 'level'"),
    (Double, "torch.float64, expected torch.float32"),
    (Neighbours, "differ"),
    (Dice, "the same value twice"),
    (NotANumber, "NaN"),
    (Deaf, "guidance would have nothing to work on"),
    (Short, "50 features, expected 1 or one per frame"),
    (Careless, "TypeError.*expected InputError"),
    (object, "no prepare or no encode"),
])
def test_a_faulty_conditioner_is_found(fault: type, said: str) -> None:
    with pytest.raises(AssertionError, match=said) as caught:
        check_conditioner(fault(), 0.5, slot=SLOT)
    assert "\n" not in str(caught.value)


def test_a_slot_that_is_not_declared_is_found() -> None:
    descriptor = ConditionerDescriptor("level", ("mood",), lambda host, setup: Level())
    with pytest.raises(AssertionError, match="is checked for slot 'level'"):
        check_conditioner(Level(), 0.5, slot=SLOT, descriptor=descriptor)


def test_a_slot_of_another_width_or_of_its_own_is_found() -> None:
    wide = ConditionerDescriptor("level", ("level",), lambda host, setup: Level(), width=SLOT.width + 1)
    with pytest.raises(AssertionError, match=f"feeds level .width {SLOT.width + 1}., but is checked for slot 'level'"):
        check_conditioner(Level(), 0.5, slot=SLOT, descriptor=wide)
    own = ConditionerDescriptor("level", (), lambda host, setup: Level(), brings=SLOT)
    with pytest.raises(AssertionError, match="brings a slot of its own, but has no method projection"):
        check_conditioner(Level(), 0.5, slot=SLOT, descriptor=own)


def test_features_that_begin_again_in_every_window_are_found() -> None:
    class Curve:
        def prepare(self, value: Any, context: Any) -> Any:
            return value if isinstance(value, float) and value == value else None

        def encode(self, prepared: Any, context: Any) -> Condition:
            start = context.prompt_frames if self.forgets else context.new_start
            ramp = (torch.arange(context.n_frames) - start).clamp(0).float()[:, None] / 100
            values = torch.stack([ramp * (item or 0.0) for item in prepared])
            mask = torch.tensor([item is not None for item in prepared])[:, None].expand(-1, context.n_frames)
            return Condition(values, mask)

        forgets = False

    slot = Slot("level", "level", 1, "sum", 50.0)
    check_conditioner(Curve(), 0.5, slot=slot)
    Curve.forgets = True
    with pytest.raises(AssertionError, match=r"the window that begins at frame 50, .*features out from context\.new"):
        check_conditioner(Curve(), 0.5, slot=slot)


def test_codecs() -> None:
    check_codec(tiny_codec())
    wrong = tiny_codec()
    wrong.codebook_size = 10  # type: ignore[misc]
    with pytest.raises(AssertionError, match=r"codes go from .*, expected 0 to 9"):
        check_codec(wrong)
    looks_ahead = tiny_codec(causal=False)
    whole = looks_ahead.stream

    def claims_none(batch_size: int = 1) -> Any:
        stream = whole(batch_size)
        stream.lookahead_frames = 0
        return stream

    looks_ahead.stream = claims_none  # type: ignore[assignment,method-assign]
    with pytest.raises(AssertionError, match="with lookahead_frames 0 at least"):
        check_codec(looks_ahead)


class Drone:
    """A decoder whose noise comes from the seed, or from torch's own generator."""

    def __init__(self, seeded: bool = True, heeds_cancel: bool = True) -> None:
        self.seeded, self.heeds_cancel = seeded, heeds_cancel

    def decode(self, codes: torch.Tensor, *, seed: int | Sequence[int], cancel: Any, progress: Any = None,
               noise: Any = None, options: Any = None) -> torch.Tensor:
        if self.heeds_cancel:
            cancel.raise_if_cancelled()
        if progress is not None:
            progress(codes.shape[-1], codes.shape[-1])
        seeds = [seed] * codes.shape[0] if isinstance(seed, int) else seed
        shape = (1, codes.shape[-1] * 160)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s) if self.seeded else None)
                            for s in seeds])


def test_decoders() -> None:
    check_decoder(Drone(), tiny_codec())
    with pytest.raises(AssertionError, match="the same codes and seed twice"):
        check_decoder(Drone(seeded=False), tiny_codec())
    with pytest.raises(AssertionError, match="token that is cancelled was taken"):
        check_decoder(Drone(heeds_cancel=False), tiny_codec())


def _written_to(wave: Waveform) -> Waveform:
    wave.samples[...] = 0.0
    return wave


@pytest.mark.parametrize(("process", "said"), [
    (_written_to, "was written to|read-only"),
    (lambda wave: wave.samples, "gave ndarray, expected a Waveform"),
    (lambda wave: wave.with_channels(1), "gave 1 channels"),
    (lambda wave: wave.slice_samples(0, wave.n_samples // 0), "ZeroDivisionError|division"),
])
def test_faulty_clip_processors(process: Callable[[Waveform], Any], said: str) -> None:
    with pytest.raises((AssertionError, ZeroDivisionError), match=said):
        check_clip_processor(process)
    check_clip_processor(lambda wave: Waveform(wave.samples * np.float32(0.5), wave.sample_rate))


class Leaky:
    def __init__(self, session: Any, settings: Any) -> None:
        self.session = session

    async def start(self) -> None:
        self.session.add_listener(lambda event, origin: None)

    async def stop(self) -> None:
        pass


def test_a_bridge_that_stays_a_listener_is_found() -> None:
    with pytest.raises(AssertionError, match="stop left 1 listeners"):
        check_bridge(BridgeDescriptor("leaky", Leaky))


def _load_tiny(host: Any, folder: Path | None, options: Any) -> Any:
    if folder is not None:
        raise CheckpointError(f"{folder} is empty")
    return replace(tiny_parts(), slots=())


def test_model_families() -> None:
    good = ModelFamilyDescriptor("tiny", lambda folder: False, _load_tiny, embedded=("tiny",))
    host = create_host(load_entry_points=False)
    check_model_family(good, host)
    with pytest.raises(AssertionError, match="recognises raised JSONDecodeError"):
        import json
        check_model_family(replace(good, recognises=lambda folder: json.loads("{") is None), host)
    with pytest.raises(AssertionError, match="loading an empty folder was taken"):
        check_model_family(replace(good, load=lambda host, folder, options: tiny_parts()), host)


@pytest.mark.parametrize(("source", "said"), [
    ("import torch\nimport soundforge as sf\nSOUNDFORGE_CONTRACT = 1\n@sf.hookimpl\ndef on_event(event): pass\n",
     "imports torch when it is listed"),
    ("SOUNDFORGE_CONTRACT = 1\n", "implements no hook"),
    ("import soundforge as sf\n@sf.hookimpl\ndef on_event(event): pass\n", "SOUNDFORGE_CONTRACT None, expected 1"),
    ("SOUNDFORGE_CONTRACT = 7\n", "contract version 7"),
    ("import nowhere_at_all\n", "cannot be imported .ModuleNotFoundError"),
    ("import os\nos._exit(3)\n", "ended a fresh interpreter"),
], ids=["torch", "no hook", "no contract", "other contract", "import", "exit"])
def test_faulty_plugins(source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faulty_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=said):
        check_plugin("faulty_plugin")
