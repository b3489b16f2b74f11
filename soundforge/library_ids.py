"""Names of takes and clips: checked, because they become file names, and they come in from the network."""

from __future__ import annotations

import re

from soundforge.errors import LibraryError

MAX_ID_CHARACTERS = 64
_VALID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
_NUMBERED = re.compile(r"(take|clip)-(\d{1,9})")
_DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))}


def check_id(name: str, what: str) -> str:
    """The name itself when it can stand as a file on every system.

    Args:
        name: as it came from a user.
        what: "take" or "clip", for the message.

    Raises:
        LibraryError: empty, too long, other characters (paths among them), or a name that Windows reserves.
    """
    if not _VALID.fullmatch(name):
        shown = repr(name if len(name) <= 80 else name[:77] + "...")
        raise LibraryError(f"{what} came as {shown}, expected 1 to {MAX_ID_CHARACTERS} of the letters a-z, digits, "
                           "'-', '_' and '.', a letter or digit first; paths are never taken")
    if name.split(".")[0].lower() in _DEVICES:
        raise LibraryError(f"{what} came as {name!r}, which is a device's name on Windows; choose another")
    return name


def number_of(name: str, what: str) -> int:
    """The number in `take-0007`; 0 for a name that a user chose."""
    match = _NUMBERED.fullmatch(name)
    return int(match[2]) if match and match[1] == what else 0
