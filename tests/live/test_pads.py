"""Pads of a session: looped, retriggered, toggled, held, started and stopped on the grid; files that others bring."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile
from session_kit import RATE, Rig, off_grid, running

from soundforge.clip import Clip
from soundforge.errors import LibraryError, RequestError
from soundforge.library import Library, Pad
from soundforge.live import library_watch
from soundforge.requests import PadEvent

pytestmark = pytest.mark.slow


def put_clip(folder: Path, seconds: float = 0.5) -> None:
    """A clip `tone` in the library that the session will open."""
    n = int(seconds * RATE)
    wave = 0.25 * np.sin(2 * np.pi * 1000.0 * np.arange(n) / RATE)
    Library(folder / "library").save_clip(Clip(wave[None].astype(np.float32), RATE), "tone")


def pads_of(rig: Rig) -> list[PadEvent]:
    return [event for event, _ in rig.events if isinstance(event, PadEvent)]


async def on_pad(rig: Rig, **options: object) -> None:
    rig.session.clip_pad("tone", 2)
    rig.session.pad_set(2, **options)  # type: ignore[arg-type]
    await rig.until(lambda: len(pads_of(rig)) == 2)


def test_a_gate_pad_loops_while_it_is_held_and_ends_on_the_grid(tmp_path: Path) -> None:
    put_clip(tmp_path)

    async def main() -> None:
        async with running(tmp_path, bpm=240) as rig:
            session = rig.session
            session.set_param("quantum", 1)
            await on_pad(rig, loop=True, gain=0.5, mode="gate")
            session.play_pad(2, 0.5)
            await rig.until(lambda: rig.clips("playing"))
            await asyncio.sleep(1.2)
            assert not rig.clips("stopped"), "a loop of half a second goes on"
            session.release_pad(2)
            await rig.until(lambda: rig.clips("stopped"))
        assert max(off_grid(beat, 1.0) for beat in rig.edges()) < 0.03
        assert np.abs(rig.sound()).max() == pytest.approx(0.25 * 0.5 * 0.5, rel=0.02)

    asyncio.run(main())


def test_a_toggle_pad_starts_and_stops(tmp_path: Path) -> None:
    put_clip(tmp_path)

    async def main() -> None:
        async with running(tmp_path) as rig:
            session = rig.session
            session.set_param("quantum", 0)
            await on_pad(rig, loop=True, mode="toggle")
            session.play_pad(2)
            await rig.until(lambda: rig.clips("playing"))
            session.release_pad(2)
            await asyncio.sleep(0.7)
            assert not rig.clips("stopped"), "letting go means nothing to a toggle"
            session.play_pad(2)
            await rig.until(lambda: rig.clips("stopped"))
            assert len(rig.clips("playing")) == 1

    asyncio.run(main())


def test_bad_pads_are_refused_and_kept_pads_come_back(tmp_path: Path) -> None:
    put_clip(tmp_path)

    async def main() -> None:
        async with running(tmp_path, ready=False) as rig:
            session = rig.session
            with pytest.raises(RequestError, match="pad 3 is empty"):
                session.play_pad(3)
            with pytest.raises(LibraryError, match="pad came as 17, expected 1 to 16"):
                session.play_pad(17)
            with pytest.raises(LibraryError, match="mode came as 'shuffle', expected one of retrigger, toggle, gate"):
                session.pad_set(1, mode="shuffle")
            with pytest.raises(LibraryError, match="gain came as 9, expected 0 to 4"):
                session.pad_set(1, gain=9.0)
            await on_pad(rig, loop=True, gain=0.5, mode="gate")
            session.clip_pad("", 2)
            await rig.until(lambda: len(pads_of(rig)) == 3)
            assert pads_of(rig)[-1] == PadEvent(2, "", True, 0.5, "gate"), "how it plays belongs to the pad"

    asyncio.run(main())
    again = Library(tmp_path / "library")
    assert again.pad(2) == Pad("", True, 0.5, "gate")
    assert again.fill_pad("tone") == 1 and dict(again.pads) == {1: "tone"}


def test_files_that_others_bring_and_take_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_watch, "LOOK_SECONDS", 0.3)

    async def main() -> None:
        async with running(tmp_path, ready=False) as rig:
            folder = tmp_path / "library"
            await asyncio.sleep(0.3)
            soundfile.write(folder / "takes" / "vocal.wav", np.zeros((RATE, 2)), RATE)
            (folder / "clips" / "half.wav").write_bytes(b"RIFF")
            await rig.until(lambda: "take 'vocal' is in the library now (1.00 s)" in rig.notices())
            soundfile.write(folder / "clips" / "half.wav", np.zeros((RATE, 1)), RATE)
            await rig.until(lambda: rig.clips("rendered"))
            assert rig.clips("rendered")[0].clip == "half"
            (folder / "clips" / "half.wav").unlink()
            (folder / "takes" / "vocal.wav").unlink()
            await rig.until(lambda: rig.clips("deleted") and any("was deleted" in line for line in rig.notices()))
            with pytest.raises(RequestError, match="there is no take yet"):
                rig.session.continue_take()

    asyncio.run(main())
