"""What to do about the figures of `soundforge bench`, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GOOD_SHARE = 0.45
"""Of the memory's limit; a step below it waits for something else than memory."""

SOON_SECONDS = 0.15


def advice(figures: Mapping[str, Any]) -> list[str]:
    """Sentences, the most useful first; one that says so when nothing is to be done."""
    found: list[str] = []
    machine, factor = figures["machine"], figures["real_time_factor"]
    busy = machine.get("load_average", 0.0) > 0.75 * (machine["cores"] or 1)
    if busy:
        found.append(f"the machine was busy (load {machine['load_average']:g} on {machine['cores']} cores): end other "
                     "programs and measure again, all figures are too low")
    if factor < 1.0:
        found.append(f"slower than real time ({factor:.2f}): a live stream will pause; " + _faster(figures))
    elif factor < 1.3:
        found.append(f"real time with little to spare ({factor:.2f}): other programs may make a live stream pause; "
                     + _faster(figures))
    share = figures.get("bandwidth_share")
    if share is not None and share < GOOD_SHARE and not busy and factor < 1.3:
        found.append(f"steps reach {100 * share:.0f} % of the memory's limit: try other numbers of threads "
                     f"(OMP_NUM_THREADS, now {machine['threads']}; one per physical core is a good start)")
    slowest = max((figures.get("trigger_seconds") or {"": 0.0}).values())
    if slowest > SOON_SECONDS:
        found.append(f"{1000 * slowest:.0f} ms from a trigger to the first sound: use a quantum (the answer is "
                     "computed before the bar line), or a smaller or quantised model")
    if figures["codec_stream_rtf"] < 2.0:
        narrow = figures["codec_has_bfloat16"] and figures["codec_precision"] == "float32"
        found.append(f"the codec decodes {figures['codec_stream_rtf']:.1f} times real time and takes that share from "
                     f"the network; {'--codec-precision bfloat16, ' if narrow else ''}a model with a smaller codec, "
                     "or a GPU, helps")
    return found or ["nothing to do: faster than real time, and quick to answer"]


def _faster(figures: Mapping[str, Any]) -> str:
    if "step_seconds" not in figures:
        return "make shorter clips, or use a GPU (--device cuda)"
    ways = []
    if figures["quantize"] is None and not figures["device"].startswith("cuda"):
        ways.append("quantise (--quantize int8, or int4)")
    if figures["guidance_factor"] > 1.2:
        ways.append(f"leave guidance out (cfg 1 makes steps {figures['guidance_factor']:.1f} times as fast)")
    return " or ".join([*ways, "take a smaller model", "use a GPU (--device cuda)"])
