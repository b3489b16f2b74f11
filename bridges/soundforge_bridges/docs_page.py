"""The command behind a page that is made from the code: `python -m MODULE [FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


def write_page(page: Callable[[], str]) -> None:
    """Write `page()` to the file that the command line names, else to standard output."""
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8", newline="\n")
    else:
        print(page(), end="")
