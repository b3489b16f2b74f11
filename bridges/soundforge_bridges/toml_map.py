"""Maps that users write as TOML: read, and every mistake told with the file's name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from soundforge import SettingsError

Content = TypeVar("Content")


def read_toml_map(path: Path, what: str, example: str, parse: Callable[[Mapping[str, Any]], Content]) -> Content:
    """*Disk.* What `parse` makes of a TOML file.

    Args:
        what: the file is, for messages, such as "MIDI map".
        example: a line of such a file.
        parse: from what TOML holds; raises SettingsError naming the entry.

    Raises:
        SettingsError: unreadable, or an entry makes no sense; names the file and the entry.
    """
    try:
        with path.open("rb") as stream:
            values = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the {what} {str(path)!r} ({error}); expected a TOML file with lines such as: "
                            f"{example}") from error
    try:
        return parse(values)
    except SettingsError as error:
        raise SettingsError(f"{error} (in {path})") from None
