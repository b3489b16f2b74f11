"""Chords played on a keyboard: where they stand in the phrase, what the session hears, and the map's section."""

from __future__ import annotations

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_double import MemorySession

from soundforge import SettingsError
from soundforge.chord_names import parse_track
from soundforge_bridges.midi.chords import ChordInput, ChordTrack
from soundforge_bridges.midi.dispatch import Dispatcher
from soundforge_bridges.midi.map_file import parse_map, write_map

C, AM, F, G = (48, 52, 55), (45, 48, 52), (41, 45, 48), (43, 47, 50)


def play(track: ChordTrack, *chords: tuple[tuple[int, ...], float]) -> str:
    """The text after these chords, each let go before the next."""
    text = ""
    for notes, beat in chords:
        for delay, note in enumerate(notes):
            text = track.note_on(note, beat + 0.01 * delay) or text
        for note in notes:
            track.note_off(note)
    return text


def test_a_phrase_goes_round() -> None:
    track = ChordTrack(ChordInput(2))
    assert play(track, (C, 64.1)) == "C@0b"
    assert play(track, (AM, 67.9)) == "C@0b Am@4b"  # just before the beat means the beat
    assert play(track, (F, 72.0), (G, 76.0)) == "C@0b Am@4b F@8b G@12b"
    assert play(track, (F, 80.0)) == "F@0b Am@4b F@8b G@12b"  # the second time round the rest stays
    assert play(track, (F, 84.0)) == "F@0b G@12b"
    assert play(track, (F, 92.0)) == "F@0b"


def test_what_begins_inside_the_phrase_holds_into_its_start() -> None:
    track = ChordTrack(ChordInput(2, beats=8.0, grid=0.5))
    assert play(track, (C, 10.6)) == "C@0b"
    assert play(track, (G, 13.0)) == "G@0b C@2.5b G@5b"
    assert play(track, (AM, 1.0)) == "Am@0b"  # the transport was set back


def test_fingers_come_down_one_by_one_and_two_make_no_chord() -> None:
    track = ChordTrack(ChordInput(2))
    assert [track.note_on(note, 4.0) for note in (48, 52)] == [None, None]
    assert track.note_on(55, 4.02) == "C@0b"
    assert track.note_on(58, 4.03) == "C7@0b"
    assert track.note_on(58, 4.04) is None  # nothing new
    track.release_all()
    assert track.note_on(60, 8.0) is None


@given(chords=st.lists(st.tuples(st.sampled_from([C, AM, F, G, (50, 53, 57, 60)]), st.floats(0, 400)), min_size=1,
                       max_size=20), beats=st.sampled_from([3.0, 4.0, 16.0]), grid=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_text_is_always_one_that_is_read(chords: list[tuple[tuple[int, ...], float]], beats: float,
                                             grid: float) -> None:
    text = play(ChordTrack(ChordInput(1, beats, grid)), *sorted(chords, key=lambda chord: chord[1]))
    starts = [start for _, start in parse_track(text, 60.0)]
    assert starts[0] == 0 and starts == sorted(starts) and starts[-1] < beats


def test_the_session_hears_them_and_the_triggers_stay(session: MemorySession) -> None:
    lines: list[str] = []
    midi_map = parse_map({"chords": {"channel": 2}})
    dispatcher = Dispatcher(session, midi_map, (), lines.append)
    session.transport_position(32.0)
    session.calls.clear()
    for note in C:
        dispatcher.on_message(mido.Message("note_on", note=note, channel=1))
    for note in C:
        dispatcher.on_message(mido.Message("note_off", note=note, channel=1))
    dispatcher.on_message(mido.Message("note_on", note=41, channel=0))
    dispatcher.on_message(mido.Message("control_change", control=7, value=3, channel=1))
    assert session.calls == [("set_condition", "chords", "C@0b"), ("generate", None, None, "")] and not lines


def test_the_map_s_section_is_read_written_and_checked() -> None:
    chosen = parse_map({"chords": {"channel": 3, "beats": 8, "grid": 0.5}})
    assert chosen.chords == ChordInput(3, 8.0, 0.5)
    import tomllib

    assert parse_map(tomllib.loads(write_map(chosen))) == chosen
    assert parse_map({}).chords is None
    for table, words in (({"channel": 17}, "from 1 to 16"), ({"beats": 4}, "expected channel"),
                         ({"channel": 1, "grid": 0}, "chords.grid came as 0"),
                         ({"channel": 1, "beats": True}, "chords.beats came as True"),
                         ({"channel": 1, "beats": 4, "grid": 8}, "at most the 4 beats"),
                         ({"channel": 1, "bars": 4}, "expected channel, and perhaps")):
        with pytest.raises(SettingsError, match=words):
            parse_map({"chords": table})
