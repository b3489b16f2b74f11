"""What a plugin costs: set-up, a second of audio, latency, memory, part by part (`soundforge plugin bench`).

Figures are the best of several runs on this machine, with the threads that torch has. Memory is what is held after
building (arrays and tensors), and by how much a first call raises the peak of the whole process.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from soundforge.errors import InputError, PluginError
from soundforge.host import PluginHost
from soundforge.requests import CancelToken
from soundforge.testing.asserting import noise
from soundforge.testing.parts import (
    LeftToItsTestsError,
    build_codec,
    build_conditioner,
    build_decoder,
    host_for,
    registered_by,
)

Row = tuple[str, str, float, str]
"""Part, measure, value, unit."""

Measured = tuple[str, float, str]
"""Measure, value, unit."""

T = TypeVar("T")
MIB = 2.0**20
TIMES = 5


def bench_module(module: str, seconds: float) -> Iterator[Row]:
    """Measure one module.

    Args:
        seconds: of audio that is worked on.

    Raises:
        PluginError: it is refused, or a part of it fails.
    """
    from soundforge.testing.plugins import probe_plugin

    facts = probe_plugin(module)
    if facts.error:
        raise PluginError(facts.error, module)
    yield module, "import and register", facts.seconds, "s"
    registries, host = registered_by(module), host_for(module)
    kinds: list[tuple[Any, Callable[[Any, PluginHost, float], Iterator[Measured]], str]] = [
        (registries.conditioners, _conditioner, "conditioner"), (registries.codecs, _codec, "codec"),
        (registries.decoders, _decoder, "decoder"), (registries.clip_processors, _processor, "clip processor")]
    for registry, bench, kind in kinds:
        for descriptor in registry.values():
            try:
                for measure, value, unit in bench(descriptor, host, seconds):
                    yield f"{kind} {descriptor.name}", measure, value, unit
            except LeftToItsTestsError:
                continue  # what cannot be built here cannot be measured here


def _conditioner(descriptor: Any, host: PluginHost, seconds: float) -> Iterator[Measured]:
    from soundforge.testing.conditioners import DEFAULT_CONTEXT

    build_conditioner(descriptor, host)  # what is imported for the first time is not the part's
    (made, _, examples), took, held = _built(lambda: build_conditioner(descriptor, host))
    yield "build", took, "s"
    frames = max(1, round(seconds * DEFAULT_CONTEXT.frame_rate_hz))
    context = replace(DEFAULT_CONTEXT, n_frames=frames, bpm=120.0)
    item = made.prepare(examples[0], context)
    yield from grown(lambda: made.encode([item], context))
    yield "prepare a value", 1000 * best(lambda: made.prepare(examples[0], context)), "ms"
    encode = best(lambda: made.encode([item], context))
    yield "features of a second of audio", 1000 * encode / seconds, "ms"
    yield "latency of a change (encode of the whole window)", 1000 * encode, "ms"
    yield "memory held", held / MIB, "MiB"


def _codec(descriptor: Any, host: PluginHost, seconds: float) -> Iterator[Measured]:
    import torch

    codec, took, held = _built(lambda: build_codec(descriptor, host))
    yield "build", took, "s"
    with torch.no_grad():
        samples = torch.from_numpy(noise(seconds, codec.sample_rate, codec.channels).samples)[None]
        encoded = codec.encode(samples)
        yield from grown(lambda: codec.decode(encoded))
        yield "encode a second of audio", 1000 * best(lambda: codec.encode(samples)) / seconds, "ms"
        yield "decode a second of audio", 1000 * best(lambda: codec.decode(encoded)) / seconds, "ms"
        stream = codec.stream()
        frames = [encoded.codes[..., index:index + 1] for index in range(min(20, encoded.codes.shape[-1]))]
        began = time.perf_counter()
        for frame in frames:
            stream.decode(frame)
        yield "decode one frame of a stream", 1000 * (time.perf_counter() - began) / max(1, len(frames)), "ms"
        yield "latency: look-ahead of a stream", 1000 * stream.lookahead_frames / codec.frame_rate_hz, "ms"
        yield "memory held", held / MIB, "MiB"


def _decoder(descriptor: Any, host: PluginHost, seconds: float) -> Iterator[Measured]:
    import torch

    (decoder, codec), took, held = _built(lambda: build_decoder(descriptor, host))
    yield "build", took, "s"
    frames = max(1, round(seconds * codec.frame_rate_hz))
    codes = torch.randint(0, codec.codebook_size, (1, codec.n_codebooks, frames),
                          generator=torch.Generator().manual_seed(0))

    def decode(n: int) -> Any:
        with torch.no_grad():
            return decoder.decode(codes[..., :n], seed=0, cancel=CancelToken())

    yield from grown(lambda: decode(frames))
    yield "decode a second of audio", 1000 * best(lambda: decode(frames)) / seconds, "ms"
    yield "latency: decode of one frame", 1000 * best(lambda: decode(1)), "ms"
    yield "memory held", held / MIB, "MiB"


def _processor(descriptor: Any, host: PluginHost, seconds: float) -> Iterator[Measured]:
    process, took, held = _built(lambda: descriptor.factory(host, {}))
    wave = noise(seconds, 44_100, 2)
    yield "build", took, "s"
    try:
        yield from grown(lambda: process(wave))
        cost = best(lambda: process(wave))
    except InputError as error:
        raise LeftToItsTestsError(str(error)) from error  # less than a bar, say
    yield "a second of stereo audio at 44.1 kHz", 1000 * cost / seconds, "ms"
    yield "latency: the whole clip", 1000 * cost, "ms"
    yield "memory held", held / MIB, "MiB"


def best(call: Callable[[], object], times: int = TIMES) -> float:
    """Seconds of the fastest of several calls."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)


def _built(make: Callable[[], T]) -> tuple[T, float, float]:
    """What was made, the seconds it took, and the bytes that it holds."""
    before = _tensor_bytes()
    began = time.perf_counter()
    tracemalloc.start()
    try:
        made = make()
        took = time.perf_counter() - began
        arrays = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return made, took, max(0, _tensor_bytes() - before) + arrays


def _tensor_bytes() -> int:
    """Bytes behind all tensors that are alive, each storage once."""
    import torch

    gc.collect()
    storages = {}
    for item in gc.get_objects():
        if issubclass(type(item), torch.Tensor) and item.layout is torch.strided and item.device.type != "meta":
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def grown(call: Callable[[], object]) -> Iterator[Measured]:
    """By how much a first call raises the process's peak memory; nothing where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        call()
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    raised = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    yield "peak memory: raised by a first call", raised * (1.0 if sys.platform == "darwin" else 1024.0) / MIB, "MiB"
