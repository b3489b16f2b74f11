"""MIDI learn: what is played becomes the map, what is not stays, and the file reads back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_double import MemorySession
from test_midi_bridge import System, cc, from_thread, off, on

from soundforge import hookspecs
from soundforge.settings import Settings
from soundforge_bridges.midi import learning as learning_module
from soundforge_bridges.midi import register_bridges
from soundforge_bridges.midi.bridge import MidiBridge
from soundforge_bridges.midi.learn import Learner
from soundforge_bridges.midi.map import DEFAULT, MidiMap, NoteAction, Scale
from soundforge_bridges.midi.map_file import parse_map, read_map, write_map

STEPS = 8 + 1 + sum(isinstance(target, Scale) for target in DEFAULT.controls.values())


def test_questions_name_what_is_now() -> None:
    learner = Learner(DEFAULT)
    asked = []
    while not learner.done:
        asked.append(learner.question)
        learner.skip()
    assert asked[0] == "play capture-hold: records while the note is held (now note 36)"
    assert asked[8] == "play the first of sixteen pads in a row (now note 48)"
    assert asked[9] == "turn the knob for temperature (now controller 20)" and len(asked) == STEPS
    assert learner.map == DEFAULT, "nothing played, nothing changed"


def test_notes_buttons_pads_and_knobs() -> None:
    learner = Learner(DEFAULT)
    assert learner.hear(cc(64, 127, 4)) == "", "a hold cannot be a controller"
    assert learner.hear(on(60, 100, 4)) == "capture-hold is note 60"
    assert learner.hear(off(60, 4)) == ""
    assert learner.hear(on(60, 100, 4)) == "note 60 is capture-hold already; play another"
    assert learner.hear(cc(64, 10, 4)) == "" and learner.hear(cc(64, 127, 4)) == "capture-toggle is controller 64"
    assert learner.hear(cc(64, 0, 4)) == learner.hear(cc(64, 127, 4)) == "", "the same button's next values"
    for _ in range(6):
        learner.skip()
    assert "no room for sixteen pads" in learner.hear(on(120, 9, 4))
    assert learner.hear(on(0, 9, 4)) == "pad 1 of 16 is note 0"
    assert learner.hear(on(99, 100, 4)) == "" and learner.hear(cc(123, 0, 4)) == ""
    assert learner.hear(cc(1, 3, 4)) == "temperature is controller 1" and learner.hear(cc(1, 4, 4)) == ""
    while not learner.done:
        learner.skip()
    got = learner.map
    assert got.channel == 5 and got.notes[60] == NoteAction("capture-hold")
    assert 36 not in got.notes and 38 not in got.notes and got.controls[64] == "capture-toggle"
    assert {note: bound.pad for note, bound in got.notes.items() if bound.action == "pad"} == {
        note: note + 1 for note in range(16)}
    assert got.controls[1] == DEFAULT.controls[20] and 20 not in got.controls
    assert got.controls[123] == "silence" and got.notes[40] == DEFAULT.notes[40]


def test_several_channels_become_every_channel() -> None:
    learner = Learner(DEFAULT)
    learner.hear(on(60, 100, 4))
    learner.hear(on(61, 100, 9))
    assert learner.map.channel == 0


@given(st.lists(st.one_of(
    st.none(), st.builds(on, st.integers(0, 127), st.integers(0, 127), st.integers(0, 15)),
    st.builds(cc, st.integers(0, 127), st.integers(0, 127), st.integers(0, 15))), max_size=80))
def test_whatever_is_played_gives_a_map(messages: list[Any]) -> None:
    learner = Learner(DEFAULT)
    for message in messages:
        if message is None:
            learner.skip()
        else:
            learner.hear(message)
    import tomllib

    assert parse_map(tomllib.loads(write_map(learner.map))) == learner.map


def test_the_bridge_learns_writes_and_plays_on(session: MemorySession, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_module, "LEARN_SECONDS", 0.02)
    system, lines, path = System("keys in"), [], tmp_path / "sub" / "map.toml"

    async def scenario() -> None:
        bridge = MidiBridge(session, ("keys",), learn_to=path, report=lines.append,
                            system=lambda: system)  # type: ignore[arg-type]
        await bridge.start()
        callback = system.opened["keys in"].callback
        assert callback is not None
        await from_thread(callback, mido.Message("note_on", note=70), mido.Message("note_off", note=70))
        assert session.calls == [], "nothing is carried out while learning"
        for _ in range(200):
            await asyncio.sleep(0.02)
            if any("done" in line for line in lines):
                break
        await from_thread(callback, mido.Message("note_on", note=70), mido.Message("note_off", note=70))
        assert session.calls == [("capture_start", ""), ("capture_stop",)]
        await bridge.stop()

    asyncio.run(scenario())
    assert lines[0].startswith("MIDI learn: play capture-hold") and "capture-hold is note 70" in lines[1]
    assert lines[-1].endswith(f"use it with --midi-map {path}") and len(lines) == STEPS + 2
    assert read_map(path).notes[70] == NoteAction("capture-hold") and 36 not in read_map(path).notes


def test_settings_reach_the_bridge(session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFORGE_CONFIG", str(tmp_path / "soundforge.toml"))
    found: list[Any] = []
    register_bridges(found.append)
    assert [descriptor.name for descriptor in found] == ["midi"] and hookspecs.register_bridges
    plain = found[0].factory(session, Settings(presets=("a",)))
    assert plain._learning is None and plain.map == DEFAULT
    learning = found[0].factory(session, Settings(midi_learn=True))
    assert learning._learn_to == tmp_path / "midi-map.toml" and learning.map == DEFAULT
    (tmp_path / "mine.toml").write_text(write_map(MidiMap(3)))
    again = found[0].factory(session, Settings(midi_learn=True, midi_map=tmp_path / "mine.toml"))
    assert again._learn_to == tmp_path / "mine.toml" and again.map == MidiMap(3)
