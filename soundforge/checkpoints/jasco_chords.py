"""JASCO's table of chord symbols: which row of the embedding each of Chordino's symbols has.

The reference keeps it as a pickle beside its code, `chord_to_index_mapping.pkl`. It is read as plain data; a JSON
file of the same content (`chord_to_index_mapping.json`) is taken as well, and first. It is part of AudioCraft, not of
the checkpoints and not of SoundForge: `soundforge pull` fetches it with the first JASCO checkpoint, checks that it is
the known file, and keeps it as JSON in the user's data folder.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from soundforge.checkpoints.restricted_pickle import read_plain_pickle
from soundforge.chord_names import NO_CHORD, Chord, parse_chord
from soundforge.errors import CheckpointError, ConditionError, NotCachedError
from soundforge.wav_file import write_atomically

TABLE_NAMES = ("chord_to_index_mapping.json", "chord_to_index_mapping.pkl")
_MAX_JSON_BYTES = 1 << 20
PUBLISHED_CARD = 194
"""Rows of the published table; the row behind them is the null chord's."""
KNOWN_ROWS: Mapping[str, int] = {"N": 0, "C": 2, "Am7": 26, "F#m": 80, "G7": 9}
"""Rows of the published table that are documented outside it; they serve where the table itself is not at hand."""
_URL = ("https://raw.githubusercontent.com/facebookresearch/audiocraft/896ec7c47f5e5d1e5aa1e4b260c4405328bf009d/"
        "assets/chord_to_index_mapping.pkl")
_SHA256 = "c8c1558db674b85d62eb73a6a2bb0fa5ed1af2c1ea787509829616710b994828"
_TIMEOUT_SECONDS = 10.0


class ChordTable:
    """Symbols to rows; enharmonic spellings are the same chord.

    Args:
        rows: by symbol.
        source: where it came from.
    """

    def __init__(self, rows: Mapping[str, int], source: str) -> None:
        self.rows = dict(rows)
        self.source = source
        self._by_chord: dict[Chord, int] = {}
        for symbol, row in self.rows.items():
            try:
                chord = parse_chord(symbol)
            except ConditionError:
                continue  # "UNK" and the like stand in the table, but are no chords
            if chord is not None:
                self._by_chord.setdefault(chord, row)

    def row(self, symbol: str) -> int:
        """The row of a symbol; raises ConditionError that names what is there."""
        if symbol in self.rows:
            return self.rows[symbol]
        chord = parse_chord(symbol)
        if chord is None:
            return self.rows[NO_CHORD]
        if chord not in self._by_chord:
            known = sorted(str(c) for c in self._by_chord if c.root == chord.root)
            raise ConditionError(f"chord {symbol!r} is unknown to the model; with this root it knows "
                                 f"{', '.join(known) or 'none'}")
        return self._by_chord[chord]

    def nearest(self, symbol: str) -> str:
        """The symbol itself, or a simpler chord that the model knows; "N" when there is none."""
        chord = parse_chord(symbol)
        if chord is None:
            return NO_CHORD
        return next((str(c) for c in (chord, *chord.simpler()) if c in self._by_chord), NO_CHORD)


def read_chord_table(path: Path, card: int) -> ChordTable:
    """A table file.

    Args:
        path: `.json` or `.pkl`.
        card: number of rows that have a meaning; the one behind them is the null chord's.

    Raises:
        CheckpointError: unreadable, hostile (nothing is executed), or no mapping of symbols to rows.
    """
    if path.suffix == ".json":
        try:
            if path.stat().st_size > _MAX_JSON_BYTES:
                raise CheckpointError(f"{path} has {path.stat().st_size} bytes, expected a table of a few kilobytes")
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    else:
        value = read_plain_pickle(path)
    if not isinstance(value, dict) or not value:
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected a mapping of chord symbols to numbers")
    for symbol, row in value.items():
        if not isinstance(symbol, str) or isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < card:
            raise CheckpointError(f"{path} maps {str(symbol)[:20]!r} to {str(row)[:20]}, expected symbols and whole "
                                  f"numbers from 0 to {card - 1}")
    if NO_CHORD not in value:
        raise CheckpointError(f"{path} has no row for 'N' (no chord)")
    return ChordTable(value, str(path))


def find_chord_table(folders: Iterable[Path], card: int) -> ChordTable | None:
    """The table in the first of these folders (or their `assets/`) that has one; None where there is none."""
    for folder in folders:
        for place in (folder, folder / "assets"):
            for name in TABLE_NAMES:
                if (place / name).is_file():
                    return read_chord_table(place / name, card)
    return None


def user_folder() -> Path:
    """Where a user keeps the table for all checkpoints."""
    import platformdirs

    return platformdirs.user_data_path("soundforge") / "jasco"


def pull_chord_table(say: Callable[[str], None], *, url: str = _URL, sha256: str = _SHA256,
                     folder: Path | None = None) -> Path:
    """Fetch the published table into the user's data folder, unless it is there; gives the file.

    It must be the known file (by its SHA-256); it is read as plain data, executed it is never, and kept as JSON.

    Args:
        say: is told what is fetched and under which licence.
        folder: instead of the user's.

    Raises:
        NotCachedError: the network is absent, shut or fails.
        CheckpointError: what came is another file.
    """
    place = (folder or user_folder()) / TABLE_NAMES[0]
    if place.is_file():
        return place
    from huggingface_hub import get_session

    say("fetching JASCO's table of chord symbols from AudioCraft's repository (MIT licence); it is kept as JSON, "
        "nothing in it is executed")
    try:
        answer = get_session().get(url, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        data = bytes(answer.content)
    # The HTTP library's errors change their family from one release to the next.
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NotCachedError(f"JASCO's chord table cannot be fetched ({first[:120]}); put AudioCraft's "
                             f"assets/{TABLE_NAMES[1]} into {place.parent}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(f"{url} is not the chord table that was expected (its SHA-256 differs); nothing was read "
                              f"from it; put AudioCraft's assets/{TABLE_NAMES[1]} into {place.parent}")
    with tempfile.TemporaryDirectory() as scratch:
        pickled = Path(scratch) / TABLE_NAMES[1]
        pickled.write_bytes(data)
        rows = read_chord_table(pickled, PUBLISHED_CARD).rows
    return write_atomically(place, [json.dumps(rows, indent=0).encode()])
