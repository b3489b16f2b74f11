"""Files that are either whole or absent: written under a temporary name, synced, then renamed.

A temporary file is locked while it is written, so that `remove_leftovers` tells what a killed process left
behind from what another one is writing just now. Windows needs no lock: it does not delete an open file.
Threading: the functions hold no state; they block on the disk and belong on a worker thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from soundforge.errors import LibraryError

TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".soundforge-", ".part"


def write_atomically(path: Path, pieces: Iterable[bytes | memoryview], *, replace: bool = True) -> Path:
    """Write `pieces` one after the other as the file `path`.

    Args:
        path: final name; its folder is made when it is missing.
        replace: overwrite a file of that name; False = such a file is an error.

    Raises:
        LibraryError: full disk, no permission, unusable name, or the file exists and `replace` is False.
            Nothing is left behind, and a file that was there before is untouched.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                _lock(stream)
                for piece in pieces:
                    stream.write(piece)
                stream.flush()
                os.fsync(stream.fileno())
            _rename(temporary, path, replace=replace)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:
        raise LibraryError(f"cannot write {str(path)!r}: {_reason(error)}") from error
    return path


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete temporary files of writers that no longer live; gives those deleted.

    Raises:
        LibraryError: the folder cannot be read.
    """
    try:
        found = sorted(folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"))
        return [path for path in found if _delete_orphan(path)]
    except OSError as error:
        raise LibraryError(f"cannot tidy the folder {str(folder)!r}: {_reason(error)}") from error


def _delete_orphan(path: Path) -> bool:
    """Delete `path` if nobody writes it; False when somebody does."""
    try:
        with path.open("rb") as stream:
            if not _lock(stream):
                return False
            if sys.platform != "win32":
                path.unlink(missing_ok=True)  # under the lock: nobody can take it up in between
        path.unlink(missing_ok=True)
    except (PermissionError, FileNotFoundError):
        return False
    return True


def _lock(stream: BinaryIO) -> bool:
    """Take the file's lock without waiting; it ends with the process, however that ends."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems know no locks; then a leftover counts as live and stays.
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    return True


def _rename(temporary: Path, path: Path, *, replace: bool) -> None:
    if replace:
        temporary.replace(path)
    elif sys.platform == "win32":
        temporary.rename(path)  # refuses an existing name there
    else:
        # A hard link is the one portable way to take a name only if it is free, and whole at once.
        os.link(temporary, path)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where a folder can be opened."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space, delete clips, or choose another folder"
    if code == errno.EFBIG:
        return "the file would be larger than allowed here; make it shorter or raise the limit"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission ({error.strerror}); choose a folder that you may write to"  # type: ignore[attr-defined]
    if code == errno.EEXIST:
        return "a file of that name exists already; choose another name"
    return f"{error}; choose another folder or name"
