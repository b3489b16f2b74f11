"""When a sound must be given out to be heard on its place in the music, and where that place goes when time bends.

    heard at a beat  =  given out at  sample_of(beat) - output delay - lead

A `Launch` is kept for everything that waits for its start; when the transport changes (tempo, locate, a clock that is
followed) it is asked again, and the voice is moved. What is about to start within the next two blocks stays.

Threading: belongs to the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from soundforge.live.transport import Transport

STILL_SAMPLES = 4
"""A move by less is not worth a command: 0.1 ms."""


class Speaker(Protocol):
    """What is asked of the audio client."""

    @property
    def output_delay(self) -> int: ...
    def soon(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Launch:
    """A start that was planned.

    Args:
        at: position at which the first sample is given out.
        beat: on which the music in it is heard; None = it is bound to no grid (quantum 0, or the transport stands).
        quantum: the grid.
        lead: samples that come before the beat (a crossfade's).
    """

    at: int
    beat: float | None = None
    quantum: float = 0.0
    lead: int = 0


def plan(transport: Transport, speaker: Speaker, quantum: float, lead: int = 0) -> Launch:
    """The next place on the grid that can still be met."""
    soon = speaker.soon()
    if quantum <= 0 or not transport.rolling:
        return Launch(soon, lead=lead)
    delay = speaker.output_delay + lead
    beat, position = transport.next_boundary(soon + delay, quantum)
    return Launch(position - delay, beat, quantum, lead)


def plan_at(transport: Transport, speaker: Speaker, beat: float, lead: int = 0) -> Launch:
    """Heard on this beat, whether that can still be met or not."""
    return Launch(transport.sample_of(beat) - speaker.output_delay - lead, beat, 0.0, lead)


def replan(launch: Launch, transport: Transport, speaker: Speaker) -> Launch:
    """Where a planned start lies after the transport changed; the same object when it stays."""
    soon = speaker.soon()
    if launch.beat is None or not transport.rolling or launch.at < soon:
        return launch
    at = transport.sample_of(launch.beat) - speaker.output_delay - launch.lead
    if at < soon or at > soon + (launch.quantum + 1.0) * transport.samples_per_beat:
        # Its place has passed, or lies bars away after a locate: the next one on the grid, as if asked now.
        return plan(transport, speaker, launch.quantum, launch.lead) if launch.quantum > 0 else launch
    return launch if abs(at - launch.at) < STILL_SAMPLES else replace(launch, at=at)
