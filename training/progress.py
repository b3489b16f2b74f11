"""What a training run says of itself: running means of what its steps report."""

from __future__ import annotations

from collections.abc import Mapping

from training.clock import WallClock
from training.threads import ThreadChooser


class Progress:
    """Prints the running means every so many steps; on the way it tries out how many threads pay."""

    def __init__(self, clock: WallClock, every: int = 50) -> None:
        self.clock, self.every = clock, every
        self.means: dict[str, float] = {}
        self._threads = ThreadChooser()

    @property
    def goes_on(self) -> bool:
        """Whether there is time for another step; to be asked before each."""
        if self.clock.share >= 1.0:
            return False
        self._threads.before_step()
        return True

    def note(self, step: int, values: Mapping[str, float]) -> bool:
        """Takes what step number ``step`` reports; True where the means were printed."""
        self.means = {name: 0.98 * self.means.get(name, value) + 0.02 * value for name, value in values.items()}
        if step % self.every:
            return False
        text = " ".join(f"{name} {value:.3f}" for name, value in self.means.items())
        minutes = self.clock.spent_seconds / 60
        print(f"step {step} {minutes:.1f} min {text} threads {self._threads.current}", flush=True)
        return True
