"""One file of plugins for the tests of a real server: a tiny model, conditioners that work and that break, a listener.

It stands in a `--plugins-dir`; the tests import nothing of it but replay with it what the server made.
"""

import os
import time
from pathlib import Path

import soundforge as sf
from soundforge.interfaces import (
    BridgeDescriptor,
    ClipProcessorDescriptor,
    ConditionerDescriptor,
    ModelFamilyDescriptor,
    Slot,
)

SOUNDFORGE_CONTRACT = 1
__version__ = "1.5"


def _load(host, folder, options):
    import dataclasses

    from soundforge.testing.tiny_model import tiny_parts

    parts = tiny_parts(window_seconds=6.0)
    return dataclasses.replace(parts, name="tiny-live", defaults={"temperature": 1.0})


def _tiny(name):
    def make(host, setup):
        from soundforge.testing import tiny_model

        return getattr(tiny_model, f"Tiny{name}")()

    return make


class Tide:
    """A level, in a slot of its own with weights of its own."""

    def __init__(self, d_model):
        self.d_model = d_model

    def projection(self):
        import torch

        from soundforge.interfaces import Projection

        return Projection(torch.randn(self.d_model, 2, generator=torch.Generator().manual_seed(7)))

    def prepare(self, value, context):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise sf.ConditionError(f"condition 'tide' came as {value!r}, expected a number") from None

    def encode(self, prepared, context):
        import torch

        from soundforge.interfaces import Condition

        values = torch.zeros(len(prepared), context.n_frames, 2)
        for row, level in enumerate(prepared):
            if level is not None:
                values[row] = torch.tensor([level, 1.0])
        mask = torch.tensor([level is not None for level in prepared])[:, None].expand(-1, context.n_frames)
        return Condition(values, mask)


class Broken(Tide):
    """Breaks as its value says."""

    def prepare(self, value, context):
        return value

    def encode(self, prepared, context):
        import torch

        mode = next((value for value in prepared if value), None)
        if mode == "raise":
            raise RuntimeError("the dam broke")
        if mode == "hang":
            time.sleep(6)
        if mode == "exit":
            raise SystemExit(3)
        made = super().encode([1.0 if value else None for value in prepared], context)
        if mode == "nan":
            made.values[:] = torch.nan
        if mode == "shape":
            return type(made)(made.values[..., :1], made.mask)
        return made


def _quieter(wave):
    return sf.Waveform(wave.samples * 0.5, wave.sample_rate)


def _nan(wave):
    return sf.Waveform(wave.samples * float("nan"), wave.sample_rate)


class Heights:
    def __init__(self, session):
        self.session = session

    async def start(self):
        pass

    async def stop(self):
        pass

    def on_osc(self, address, arguments):
        self.session.set_condition("tide", str(arguments[0]))
        return [("/tides/is", float(arguments[0]))]


@sf.hookimpl
def register_model_families(register):
    register(ModelFamilyDescriptor("tiny_live", lambda folder: False, _load, ("tiny-live",), "a tiny model"))


@sf.hookimpl
def register_conditioners(register):
    for name, automatic in (("Text", False), ("Mood", False), ("Pulse", True)):
        register(ConditionerDescriptor(f"tiny_{name.lower()}", (name.lower(),), _tiny(name), summary=name,
                                       automatic=automatic))
    for name, kind in (("tide", Tide), ("broken", Broken)):
        register(ConditionerDescriptor(name, ("nothing",), lambda host, setup, kind=kind: kind(setup.d_model),
                                       summary=name, brings=Slot(name, name, 2, "sum", 50.0), examples=("1", "2")))


@sf.hookimpl
def register_clip_processors(register):
    register(ClipProcessorDescriptor("quieter", lambda host, options: _quieter, "half as loud"))
    register(ClipProcessorDescriptor("nan", lambda host, options: _nan, "no sound at all"))


@sf.hookimpl
def register_bridges(register):
    register(BridgeDescriptor("heights", lambda session, settings: Heights(session), "tides over OSC",
                              osc_addresses=("/tides/height",)))


@sf.hookimpl
def on_event(event):
    path = os.environ.get("SERVED_PLUGINS_EVENTS")
    if path:
        with Path(path).open("a") as file:
            file.write(type(event).__name__ + "\n")
    if getattr(event, "kind", "") == "cancelled":
        raise RuntimeError("deaf from now on")
