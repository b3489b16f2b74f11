"""The MIDI map: the promised defaults, scales, the TOML file with an error for each mistake, and the page about it."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_double import MemorySession

from soundforge import SettingsError
from soundforge.live.params import PARAMS
from soundforge_bridges.midi import map_file
from soundforge_bridges.midi.dispatch import Dispatcher
from soundforge_bridges.midi.docs import page
from soundforge_bridges.midi.map import ACTIONS, DEFAULT, MidiMap, NoteAction, Scale
from soundforge_bridges.midi.map_file import parse_map, read_map, write_map


def test_the_promised_notes() -> None:
    assert {n: a.action for n, a in DEFAULT.notes.items() if n < 48} == {
        36: "capture-hold", 38: "capture-toggle", 40: "continue", 41: "generate", 42: "regenerate", 43: "takeover",
        45: "stop", 47: "cancel"}
    assert DEFAULT.notes[43] == NoteAction("takeover", 0, 4, 4)
    assert {n: a.pad for n, a in DEFAULT.notes.items() if n >= 48} == {47 + pad: pad for pad in range(1, 17)}
    assert DEFAULT.channel == 1


@pytest.mark.parametrize(("number", "param", "at_0", "at_64", "at_127"), [
    (20, "temperature", 0.0, 2 * 64 / 127, 2.0), (21, "cfg", 0.0, 10 * 64 / 127, 10.0),
    (22, "top_k", 1, round(1000 ** (64 / 127)), 1000), (23, "seconds", 1.0, 1 + 29 * 64 / 127, 30.0),
    (24, "gain", 0.0, 2 * 64 / 127, 2.0), (25, "crossfade_ms", 0.0, 100 * 64 / 127, 100.0)])
def test_the_promised_controllers(number: int, param: str, at_0: float, at_64: float, at_127: float) -> None:
    scale = DEFAULT.controls[number]
    assert isinstance(scale, Scale) and scale.param == param
    assert [scale.value(step) for step in (0, 64, 127)] == [at_0, pytest.approx(at_64), at_127]
    assert all(PARAMS[param].check(scale.value(step)) == scale.value(step) for step in range(128))
    assert all(abs(scale.step(scale.value(step)) - step) <= (20 if param == "top_k" else 0) for step in range(128))


def test_silence_is_all_sound_off_and_all_notes_off() -> None:
    assert (DEFAULT.controls[120], DEFAULT.controls[123]) == ("silence", "silence")


def test_switch_scale() -> None:
    assert [Scale("monitor", 0, 1).value(step) for step in (0, 63, 64, 127)] == [0, 0, 1, 1]


def test_the_example_of_the_docs_is_a_map(tmp_path: Path) -> None:
    example = page().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "map.toml").write_text(example)
    got = read_map(tmp_path / "map.toml")
    assert 38 not in got.notes and got.notes[43] == NoteAction("takeover", 0, 2, 0)
    assert got.notes[64].pad == 1 and got.notes[79].pad == 16 and got.notes[80].pad == 3
    assert got.notes[40] == DEFAULT.notes[40], "what is not named stays"
    assert got.controls[7] == Scale("gain", 0, 2) and got.controls[74] == Scale("top_k", 1, 1000, "log")
    assert got.controls[64] == "release" and got.programs == {0: "warm lo-fi drums"}
    assert inspect.getdoc(map_file)


@pytest.mark.parametrize(("toml", "what"), [
    ("x = 1", "the MIDI map holds 'x', expected channel, default, notes"),
    ("channel = 17", "channel came as 17, expected a whole number from 0 to 16"),
    ("channel = true", "channel came as True"),
    ("default = 1", "default came as 1, expected true or false"),
    ("notes = 3", r"notes came as 3, expected a section such as \[notes\]"),
    ("[notes]\n128 = 'stop'", "notes.128 is no MIDI number, expected 0 to 127"),
    ("[notes]\nC3 = 'stop'", "notes.C3 is no MIDI number"),
    ("[notes]\n1 = 'explode'", "notes.1 came as 'explode', expected none, capture-hold"),
    ("[notes]\n1 = {}", "notes.1 came as None"),
    ("[notes]\n1 = {action = ['x']}", r"notes.1 came as \['x'\]"),
    ("[notes]\n1 = 5", "notes.1 came as 5, expected an action, or a table"),
    ("[notes]\n1 = {action = 'stop', volume = 1}", "expected an action, or a table with action, pad"),
    ("[notes]\n1 = 'pad'", "notes.1.pad came as None, expected a whole number from 1 to 16"),
    ("[notes]\n1 = {action = 'pad', pad = 17}", "notes.1.pad came as 17"),
    ("[notes]\n1 = {action = 'takeover', bars_in = 0}", "notes.1.bars_in came as 0"),
    ("[notes]\n1-17 = 'pad'", "came as 'pad' for 17 notes"),
    ("[notes]\n9-1 = 'pad'", "for -7 notes"),
    ("[notes]\n1-4 = 'stop'", 'expected "pad"'),
    ("[controls]\n1 = 'pad'", "controls.1 came as 'pad', expected none, a table"),
    ("[controls]\n1 = {low = 1}", "expected a table with param, low, high and curve"),
    ("[controls]\n1 = {param = 'zzz'}", "controls.1: param came as 'zzz', expected one of"),
    ("[controls]\n1 = {param = 'text'}", "controls.1: text came as"),
    ("[controls]\n1 = {param = 'cfg', low = nan}", "controls.1: cfg came as nan"),
    ("[controls]\n1 = {param = 'gain', high = 99}", "controls.1: gain came as 99, expected 0 to 4"),
    ("[controls]\n1 = {param = 'cfg', curve = 'wavy'}", "controls.1.curve came as 'wavy'"),
    ("[controls]\n1 = {param = 'cfg', low = 0, high = 2, curve = 'log'}", "expected both above 0"),
    ("[programs]\n1 = 5", "programs.1 came as 5, expected a text"),
    ("[programs]\n200 = 'x'", "programs.200 is no MIDI number"),
])
def test_mistakes_are_named(tmp_path: Path, toml: str, what: str) -> None:
    (tmp_path / "map.toml").write_text(toml)
    with pytest.raises(SettingsError, match=what) as caught:
        read_map(tmp_path / "map.toml")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_bytes(b"\xff = [")
    for path in (tmp_path / "map.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(SettingsError, match="cannot read the MIDI map"):
            read_map(path)


NOTES = st.one_of(
    st.sampled_from([a for a in ACTIONS if a not in ("pad", "takeover")]).map(NoteAction),
    st.integers(1, 16).map(lambda pad: NoteAction("pad", pad)),
    st.tuples(st.integers(1, 99), st.integers(0, 99)).map(lambda bars: NoteAction("takeover", 0, *bars)))
CONTROLS = st.one_of(st.just("panic"), st.tuples(st.floats(0.5, 2), st.floats(2, 4)).map(
    lambda ends: Scale("gain", *ends, "log")))
NUMBERS = st.integers(0, 127)


@given(st.integers(0, 16), st.dictionaries(NUMBERS, NOTES), st.dictionaries(NUMBERS, CONTROLS),
       st.dictionaries(NUMBERS, st.text(st.characters(codec="utf-8"), max_size=20), max_size=5))
def test_any_map_written_reads_back(channel: int, notes: Any, controls: Any, programs: Any) -> None:
    want = MidiMap(channel, notes, controls, programs)
    assert parse_map(tomllib.loads(write_map(want))) == want


def test_the_page_is_current() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    assert (docs / "midi.md").read_text(encoding="utf-8") == page(), (
        "run: python -m soundforge_bridges.midi.docs docs/midi.md")
    assert all(f"`{action}`" in page() for action in ACTIONS)


def test_the_weight_of_a_condition_on_a_controller() -> None:
    midi_map = parse_map({"controls": {"30": {"param": "guidance/chroma", "low": 0, "high": 3}}})
    session = MemorySession()
    dispatcher = Dispatcher(session, midi_map)
    dispatcher.on_message(mido.Message("control_change", control=30, value=127))
    assert session.params["guidance/chroma"] == 3.0
