"""Ableton Link with a second, real peer on this machine: one tempo, one beat, both ways."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import pytest
from session_double import MemorySession

from soundforge import RequestError
from soundforge_bridges.link.clock import LinkClock

needs_link = pytest.mark.skipif(importlib.util.find_spec("link") is None, reason="the extra `link` is not installed")


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return False


@needs_link
def test_two_peers_share_tempo_beat_start_and_stop() -> None:
    import link

    peer = link.Link(97.0)
    peer.startStopSyncEnabled = True
    peer.enabled = True

    async def main() -> None:
        session = MemorySession()
        clock = LinkClock(session)
        await clock.start()
        clock.activate()
        try:
            assert await until(lambda: session.followed)
            if not await until(lambda: clock.link.numPeers() == 1 and peer.numPeers() == 1):
                pytest.skip("no multicast between two programs on this machine: Link's peers do not find each other")

            def last() -> tuple[Any, ...]:
                return session.followed[-1]

            # one of the two sessions has ended, and its peer has joined the other's
            assert await until(lambda: last()[1] == pytest.approx(peer.captureAppSessionState().tempo(), rel=1e-4))
            assert last()[3] is True, "it rolls as it did: nobody has started or stopped"
            await asyncio.sleep(0.5)
            assert abs(off(peer, last())) < 0.002 * last()[1] / 60, "two milliseconds"
            clock.set_tempo(140.0)
            assert await until(lambda: peer.captureAppSessionState().tempo() == pytest.approx(140.0, rel=1e-4))
            change(peer, lambda state, micros: state.setTempo(75.0, micros))
            assert await until(lambda: last()[1] == pytest.approx(75.0, rel=1e-4))
            assert any(entry[5] and entry[1] == pytest.approx(75.0, rel=1e-4) for entry in session.followed), "told"
            change(peer, lambda state, micros: state.setIsPlaying(True, micros))
            await asyncio.sleep(0.3)
            change(peer, lambda state, micros: state.setIsPlaying(False, micros))
            assert await until(lambda: last()[3] is False)
            stood = last()[2]
            await asyncio.sleep(0.2)
            assert last()[2] == stood
            assert clock.roll()
            assert await until(lambda: peer.captureAppSessionState().isPlaying() and last()[3] is True)
        finally:
            await clock.stop()
        assert clock.link is None

    asyncio.run(main())
    peer.enabled = False


def change(peer: Any, what: Callable[[Any, int], None]) -> None:
    state = peer.captureAppSessionState()
    what(state, peer.clock().micros())
    peer.commitAppSessionState(state)


def off(peer: Any, followed: tuple[Any, ...]) -> float:
    """Beats between what was followed and the peer, within a bar of four."""
    _, bpm, beat, _, at_seconds, _ = followed
    micros, now = peer.clock().micros(), time.perf_counter()
    theirs = peer.captureAppSessionState().phaseAtTime(micros, 4.0)
    return (beat + (now - at_seconds) * bpm / 60.0 - theirs + 2.0) % 4.0 - 2.0


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'soundforge\[link\]'"):
        LinkClock(MemorySession()).activate()
