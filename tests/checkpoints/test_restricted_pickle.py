"""Plain pickles come back as they were; anything else is an error and runs nothing."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.checkpoints.jasco_chords import find_chord_table, read_chord_table
from soundforge.checkpoints.restricted_pickle import read_plain_pickle
from soundforge.errors import CheckpointError, ConditionError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    | st.tuples(inner, inner) | st.frozensets(st.integers(), max_size=4), max_leaves=20)


@given(value=plain, protocol=st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_back(tmp_path: Path, value: Any, protocol: int) -> None:
    if protocol == 3 and "frozenset" in repr(value):
        return  # before protocol 4 a set is written as a call
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
    assert read_plain_pickle(tmp_path / "x.pkl") == value


def _touch(path: Path) -> Any:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (path,)

    return Hostile()


HOSTILE = {
    "reduce": lambda marker: pickle.dumps({"C": _touch(marker)}),
    "old": lambda marker: pickle.dumps([_touch(marker)], protocol=0),
    "global": lambda marker: b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.",
    "persistent": lambda marker: b"Pname\n.",
    "extension": lambda marker: b"\x80\x02\x82\x01.",
    "memory": lambda marker: b"\x80\x02}r\xff\xff\xff\x7f.",
    "object": lambda marker: b"(iposix\nsystem\n.",
    "no pickle": lambda marker: b"{'C': 2}",
    "cut": lambda marker: pickle.dumps({"C": list(range(100))})[:40],
    "empty": lambda marker: b"",
    "stack": lambda marker: b"\x80\x02u.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_broken_file_runs_nothing(tmp_path: Path, kind: str) -> None:
    marker, file = tmp_path / "ran", tmp_path / "x.pkl"
    file.write_bytes(HOSTILE[kind](marker))
    with pytest.raises(CheckpointError):
        read_plain_pickle(file)
    assert not marker.exists()


@given(data=st.binary(max_size=200))
def test_random_bytes_raise_our_error_or_are_data(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(data)
    try:
        read_plain_pickle(tmp_path / "x.pkl")
    except CheckpointError:
        return
    assert all(op.name not in ("REDUCE", "GLOBAL", "STACK_GLOBAL", "BUILD") for op, _, _ in pickletools.genops(data))


ROWS = {"N": 0, "C": 2, "Am7": 3, "F#/A#": 5, "Bb": 6, "UNK": 7}


def test_a_table_is_found_beside_the_checkpoint_and_knows_every_spelling(tmp_path: Path) -> None:
    assert find_chord_table([tmp_path, tmp_path / "absent"], 194) is None
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "chord_to_index_mapping.pkl").write_bytes(pickle.dumps(ROWS))
    table = find_chord_table([tmp_path], 194)
    assert table is not None
    spellings = {"C": 2, "Cmaj": 2, "Amin7": 3, "A-7": 3, "Gb/Bb": 5, "F♯/A♯": 5, "A#": 6, "N.C.": 0, "N": 0}
    assert {symbol: table.row(symbol) for symbol in spellings} == spellings
    assert [table.nearest(s) for s in ("Cmaj7/E", "C7", "Am7/G", "Dm", "N")] == ["C", "C", "Am7", "N", "N"]
    with pytest.raises(ConditionError, match=r"chord 'Cm' is unknown to the model; with this root it knows C$"):
        table.row("Cm")


@pytest.mark.parametrize("value", [[], {}, {"C": 1}, {"N": "0"}, {"N": 194}, {"N": -1}, {"N": True},
                                   {2: 0, "N": 0}, "N"])
def test_what_is_no_table_is_refused(tmp_path: Path, value: Any) -> None:
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(CheckpointError, match=r"t\.pkl"):
        read_chord_table(tmp_path / "t.pkl", 194)
    (tmp_path / "t.json").write_text("{" * 5000)
    with pytest.raises(CheckpointError, match="not readable JSON"):
        read_chord_table(tmp_path / "t.json", 194)
