"""Ableton Link: one tempo and one beat for everybody on the network, changed by anybody.

Needs the extra `link` (LinkPython-extern, which binds Ableton's own library). Tempo goes both ways. Start and stop are
followed when a peer sends them, and sent when a user asks for them; until then the transport rolls or stands as it
did. The phase of bars is Link's, with our bar as its quantum.

Link times beats where they are heard, on a clock of its own; it is compared with ours at each look.
Threading: everything belongs to the event loop; Link has threads of its own, and is asked with its app-thread calls.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from soundforge import RequestError
from soundforge_bridges.polled_clock import PolledClock, Stand
from soundforge_bridges.port import SessionPort

SOURCE = "link"
INSTALL = "Ableton Link is not installed; install it with: pip install 'soundforge[link]'"
PAIRS = 5


class LinkClock(PolledClock):
    """See the module. `link` is the library's own object while the source is chosen."""

    def __init__(self, session: SessionPort) -> None:
        super().__init__(session, SOURCE)
        self.link: Any = None
        self._rolling, self._played = True, (False, 0)
        self._peers = 0

    def check(self) -> None:
        if importlib.util.find_spec("link") is None:
            raise RequestError(INSTALL)

    async def connect(self) -> None:
        if self.link is not None:
            return
        import link

        now = self._session.timeline().transport
        self.link = link.Link(now.bpm)
        self.link.startStopSyncEnabled = True
        self.link.enabled = True
        state = self.link.captureAppSessionState()
        self._rolling, self._played, self._peers = now.rolling, (state.isPlaying(), state.timeForIsPlaying()), 0

    def ask(self) -> Stand | None:
        micros, seconds = self._now()
        state = self.link.captureAppSessionState()
        played = (state.isPlaying(), state.timeForIsPlaying())
        if played != self._played:
            self._played, self._rolling = played, played[0]
        peers = int(self.link.numPeers())
        if peers != self._peers:
            self._peers = peers
            self._session.notice("info", f"Link: {peers} other{'s' if peers != 1 else ''} in the session")
        beat = state.beatAtTime(micros, self._quantum())
        if not self._rolling and self._last is not None and not self._last.rolling:
            beat = self._last.beat
        return Stand(round(state.tempo(), 3), beat, self._rolling, seconds)

    def close(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.enabled = False

    # --- what users ask of the transport ---

    def set_tempo(self, bpm: float) -> bool:
        return self._commit(lambda state, micros: state.setTempo(bpm, micros))

    def roll(self) -> bool:
        return self._commit(lambda state, micros: state.setIsPlaying(True, micros))

    def halt(self) -> bool:
        return self._commit(lambda state, micros: state.setIsPlaying(False, micros))

    def locate(self, beat: float) -> bool:
        """With peers only as far as their bars stay where they are: Link moves to the next fitting place."""
        return self._commit(lambda state, micros: state.requestBeatAtTime(beat, micros, self._quantum()))

    def _commit(self, change: Any) -> bool:
        if self.link is None:
            return False
        micros, _ = self._now()
        state = self.link.captureAppSessionState()
        change(state, micros)
        self.link.commitAppSessionState(state)
        stand = self.ask()
        if stand is not None:
            self._follow(stand)
        return True

    def _quantum(self) -> float:
        return float(self._session.timeline().transport.beats_per_bar)

    def _now(self) -> tuple[int, float]:
        """The same moment on Link's clock and on ours: the pair of readings that lie closest together."""
        best, found = float("inf"), (0, 0.0)
        for _ in range(PAIRS):
            before = time.perf_counter()
            micros = self.link.clock().micros()
            after = time.perf_counter()
            if after - before < best:
                best, found = after - before, (micros, (before + after) / 2)
        return found
