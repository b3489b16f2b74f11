"""What `plugin check` and `plugin bench` do with one module: those parts that can be built without weights.

A conditioner needs a slot and a value, a decoder a codec, a codec from the hub its weights: those are checked by the
plugin's own tests with `soundforge.testing`, and said to be left to them.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soundforge.errors import PluginError, SoundForgeError
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import CodecDescriptor
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin, Registries
from soundforge.testing.asserting import noise
from soundforge.testing.plugins import check_plugin

OTHERS = {"conditioner": "check_conditioner", "decoder": "check_decoder", "bridge": "check_bridge"}


@dataclass(frozen=True)
class Result:
    """One line of the report; `state` is "ok", "failed" or "left"."""

    part: str
    state: str
    what: str = ""


def registered_by(module: str) -> Registries:
    """What one module registers; raises PluginError when it is refused."""
    manager = PluginManager(load_entry_points=False)
    manager.register(importlib.import_module(module), Origin(module))
    info = manager.report()[0]
    if info.error:
        raise PluginError(info.error, module)
    return manager.registries


def check_module(module: str) -> Iterator[Result]:
    """Check one module, part by part."""
    try:
        facts = check_plugin(module)
    except AssertionError as error:
        yield Result(module, "failed", str(error))
        return
    yield Result(module, "ok", f"hooks {', '.join(facts.hooks)}; loads in {facts.seconds:.2f} s")
    registries, host = registered_by(module), create_host()
    for name, function in OTHERS.items():
        for part in facts.provides.get(name, ()):
            yield Result(f"{name} {part}", "left", f"to its own tests, with soundforge.testing.{function}")
    for family in registries.model_families.values():
        from soundforge.testing.families import check_recognises

        yield _run(f"model family {family.name}", lambda family=family: check_recognises(family))  # type: ignore[misc]
    for processor in registries.clip_processors.values():
        from soundforge.testing.sound import check_clip_processor

        yield _run(f"clip processor {processor.name}",
                   lambda processor=processor: check_clip_processor(processor.factory(host, {})))  # type: ignore[misc]
    for codec in registries.codecs.values():
        if codec.hub_name:
            yield Result(f"codec {codec.name}", "left", "it needs weights; its own tests check it with check_codec")
        else:
            yield _run(f"codec {codec.name}", lambda codec=codec: _check_codec(codec, host))  # type: ignore[misc]


def _check_codec(descriptor: CodecDescriptor, host: PluginHost) -> None:
    from soundforge.testing.codecs import check_codec

    check_codec(descriptor.factory(host, None), descriptor=descriptor, tolerance=1e-3)


def _run(part: str, check: Callable[[], None]) -> Result:
    try:
        check()
    except (AssertionError, SoundForgeError) as error:
        return Result(part, "failed", " ".join(str(error).split()))
    # A third party's part may fail in any way; that is the finding.
    except Exception as error:
        return Result(part, "failed", f"raised {type(error).__name__}: {error}")
    return Result(part, "ok")


Row = tuple[str, str, float, str]


def bench_module(module: str, seconds: float) -> Iterator[Row]:
    """Measure one module: rows of part, measure, value and unit."""
    from soundforge.testing.plugins import probe_plugin

    facts = probe_plugin(module)
    if facts.error:
        raise PluginError(facts.error, module)
    yield module, "import and register", facts.seconds, "s"
    registries, host = registered_by(module), create_host()
    for processor in registries.clip_processors.values():
        process = processor.factory(host, {})
        wave = noise(seconds, 44_100, 2)
        yield (f"clip processor {processor.name}", "cost of a second of stereo audio at 44.1 kHz",
               _best(lambda process=process, wave=wave: process(wave)) / seconds, "s")  # type: ignore[misc]
    for descriptor in registries.codecs.values():
        if not descriptor.hub_name:
            yield from _bench_codec(descriptor, host, seconds)


def _bench_codec(descriptor: CodecDescriptor, host: PluginHost, seconds: float) -> Iterator[Row]:
    import torch

    part = f"codec {descriptor.name}"
    began = time.perf_counter()
    codec = descriptor.factory(host, None)
    yield part, "build", time.perf_counter() - began, "s"
    with torch.no_grad():
        samples = torch.from_numpy(noise(seconds, codec.sample_rate, codec.channels).samples)[None]
        encoded = codec.encode(samples)
        yield part, "encode a second of audio", _best(lambda: codec.encode(samples)) / seconds, "s"
        yield part, "decode a second of audio", _best(lambda: codec.decode(encoded)) / seconds, "s"
        stream = codec.stream()
        frames = [encoded.codes[..., index:index + 1] for index in range(min(20, encoded.codes.shape[-1]))]
        began = time.perf_counter()
        for frame in frames:
            stream.decode(frame)
        yield part, "decode one frame of a stream", (time.perf_counter() - began) / max(1, len(frames)) * 1000, "ms"
        yield part, "look-ahead of a stream", stream.lookahead_frames / codec.frame_rate_hz * 1000, "ms"


def _best(call: Callable[[], object], times: int = 3) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)
