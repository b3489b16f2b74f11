"""`soundforge bench`: how fast a model runs here, regime by regime."""

from __future__ import annotations

import platform
import time
from statistics import median
from typing import Annotated, Any

import typer

from soundforge.cli.output import DeviceOption, JsonFlag, ModelOption, busy, console, print_json


def bench(
    model: ModelOption = None,
    device: DeviceOption = "auto",
    seconds: Annotated[float, typer.Option(help="Seconds of audio to make in each run.")] = 8.0,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Measured runs, after one that is not counted.")] = 3,
    json: JsonFlag = False,
) -> None:
    """Measure loading, time to first sound, codec, and the real-time factor."""
    with busy(f"measuring {model or 'starter'}"):
        result = measure(model or "starter", device, seconds, runs)
    if json:
        print_json(result)
        return
    console.print(f"{result['model']} on {result['machine']}, {result['device']}, {result['threads']} threads")
    for name, value, unit in (
        ("load", result["load_seconds"], "s"), ("time to first sound", result["first_sound_seconds"], "s"),
        (f"the same, after a prompt of {result['prompt_seconds']:g} s",
         result["first_sound_after_prompt_seconds"], "s"),
        ("real-time factor", result["real_time_factor"], "(seconds of audio per second of computing)"),
        ("codec encode", result["codec_encode_rtf"], "x real time"),
        ("codec decode", result["codec_decode_rtf"], "x real time"),
    ):
        figure = "it cannot continue audio" if value is None else f"{value:>8.3f} {unit}"
        console.print(f"  {name:<36} {figure}", markup=False)
    console.print(f"median of {runs} runs of {result['seconds']:g} s, batch 1", markup=False)


def measure(model: str, device: str, seconds: float, runs: int) -> dict[str, Any]:
    """The figures by name; each is the median over `runs`."""
    import torch

    import soundforge as sf

    began = time.perf_counter()
    engine = sf.load(model, device=device)
    load_seconds = time.perf_counter() - began
    with engine:
        seconds, prompt_seconds = min(seconds, engine.longest_seconds), min(8.0, engine.longest_seconds / 2)
        text = "techno, 120 bpm, drums and bass"
        engine.generate(text, seconds=min(seconds, 1.0), seed=0)  # the first run pays for caches; it is not counted
        prompt = engine.generate(text, seconds=prompt_seconds, seed=0).as_waveform()
        first, whole, after_prompt = [], [], []
        for run in range(runs):
            start = time.perf_counter()
            stream = engine.stream(text, seconds=seconds, seed=run)
            made = next(stream).seconds
            first.append(time.perf_counter() - start)
            made += sum(chunk.seconds for chunk in stream)
            whole.append(made / (time.perf_counter() - start))
            if engine.continues:
                after_prompt.append(_first_sound(engine, text, run, prompt, min(1.0, prompt_seconds)))
        encode, decode = _codec_speed(engine, prompt, runs)
        return {"model": model, "machine": f"{platform.machine()}, {platform.system()}", "device": str(engine.device),
                "threads": torch.get_num_threads(), "torch": torch.__version__, "seconds": seconds, "runs": runs,
                "load_seconds": load_seconds, "first_sound_seconds": median(first),
                "prompt_seconds": prompt_seconds, "real_time_factor": median(whole),
                "first_sound_after_prompt_seconds": median(after_prompt) if after_prompt else None,
                "codec_encode_rtf": encode, "codec_decode_rtf": decode}


def _first_sound(engine: Any, text: str, seed: int, prompt: Any, seconds: float) -> float:
    """Seconds until the first chunk behind a prompt; the rest is made, too."""
    start = time.perf_counter()
    rest = engine.stream(text, seconds=seconds, seed=seed, prompt=prompt)
    next(rest)
    taken = time.perf_counter() - start
    for _ in rest:
        pass
    return taken


def _codec_speed(engine: Any, wave: Any, runs: int) -> tuple[float, float]:
    encode, decode = [], []
    for _ in range(runs):
        start = time.perf_counter()
        encoded = engine.codec.encode(wave)
        encode.append(wave.seconds / (time.perf_counter() - start))
        start = time.perf_counter()
        engine.codec.decode(encoded)
        decode.append(wave.seconds / (time.perf_counter() - start))
    return median(encode), median(decode)
