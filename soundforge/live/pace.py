"""How fast the engine is, as far as it was measured, and what follows: how much sound must be in hand before a start.

A model faster than real time starts after a few frames; a slower one first gets the lead it needs. Every stream that
runs dry makes the next starts more careful, for a while. Pure; belongs to the event loop.
"""

from __future__ import annotations

FAST_RTF = 2.5
MOST_CAUTION = 6.0
SAFE_RTF = 1.15            # an engine this fast stays ahead of the loudspeaker
EXPECTED_RTF = 2.0         # until one was measured
EXPECTED_FIRST_SOUND = 0.4
SMOOTHING = 0.3


class Pace:
    """See the module.

    Attributes:
        last_rtf: real-time factor of the last job, 0 before the first.
        first_sound_seconds: from sending a job to its first sound, smoothed.
    """

    def __init__(self) -> None:
        self.last_rtf = 0.0
        self.first_sound_seconds = EXPECTED_FIRST_SOUND
        self._rtf = EXPECTED_RTF
        self._caution = 1.0  # grows with every stream that ran dry, and fades

    def first_sound(self, seconds: float) -> None:
        """A job that had the engine for itself gave its first sound."""
        self.first_sound_seconds += SMOOTHING * (seconds - self.first_sound_seconds)

    def finished(self, rtf: float) -> None:
        """A job was made at this real-time factor."""
        self.last_rtf = rtf
        self._caution = max(1.0, 0.95 * self._caution)
        if rtf > 0:
            self._rtf += SMOOTHING * (rtf - self._rtf)

    def ran_dry(self) -> None:
        """A stream had nothing left to play."""
        self._caution = min(MOST_CAUTION, 1.5 * self._caution)

    @property
    def lead_time_seconds(self) -> float:
        """How long before a bar line the engine must begin, to have sound and a little in hand on the line."""
        ready = self.first_sound_seconds + self.prime_seconds / self._rtf
        return 1.3 * ready / max(1.0 - 1.0 / max(self._rtf, 1.0), 0.15) + 0.1

    @property
    def prime_seconds(self) -> float:
        """What must be in the ring before a stream may start.

        Chunks double in length until they are a third of a second long, so what is in hand must last until the next
        one, twice as long as the last, is computed.
        """
        rtf = max(min(self._rtf, self.last_rtf or self._rtf), 0.1)
        return self._caution * (0.02 + 0.16 / rtf if rtf >= FAST_RTF else 0.35 / rtf)

    def keeps_ahead(self, made_seconds: float, total_seconds: float) -> bool:
        """What is missing will be there before it is needed."""
        return self._rtf >= SAFE_RTF or made_seconds >= total_seconds * (1.0 - 0.9 * self._rtf)
