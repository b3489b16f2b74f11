"""Commands to the callback when it takes them more slowly than they come: none is lost, none is out of order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from soundforge.live.audio_commands import MOST_WAITING, AudioCommands
from soundforge.live.audio_protocol import COMMAND, NOW, Command
from soundforge.live.ring_buffer import RecordRing

ROOM = 16


@pytest.fixture
def ring() -> Iterator[RecordRing]:
    ring = RecordRing(ROOM, COMMAND)
    yield ring
    ring.close()


def taken(ring: RecordRing, commands: AudioCommands) -> list[tuple[float, ...]]:
    """All of them, as the callback and the next look at what waits take turns."""
    found = []
    while True:
        while (record := ring.get()) is not None:
            found.append(record)
        commands.send_waiting()
        if not ring.available:
            return found


def test_starts_and_stops_wait_in_their_order(ring: RecordRing) -> None:
    trouble: list[str] = []
    commands = AudioCommands(ring, trouble.append)
    for token in range(100):
        commands.play_stream(token % 4, token, NOW, 0, 0, 1.0)
        commands.stop_voice(token % 4, token, NOW, 480)
    kinds = [(int(record[0]), int(record[5])) for record in taken(ring, commands)]
    assert kinds == [(int(kind), token) for token in range(100) for kind in (Command.PLAY_STREAM, Command.STOP)]
    assert not trouble


def test_a_fader_that_is_faster_than_the_callback_is_sent_where_it_stands(ring: RecordRing) -> None:
    trouble: list[str] = []
    commands = AudioCommands(ring, trouble.append)
    for number in range(10 * MOST_WAITING):
        commands.set_master(number / 1000)
    commands.panic()
    records = taken(ring, commands)
    assert len(records) == ROOM + 2 and records[-2][6] == (10 * MOST_WAITING - 1) / 1000
    assert records[-1][0] == Command.PANIC and not trouble


def test_what_waits_is_bounded_and_forgotten_with_the_process(ring: RecordRing) -> None:
    trouble: list[str] = []
    commands = AudioCommands(ring, trouble.append)
    for token in range(ROOM + MOST_WAITING + 3):
        commands.stop_voice(0, token, NOW, 480)
    assert len(trouble) == 3 and "takes no commands" in trouble[0]
    commands.forget_waiting()
    assert len(taken(ring, commands)) == ROOM
