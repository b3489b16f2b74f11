"""MIDI bytes as they really come: running status, several messages in a packet, clocks in between, rubbish."""

from __future__ import annotations

import mido
from hypothesis import given
from hypothesis import strategies as st

from soundforge_bridges.midi.byte_reader import ByteReader

SEVEN = st.integers(0, 127)
CHANNEL = st.integers(0, 15)
MESSAGES = st.one_of(
    st.builds(lambda c, n, v: mido.Message("note_on", channel=c, note=n, velocity=v), CHANNEL, SEVEN, SEVEN),
    st.builds(lambda c, n, v: mido.Message("note_off", channel=c, note=n, velocity=v), CHANNEL, SEVEN, SEVEN),
    st.builds(lambda c, n, v: mido.Message("control_change", channel=c, control=n, value=v), CHANNEL, SEVEN, SEVEN),
    st.builds(lambda c, p: mido.Message("program_change", channel=c, program=p), CHANNEL, SEVEN),
    st.builds(lambda p: mido.Message("songpos", pos=p), st.integers(0, 16383)),
    st.sampled_from([mido.Message("clock"), mido.Message("start"), mido.Message("stop"), mido.Message("tune_request")]))


def packed(messages: list[mido.Message]) -> list[int]:
    """As a sender that saves every byte it can."""
    out: list[int] = []
    running = 0
    for message in messages:
        data = message.bytes()
        if data[0] == running and data[0] < 0xF0:
            data = data[1:]
        elif data[0] < 0xF8:
            running = data[0]
        out += data
    return out


@given(st.lists(MESSAGES, max_size=30), st.lists(st.integers(1, 5), max_size=60))
def test_packed_messages_come_out_whatever_the_packets(messages: list[mido.Message], cuts: list[int]) -> None:
    data, reader, got = packed(messages), ByteReader(), []
    for size in [*cuts, len(data) or 1]:
        got += reader.feed(data[:size])
        data = data[size:]
    assert got == messages


@given(st.lists(st.integers(0, 255), max_size=300))
def test_any_bytes_are_survived_and_a_whole_message_is_read_after_them(data: list[int]) -> None:
    reader = ByteReader()
    reader.feed(data)
    note = mido.Message("note_on", note=40, velocity=99)
    assert reader.feed(note.bytes()) == [note]


def test_a_clock_between_the_bytes_of_a_note_and_sysex_before_it() -> None:
    reader = ByteReader()
    got = reader.feed([0xF0, 1, 2, 0xF8, 3, 0xF7, 0x90, 40, 0xF8, 100, 41, 0xFE, 101])
    assert [message.type for message in got] == ["clock", "clock", "note_on", "active_sensing", "note_on"]
    assert [message.note for message in got if message.type == "note_on"] == [40, 41]
