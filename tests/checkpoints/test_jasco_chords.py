"""JASCO's chord table: fetched, checked, kept as JSON; hostile and wrong files run nothing and say what is wrong."""

from __future__ import annotations

import hashlib
import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from soundforge.checkpoints.jasco_chords import (
    KNOWN_ROWS,
    PUBLISHED_CARD,
    find_chord_table,
    pull_chord_table,
    read_chord_table,
)
from soundforge.errors import CheckpointError, ConditionError, NotCachedError
from soundforge.interfaces import ConditionContext
from soundforge_plugins.chords.conditioner import ChordsConditioner

TABLE = {"N": 0, "C": 2, "G": 4, "Am7": 26, "UNK": 193}


class _Trap:
    """Unpickled by an ordinary reader it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "executed")


@pytest.fixture
def served() -> Iterator[tuple[dict[str, bytes], str]]:
    """Files of a server on this machine, by path, and its address."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield files, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_is_fetched_once_checked_and_kept_as_json(served: tuple[dict[str, bytes], str], tmp_path: Path) -> None:
    files, address = served
    files["/table.pkl"] = pickle.dumps(TABLE)
    said: list[str] = []
    wanted = hashlib.sha256(files["/table.pkl"]).hexdigest()
    made = pull_chord_table(said.append, url=f"{address}/table.pkl", sha256=wanted, folder=tmp_path / "jasco")
    assert made.name.endswith(".json") and json.loads(made.read_text()) == TABLE
    assert len(said) == 1 and "MIT licence" in said[0]
    files.clear()
    assert pull_chord_table(said.append, url=f"{address}/table.pkl", sha256=wanted, folder=tmp_path / "jasco") == made
    table = find_chord_table([tmp_path / "jasco"], PUBLISHED_CARD)
    assert table is not None and table.row("G") == 4 and table.row("N.C.") == 0


def test_another_file_or_none_is_told_in_one_line(served: tuple[dict[str, bytes], str], tmp_path: Path) -> None:
    files, address = served
    files["/table.pkl"] = pickle.dumps(_Trap(tmp_path / "evidence"))
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        pull_chord_table(print, url=f"{address}/table.pkl", folder=tmp_path / "jasco")
    with pytest.raises(NotCachedError, match=r"cannot be fetched .*404.*; put AudioCraft's assets/") as caught:
        pull_chord_table(print, url=f"{address}/none", folder=tmp_path / "jasco")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_table_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chord_to_index_mapping.pkl"
    for value in (_Trap(tmp_path / "evidence"), {"N": _Trap(tmp_path / "evidence")}):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(CheckpointError, match="refused, nothing in it was executed"):
            read_chord_table(path, PUBLISHED_CARD)
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(("value", "words"), [
    ([1, 2], "holds a list"), ({}, "expected a mapping"), ({"C": 2}, "no row for 'N'"), ({"N": 0, "C": 194}, "to 194"),
    ({"N": 0, "C": True}, "to True"), ({"N": 0, 7: 1}, "maps '7'")])
def test_what_is_no_table_is_named(tmp_path: Path, value: Any, words: str) -> None:
    path = tmp_path / "chord_to_index_mapping.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(CheckpointError, match=words):
        read_chord_table(path, PUBLISHED_CARD)


def test_without_a_table_the_documented_rows_serve(tmp_path: Path) -> None:
    context = ConditionContext(32_000, 50.0, 10)
    published = ChordsConditioner(torch.zeros(PUBLISHED_CARD + 1, 4), [tmp_path])
    for symbol, row in KNOWN_ROWS.items():
        rows = published.prepare([(symbol, 0.0)], context)
        assert rows is not None and set(rows.tolist()) == {row}
    with pytest.raises(ConditionError, match=r"run `soundforge pull facebook/jasco-chords-drums-400M`, or put "
                                             r"AudioCraft's assets/chord_to_index_mapping.pkl into .*not 'Em'"):
        published.prepare([("Em", 0.0)], context)
    with pytest.raises(ConditionError, match="chord 'Xm' is unknown; expected a root such as C"):
        published.prepare([("Xm", 0.0)], context)
    with pytest.raises(ConditionError, match="no table that says"):  # another embedding: nothing is known about it
        ChordsConditioner(torch.zeros(20, 4), [tmp_path]).prepare([("C", 0.0)], context)
