"""Clips for the callback: each is attached, refused or forgotten by its block, whatever its index was before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from soundforge.errors import DeviceError
from soundforge.live.audio_client import AudioClient
from soundforge.live.audio_clips import AttachedClips
from soundforge.live.audio_protocol import AttachClip, AudioSetup, ClipAttached, ClipRefused, DetachClip

SAMPLES = np.full((100, 2), 0.5, np.float32)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


def test_an_answer_for_a_block_that_is_gone_is_nobodys() -> None:
    async def main() -> None:
        sent: list[object] = []
        clips = AttachedClips(sent.append)
        first = asyncio.create_task(clips.attach(SAMPLES))
        await until(lambda: len(sent) == 1)
        (old,) = sent
        assert isinstance(old, AttachClip)
        clips.on_message(ClipAttached(old.index, old.name))
        assert await first == old.index
        clips.detach(old.index)
        assert sent[1] == DetachClip(old.index)
        second = asyncio.create_task(clips.attach(SAMPLES))
        await until(lambda: len(sent) == 3)
        new = sent[2]
        assert isinstance(new, AttachClip) and new.index == old.index and new.name != old.name
        clips.on_message(ClipAttached(old.index, old.name))
        clips.on_message(ClipRefused(old.index, old.name, "it is gone"))
        await asyncio.sleep(0.01)
        assert not second.done()
        clips.on_message(ClipAttached(new.index, new.name))
        assert await second == new.index
        clips.on_message(ClipRefused(new.index, new.name, "no memory after a restart"))
        clips.send_all()
        assert sent[3] == new, "its index stays its own"
        clips.close()

    asyncio.run(main())


def test_who_waits_for_a_clip_that_is_refused_is_told() -> None:
    async def main() -> None:
        sent: list[object] = []
        clips = AttachedClips(sent.append)
        waiting = asyncio.create_task(clips.attach(SAMPLES))
        await until(lambda: bool(sent))
        asked = sent[0]
        assert isinstance(asked, AttachClip)
        clips.on_message(ClipRefused(asked.index, asked.name, "no memory"))
        with pytest.raises(DeviceError, match="no memory"):
            await waiting
        clips.send_all()
        assert len(sent) == 1
        clips.close()

    asyncio.run(main())


def test_the_audio_process_lives_on_without_a_block_that_is_gone() -> None:
    """As when a device comes back at another rate: its clips are forgotten before they are read."""
    async def main() -> None:
        troubles: list[str] = []
        client = AudioClient(AudioSetup(offline=True), on_capture=lambda *block: None, on_happened=lambda *event: None,
                             on_device=lambda opened: None, on_trouble=troubles.append)
        await client.start()
        try:
            client._send(AttachClip(7, "psm_not_there", 100, 2))
            index = await asyncio.wait_for(client.attach(SAMPLES), 5.0)
            assert index == 0
            assert (client.restarts, troubles) == (0, [])
        finally:
            await client.stop()

    asyncio.run(main())
