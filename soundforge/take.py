"""A take: a captured recording with its place on the transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from soundforge.audio import Waveform


@dataclass(frozen=True, eq=False)
class Take:
    """A captured recording.

    Args:
        waveform: what was heard, at the device's rate.
        bpm: tempo of the transport when the capture began, or None when it stood or is not known.
        beats_per_bar: of the metre.
        start_beat: transport position in beats at the first sample, or None.
        source: where it came from ("input", a file's name, ...).
        info: further record, fit for JSON.
    """

    waveform: Waveform
    bpm: float | None = None
    beats_per_bar: int = 4
    start_beat: float | None = None
    source: str = "input"
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.waveform.seconds

    @property
    def sample_rate(self) -> int:
        return self.waveform.sample_rate
