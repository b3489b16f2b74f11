"""`soundforge bench`: how fast a model runs here, regime by regime, how near the machine's limit, and what to do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from soundforge.cli.bench_advice import advice
from soundforge.cli.bench_measure import measure
from soundforge.cli.output import DeviceOption, JsonFlag, ModelOption, busy, console, print_json


def bench(
    model: ModelOption = None,
    device: DeviceOption = "auto",
    quantize: Annotated[str | None, typer.Option(help="int8 or int4: weights of the network in fewer bits.")] = None,
    codec_precision: Annotated[str, typer.Option(help="bfloat16: faster decoding of EnCodec and DAC.")] = "float32",
    seconds: Annotated[float, typer.Option(help="Seconds of audio to make in each run.")] = 8.0,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Measured runs, after one that is not counted.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, max=256, help="Threads of torch (as it is set).")] = None,
    json: JsonFlag = False,
) -> None:
    """Measure prefill, step, codec, time to first sound, real-time factor, and the memory's limit."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with busy(f"measuring {model or 'starter'}"):
        result = measure(model or "starter", device, quantize, codec_precision, seconds, runs)
    result["advice"] = advice(result)
    if json:
        print_json(result)
        return
    machine = result["machine"]
    console.print(f"{result['model']} on {machine['processor']}, {result['device']}, {machine['threads']} of "
                  f"{machine['cores']} cores, {result['read_bandwidth_bytes'] / 1e9:.0f} GB/s read", markup=False)
    for name, value in lines(result):
        console.print(f"  {name:<34} {value}", markup=False)
    console.print(f"median of {runs} runs of {result['seconds']:g} s, batch 1", markup=False)
    for sentence in result["advice"]:
        console.print(f"- {sentence}", markup=False)


def lines(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Figures as a person reads them."""
    shown = [("load", f"{result['load_seconds']:.2f} s"),
             ("real-time factor", f"{result['real_time_factor']:.2f} (seconds of audio per second of computing)"),
             ("first sound, no prompt", _ms(result["first_sound_seconds"]))]
    shown += [(f"trigger to sound after {s} s captured", _ms(value))
              for s, value in result.get("trigger_seconds", {}).items()]
    if "step_seconds" in result:
        limit = f"{result['bytes_per_step'] / 1e6:.0f} MB a step, at most {result['limit_steps_per_second']:.0f} steps"
        shown += [
            ("steps", f"{result['steps_per_second']:.0f} per second, {result['steps_needed_per_second']:g} needed"),
            ("share of the memory's limit", f"{100 * result['bandwidth_share']:.0f} % ({limit})"),
            ("guidance", f"a step takes {result['guidance_factor']:.2f} times as long as without"),
            ("prefill", _ms(result["prefill_seconds_per_second"]) + " per second of prompt")]
    shown += [(f"codec {what}", f"{result[key]:.1f} x real time") for what, key in (
        ("encode", "codec_encode_rtf"), ("decode", "codec_decode_rtf"), ("decode in pieces", "codec_stream_rtf"))]
    return shown


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
