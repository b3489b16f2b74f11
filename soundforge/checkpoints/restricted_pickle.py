"""Pickles that hold plain data, read without executing anything.

A pickle is a program for a small machine. Here only those of its instructions are let through that build dicts,
lists, tuples, sets, text, bytes, numbers, True, False and None; a file with any other is refused before its first
instruction runs, and no name is ever looked up.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

from soundforge.errors import CheckpointError

MAX_BYTES = 64 << 20
_MOST_INSTRUCTIONS = 5_000_000

_ALLOWED = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET",
    "LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_SET",
    "ADDITEMS", "FROZENSET",
})


def read_plain_pickle(path: str | Path) -> Any:
    """The data in a pickle of plain values.

    Raises:
        CheckpointError: missing, too large, damaged, or holding anything but plain data; nothing was executed.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    _check(data, path)
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except CheckpointError:
        raise
    except Exception as error:  # the unpickler raises whatever a broken stream makes it stumble over
        raise CheckpointError(f"{path} is a damaged pickle: {type(error).__name__}: {str(error)[:120]}") from error


class _PlainUnpickler(pickle.Unpickler):
    """A second lock behind `_check`."""

    def find_class(self, module: str, name: str) -> Any:
        raise CheckpointError(f"the pickle asks for {module}.{name}, which is not plain data")

    def persistent_load(self, pid: Any) -> Any:
        raise CheckpointError("the pickle refers to an object outside itself, which is not plain data")


def _check(data: bytes, path: Path) -> None:
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(data):
            count += 1
            if opcode.name not in _ALLOWED:
                named = f" ({argument})" if isinstance(argument, str) else ""
                raise CheckpointError(f"{path} was refused, nothing in it was executed: its instruction "
                                      f"{opcode.name}{named} builds more than plain data")
            # A memory index far beyond the number of instructions would only serve to eat memory.
            if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(data):
                raise CheckpointError(f"{path} was refused: it is damaged or made to exhaust memory")
            if count > _MOST_INSTRUCTIONS:
                raise CheckpointError(f"{path} was refused: more than {_MOST_INSTRUCTIONS} instructions")
    except CheckpointError:
        raise
    except Exception as error:  # genops raises ValueError and more on a broken stream
        raise CheckpointError(f"{path} is no pickle: {type(error).__name__}: {str(error)[:120]}") from error
