"""What `soundforge bench` measures, regime by regime: prefill, step, codec, first sound, real-time factor.

Torch is imported inside the functions, so that `--help` stays quick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundforge.api import Engine
    from soundforge.audio import Waveform
    from soundforge.engine.generate import Generation

TEXT = "techno, 120 bpm, drums and bass"
STEPS = 20
CAPTURES = (2.0, 8.0)
STREAM_FRAMES = 16
"""Frames that a stream decodes at a time once it flows."""


def measure(model: str, device: str, quantize: str | None, codec_precision: str, seconds: float,
            runs: int) -> dict[str, Any]:
    """The figures by name; each is the median over `runs`."""
    import soundforge as sf
    from soundforge.engine.model import LanguageModelRuntime
    from soundforge.machine import describe_machine, read_bandwidth

    began = time.perf_counter()
    engine = sf.load(model, device=device, quantize=quantize, codec_precision=codec_precision)
    load_seconds = time.perf_counter() - began
    with engine:
        seconds = min(seconds, engine.longest_seconds)
        is_lm = isinstance(engine.model, LanguageModelRuntime)
        engine.generate(TEXT, seconds=min(seconds, 1.0), seed=0)  # the first run pays for caches; it is not counted
        prompt = engine.generate(TEXT, seconds=min(8.0, engine.window_seconds), seed=0).as_waveform()
        result: dict[str, Any] = {"model": model, "device": str(engine.device), "quantize": quantize,
                                  "codec_precision": codec_precision, "codec_has_bfloat16": hasattr(
                                      engine.codec, "decoding_in_bfloat16"),
                                  "seconds": seconds, "runs": runs, "machine": describe_machine(),
                                  "read_bandwidth_bytes": read_bandwidth(str(engine.device)),
                                  "load_seconds": load_seconds}
        result |= stream_figures(engine, seconds, runs)
        if is_lm:
            result |= step_figures(engine, runs, result["read_bandwidth_bytes"])
            result["trigger_seconds"] = {f"{s:g}": trigger(engine, prompt, s, runs) for s in CAPTURES}
        return result | codec_figures(engine, prompt, runs)


def stream_figures(engine: Engine, seconds: float, runs: int) -> dict[str, float]:
    """Time to the first sound without a prompt, and the real-time factor with the codec beside the network."""
    first, whole = [], []
    for run in range(runs):
        start = time.perf_counter()
        stream = engine.stream(TEXT, seconds=seconds, seed=run)
        made = next(stream).seconds
        first.append(time.perf_counter() - start)
        made += sum(chunk.seconds for chunk in stream)
        whole.append(made / (time.perf_counter() - start))
    return {"first_sound_seconds": median(first), "real_time_factor": median(whole)}


def step_figures(engine: Engine, runs: int, bandwidth: float) -> dict[str, float]:
    """Prefill and step of the network, guided, and how near the memory's limit a step comes."""
    import torch

    from soundforge.engine.model import LanguageModelRuntime
    from soundforge.nn.step_bytes import bytes_per_step

    runtime = engine.model
    assert isinstance(runtime, LanguageModelRuntime)
    frames = runtime.frames(min(4.0, engine.window_seconds / 2))
    prompt = torch.zeros(1, runtime.n_codebooks, frames, dtype=torch.long, device=runtime.device)
    guided = [_stepped(runtime, 3.0, prompt) for _ in range(runs)]
    plain = [_stepped(runtime, 1.0, prompt) for _ in range(runs)]
    step = median(seconds for _, seconds, _ in guided)
    window = guided[0][2].window
    read = sum(bytes_per_step(runtime.decoder.lm, part.state, part.state.position) for part in window.passes)
    return {"prefill_seconds_per_second": median(s for s, _, _ in guided) / (frames / runtime.codec.frame_rate_hz),
            "step_seconds": step, "steps_per_second": 1 / step, "steps_needed_per_second": engine.frame_rate_hz,
            "guidance_factor": step / median(seconds for _, seconds, _ in plain), "bytes_per_step": read,
            "limit_steps_per_second": bandwidth / read, "bandwidth_share": read / step / bandwidth}


def _stepped(runtime: Any, cfg: float, prompt: Any) -> tuple[float, float, Generation]:
    """Seconds of the prefill, and of a step behind it."""
    from soundforge.engine.generate import Generation
    from soundforge.requests import GenerateRequest, SamplingParams

    request = GenerateRequest(text=TEXT, seed=1, sampling=SamplingParams(cfg=cfg))
    generation = Generation(runtime, [request], prompt=prompt, new_frames=STEPS + 1)
    prefill = _timed(generation.window.prefill)
    generation.step()
    return prefill, _timed(lambda: [generation.step() for _ in range(STEPS)]) / STEPS, generation


def trigger(engine: Engine, sound: Waveform, seconds: float, runs: int) -> float:
    """Seconds from "continue" to the first new sound, after a capture of so many seconds was followed."""
    import numpy as np

    from soundforge.requests import GenerateRequest

    prompt = engine.open_prompt(TEXT)
    block = round(0.08 * engine.sample_rate)
    blocks = _endless_blocks(np.asarray(sound.samples), block)
    while prompt.n_samples < seconds * engine.sample_rate:
        prompt.feed(next(blocks))
    taken = []
    for run in range(runs + 1):
        began = time.perf_counter()
        chunks = iter(prompt.continue_(GenerateRequest(text=TEXT, seconds=2.0, seed=run)))
        while next(chunks).samples.shape[-1] == 0:
            pass
        taken.append(time.perf_counter() - began)
        prompt.feed(next(blocks))
    return median(taken[1:])


def _endless_blocks(samples: Any, block: int) -> Iterator[Any]:
    start = 0
    while True:
        if start + block > samples.shape[-1]:
            start = 0
        yield samples[:, start:start + block]
        start += block


def codec_figures(engine: Engine, wave: Waveform, runs: int) -> dict[str, float]:
    """Seconds of sound per second of computing."""
    import torch

    codec, encoded = engine.codec, engine.codec.encode(wave)

    def streamed() -> None:
        stream = codec.stream(1)
        for start in range(0, encoded.codes.shape[-1], STREAM_FRAMES):
            stream.decode(encoded.codes[..., start:start + STREAM_FRAMES])
        stream.finish_decode()

    with torch.inference_mode():
        return {f"codec_{name}_rtf": wave.seconds / median(_timed(run) for _ in range(runs)) for name, run in (
            ("encode", lambda: codec.encode(wave)), ("decode", lambda: codec.decode(encoded)), ("stream", streamed))}


def _timed(run: Callable[[], object]) -> float:
    import torch

    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
