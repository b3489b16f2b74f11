"""Which model a name from outside may mean: no path comes in by OSC, so folders are named by whoever starts the server.

Accepted are the model that the server was started with, the folders it was told of (`--models`), by their whole or last
name, and names that are no paths: embedded ones and those of a hub.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from soundforge.errors import RequestError

MAX_CHARACTERS = 300
HUB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?")
"""`name` or `owner/name`; nothing that climbs, starts at a root, or names a drive or another machine."""


def resolve_model(name: str, told: Sequence[str]) -> str:
    """What to load for a name.

    Args:
        name: as it came.
        told: models and folders that the server was started with.

    Raises:
        RequestError: no name, or a path that the server was not told of.
    """
    for known in told:
        if name and name in (known, PurePath(known).name):
            return known
    if not 0 < len(name) <= MAX_CHARACTERS or not HUB_NAME.fullmatch(name):
        listed = ", ".join(PurePath(known).name for known in told)
        raise RequestError(f"model came as {name[:80]!r}, expected a model's name ({listed}, or one that `soundforge "
                           "models` lists); a folder is named when the server starts, by --models FOLDER")
    return name
