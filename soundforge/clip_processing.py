"""Runs a request's clip processors on its clip, and writes into the clip's record what was done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.host import PluginHost
from soundforge.requests import GenerateRequest, describe_value

Step = tuple[Callable[[Waveform], Waveform], dict[str, Any]]


def processing_for(host: PluginHost, request: GenerateRequest) -> list[Step]:
    """The processors of a request with what the record says of each. Built before anything is generated, so that a
    slip of the finger costs no minutes.

    Raises:
        RequestError: an unknown processor, or options that it does not take. PluginError: it failed.
    """
    registry, steps = host.registries.clip_processors, []
    for name, given in request.processors:
        options = dict(given)
        if name in registry and registry[name].takes_tempo and request.bpm is not None:
            options = {"bpm": request.bpm, "beats_per_bar": request.beats_per_bar, **options}
        process = host.clip_processor(name, options)
        origin = registry.origin(name)
        steps.append((process, {"name": name, "options": describe_value(options), "plugin": origin.plugin,
                                "version": origin.version}))
    return steps


def processed(clip: Clip, steps: list[Step]) -> Clip:
    """The clip after its processors; `info["processors"]` names them with options, plugin and version.

    Raises:
        PluginError, AudioError: from a processor.
    """
    if not steps:
        return clip
    wave = clip.as_waveform()
    for process, _ in steps:
        wave = process(wave)
    prompt = round(clip.prompt_samples * wave.sample_rate / clip.sample_rate)
    tempi = [record["options"]["to_bpm"] for _, record in steps if record["options"].get("to_bpm")]
    bpm = tempi[-1] if tempi else clip.bpm
    return replace(clip, waveform=wave.samples, sample_rate=wave.sample_rate, bpm=bpm,
                   prompt_samples=min(prompt, wave.n_samples),
                   info={**clip.info, "processors": [record for _, record in steps]})
