"""Clip processors: loudness, whole bars as a seamless loop, fades, peak-safe level, resampling that keeps the beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from soundforge import Waveform, hookimpl
from soundforge.interfaces import ClipProcessorDescriptor, Host

SOUNDFORGE_CONTRACT = 1

Process = Callable[[Waveform], Waveform]


def _loudness(host: Host, options: Mapping[str, Any]) -> Process:
    from soundforge_plugins.clip_tools.loudness import Loudness
    from soundforge_plugins.clip_tools.options import made_from

    return made_from("loudness", Loudness, options)


def _bars(host: Host, options: Mapping[str, Any]) -> Process:
    from soundforge_plugins.clip_tools.options import made_from
    from soundforge_plugins.clip_tools.shape import Bars

    return made_from("bars", Bars, options)


def _fade(host: Host, options: Mapping[str, Any]) -> Process:
    from soundforge_plugins.clip_tools.options import made_from
    from soundforge_plugins.clip_tools.shape import Fade

    return made_from("fade", Fade, options)


def _peak_safe(host: Host, options: Mapping[str, Any]) -> Process:
    from soundforge_plugins.clip_tools.options import made_from
    from soundforge_plugins.clip_tools.shape import PeakSafe

    return made_from("peak_safe", PeakSafe, options)


def _resample(host: Host, options: Mapping[str, Any]) -> Process:
    from soundforge_plugins.clip_tools.options import made_from
    from soundforge_plugins.clip_tools.resampling import Resample

    return made_from("resample", Resample, options)


@hookimpl
def register_clip_processors(register: Callable[[ClipProcessorDescriptor], None]) -> None:
    register(ClipProcessorDescriptor("loudness", _loudness, "integrated loudness (BS.1770); option lufs (-16)"))
    register(ClipProcessorDescriptor(
        "bars", _bars, "whole bars, seamless as a loop; options bpm (the clip's, else 120), beats_per_bar, "
        "seam_ms (10)", takes_tempo=True))
    register(ClipProcessorDescriptor("fade", _fade, "equal-power fades; options in_seconds (0.01), out_seconds (0.01)"))
    register(ClipProcessorDescriptor("peak_safe", _peak_safe, "turned down until no true peak exceeds db (-1)"))
    register(ClipProcessorDescriptor(
        "resample", _resample, "another rate, or another tempo as a tape plays it, bars exact to the sample; options "
        "rate, to_bpm, bpm (the clip's)", takes_tempo=True))
